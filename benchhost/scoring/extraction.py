"""Finding the answer in a response, and texts that mean the same. All in time linear in the text."""

from __future__ import annotations

import re
import string

_BRACES = re.compile(r"\\boxed\s*+\{|\\.|[{}]", re.DOTALL)
_FENCE = re.compile(r"(?P<indent>[ \t]*+)(?P<fence>`{3,}+|~{3,}+)(?P<info>.*)")
_NO_ARTICLE = r"(?!(?<=[AI]) (?!is\b|because\b|since\b|as\b)[a-z])"  # "A dog", "I think"
_REMOVED = str.maketrans("", "", string.punctuation)
_ARTICLES = frozenset(("a", "an", "the"))


def text_behind(text: str, marker: str) -> str | None:
    """Return what stands between the last ``marker`` (``"####"``, ``"A:"``) and the end of its line, stripped.

    ``None`` when the marker does not occur. Raises ``ValueError`` when the marker is empty.
    """
    if not marker:
        raise ValueError("the marker is empty: give the text that announces the answer, like '####'")
    _, found, behind = text.rpartition(marker)
    if not found:
        return None
    lines = behind.splitlines()
    return lines[0].strip() if lines else ""


def without_reasoning(text: str) -> str:
    """Return the response without its ``<think>…</think>`` block: what follows the last ``</think>``.

    A block that is never closed, because the response was cut, runs to the end. The opening tag may be
    missing: some chat templates put it into the prompt.
    """
    return text.rpartition("</think>")[2].partition("<think>")[0]


def boxed(text: str) -> str | None:
    r"""Return what stands in the last ``\boxed{…}`` whose braces are closed, nested braces included, or ``None``."""
    content = None
    opened: list[int | None] = []
    for match in _BRACES.finditer(text):
        found = match[0]
        if found.startswith("\\boxed"):
            opened.append(match.end())
        elif found == "{":
            opened.append(None)
        elif found == "}" and opened and (start := opened.pop()) is not None:
            content = start, match.start()
    return None if content is None else text[content[0] : content[1]]


def choice_letter(text: str, letters: str = "ABCD") -> str | None:
    r"""Return the letter of the option that a response chooses, or ``None`` when it chooses none or hedges.

    It is looked for in the last ``\boxed{…}``, then behind the last "answer is" or "answer:", then at
    the start of the text (``B``, ``(B)``, ``**B.**``, ``B) Paris``). ``letters`` are the options, in capitals; a small
    letter counts only where it stands alone or in brackets.

    Raises ``ValueError`` when ``letters`` is not made of capital letters.
    """
    if not (letters.isascii() and letters.isalpha() and letters.isupper()):
        raise ValueError(f"the options are capital letters, like 'ABCD'; they are {letters!r}")
    places = [boxed(text)]
    announced = list(re.finditer(r"\banswer(?: is\b|\s?+:)", text, re.IGNORECASE))
    if announced:
        places.append(text[announced[-1].end() :])
    places.append(text)
    return next((letter for place in places if place is not None and (letter := _leading(place, letters))), None)


def _leading(text: str, letters: str) -> str | None:
    """The option with which a text begins, unless the text goes on to name another."""
    text = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s*+", "", text).strip(" \t\r\n*_:${}\\")
    either = f"[{letters}{letters.lower()}]"
    match = re.match(rf"\(({either})\)|\[({either})\]|({either})[.)]?+\Z|([{letters}])(?![\w'’]){_NO_ARTICLE}", text)
    if match is None:
        return None
    behind = text[match.end() :]
    if re.match(rf"[\s*)]*+(?:or|and|/|,|&)[\s*(]*+[{letters}](?!\w)", behind):
        return None
    return next(letter for letter in match.groups() if letter).upper()


def code_blocks(text: str, language: str | None = None) -> list[str]:
    """Return the contents of the fenced code blocks of a Markdown text, in order, each with its final line end.

    With ``language``, only of those whose fence names it, in any case (``python``). Source: CommonMark
    0.31, section 4.5: a fence is closed by one of the same character that is at least as long, and a
    block that is never closed runs to the end. A fence may be indented at will, as within lists.
    """
    blocks: list[str] = []
    block: list[str] = []
    opening: re.Match[str] | None = None
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")  # splitlines() would cut at form feeds too
    for line in [*lines, None]:
        if opening is None:
            opening = _FENCE.match(line) if line is not None else None
            if opening and opening["fence"][0] == "`" and "`" in opening["info"]:
                opening = None  # inline code that happens to begin a line
        elif line is None or _closes(line, opening["fence"]):
            named = opening["info"].split()[:1]
            if language is None or [language.casefold()] == [word.casefold() for word in named]:
                blocks.append("".join(f"{code}\n" for code in block))
            opening, block = None, []
        else:
            indent = len(opening["indent"])
            block.append(line[:indent].lstrip(" \t") + line[indent:])
    return blocks


def _closes(line: str, fence: str) -> bool:
    bare = line.strip(" \t")
    return len(bare) >= len(fence) and not bare.strip(fence[0])


def normalised(text: str) -> str:
    """Return a text without what rarely matters: case, ASCII punctuation, English articles, extra whitespace.

    Source: Rajpurkar et al., *SQuAD* (2016), arXiv 1606.05250, section 6.1 and its evaluation script.
    """
    words = text.casefold().translate(_REMOVED).split()
    return " ".join(word for word in words if word not in _ARTICLES)
