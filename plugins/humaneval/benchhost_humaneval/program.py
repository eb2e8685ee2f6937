"""Which program a response makes with its prompt. The README says why each case is decided as it is."""

from __future__ import annotations

import re

from benchhost.scoring import code_blocks, without_reasoning


def programs(prompt: str, entry_point: str, response: str) -> list[str]:
    """Return the programs that a response may mean, the likeliest first: the first that is Python counts.

    The whole response continues the prompt, as a completion does. If that is no Python, it is a text with fenced
    code in it, and the code continues the prompt: the last block that defines the function, else the last block.
    """
    found = [prompt + response]
    if blocks := code_blocks(without_reasoning(response)):
        defines = re.compile(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(entry_point)}\b", re.MULTILINE)
        complete = [block for block in blocks if defines.search(block)]
        found.append(f"{prompt}\n{(complete or blocks)[-1]}")
    return found
