"""A provider on loopback that thinks for a while and is always right: chat completions, at as little cost as possible.

``MODEL_LATENCY`` is how many seconds it thinks.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any

import msgspec

LATENCY = float(os.environ.get("MODEL_LATENCY", "0.2"))
HEADERS = [("content-type", "application/json")]


class Message(msgspec.Struct):
    content: str


class Request(msgspec.Struct):
    model: str
    messages: list[Message]


decode = msgspec.json.Decoder(Request).decode
encode = msgspec.json.Encoder().encode


def completion(request: Request) -> bytes:
    asked = request.messages[-1].content
    total = sum(map(int, re.findall(r"\d+", asked)))
    message = {"role": "assistant", "content": f"Added up, that is {total}", "refusal": None}
    return encode(
        {
            "id": "chatcmpl-perf",
            "object": "chat.completion",
            "created": 1_750_000_000,
            "model": request.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": len(asked.split()), "completion_tokens": 5, "total_tokens": 18},
        }
    )


async def app(scope: Any, protocol: Any) -> None:
    """Answer one request."""
    body = await protocol()
    if scope.path != "/v1/chat/completions":
        protocol.response_bytes(200, HEADERS, b'{"status":"ok"}')
        return
    await asyncio.sleep(LATENCY)
    protocol.response_bytes(200, HEADERS, completion(decode(body)))
