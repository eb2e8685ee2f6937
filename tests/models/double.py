"""A provider for tests: chat completions and messages, as an ASGI application on loopback.

How it behaves is said in the name of the model, as a query: ``double?status=429&times=2&retry_after=0.1``
answers the first two requests for that name with 429, and the others well. Tests make a name their own by
adding a word to it (``&for=this-test``). That it is faithful is shown with the providers' own SDKs, in
test_double.py.
"""

import asyncio
import json
import os
from collections import Counter
from urllib.parse import parse_qsl

KEY = os.environ["DOUBLE_KEY"]

seen = Counter()
under_way = Counter()
most_under_way = Counter()

OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    404: "invalid_request_error",
    429: "rate_limit_exceeded",
    500: "server_error",
    503: "server_error",
}
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    protocol = {"/v1/chat/completions": OpenAI, "/v1/messages": Anthropic}.get(scope["path"])
    if scope["path"] == "/seen":
        await answer(send, 200, {"seen": seen, "most_under_way": most_under_way})
    elif protocol is None:
        await answer(send, 404, {"detail": f"no route {scope['path']}"})
    else:
        await complete(send, protocol, headers, json.loads(body))


async def complete(send, protocol, headers, request):
    name = request["model"]
    wants = dict(parse_qsl(name.partition("?")[2]))
    key = protocol.key(headers)
    if key != KEY:
        await answer(send, 401, protocol.error(401, f"Incorrect API key provided: {key}.", "invalid_api_key"))
        return
    seen[name] += 1
    under_way[name] += 1
    most_under_way[name] = max(most_under_way[name], under_way[name])
    try:
        await asyncio.sleep(float(wants.get("latency", 0)))
        await reply(send, protocol, headers, request, wants)
    finally:
        under_way[name] -= 1


async def reply(send, protocol, headers, request, wants):
    name = request["model"]
    extra = {h: wants[w] for w, h in protocol.hints.items() if w in wants}
    misbehaves = seen[name] <= int(wants.get("times", 1_000_000))
    if misbehaves and "room" in wants and under_way[name] > int(wants["room"]):
        await answer(send, 429, protocol.error(429, "Rate limit reached", "rate_limit_exceeded"), extra)
    elif misbehaves and "status" in wants:
        status = int(wants["status"])
        said = wants.get("message", f"the double was told to answer {status}")
        await answer(send, status, protocol.error(status, said, wants.get("code")), extra)
    elif misbehaves and "html" in wants:
        await answer(send, 502, b"<html><h1>502 Bad Gateway</h1></html>", {"content-type": "text/html"})
    elif misbehaves and "garbage" in wants:
        await answer(send, 200, b'{"choices": [{"message": {"content": "half an ans')
    elif misbehaves and "disguised" in wants:
        await answer(send, 200, {"error": {"message": "the provider behind is down", "code": int(wants["disguised"])}})
    elif misbehaves and "moved" in wants:
        await answer(send, 307, b"", {"location": wants["moved"]})
    elif misbehaves and "torn" in wants:
        whole = json.dumps(protocol.completion(request, "never seen whole" * 100, wants)).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(whole)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": whole[:500], "more_body": True})
        await asyncio.sleep(0.02)
        raise ConnectionAbortedError("the double tears this answer")
    else:
        text = json.dumps({"headers": headers, "body": request}) if "reflect" in wants else protocol.question(request)
        await answer(send, 200, protocol.completion(request, wants.get("text", text), wants))


async def answer(send, status, body, headers=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {"content-type": "application/json", "content-length": str(len(body))} | (headers or {})
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in head.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})


def calls(request, wants):
    """Say whether the answer is a call of a tool: it is when there is that tool, and none has answered yet."""
    names = [(tool.get("function") or tool)["name"] for tool in request.get("tools", ())]
    last = request["messages"][-1]
    return wants.get("call") in names and last["role"] != "tool" and isinstance(last["content"], str)


class OpenAI:
    hints = {"retry_after": "retry-after", "retry_after_ms": "retry-after-ms", "should_retry": "x-should-retry"}

    @staticmethod
    def key(headers):
        return headers.get("authorization", "").removeprefix("Bearer ")

    @staticmethod
    def question(request):
        last = request["messages"][-1]
        return ("The tool said: " if last["role"] == "tool" else "You said: ") + last["content"]

    @staticmethod
    def error(status, message, code=None):
        kind = OPENAI_TYPES.get(status, "server_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    @staticmethod
    def completion(request, text, wants):
        asked = sum(len((m["content"] or "").split()) for m in request["messages"])
        said = len(text.split())
        cached, reasoned = int(wants.get("cached", 0)), int(wants.get("reasoned", 0))
        usage = {
            "prompt_tokens": asked,
            "completion_tokens": said + reasoned,
            "total_tokens": asked + said + reasoned,
            "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": reasoned, "audio_tokens": 0},
        }
        message = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        finish = "stop"
        if calls(request, wants):
            function = {"name": wants["call"], "arguments": wants["arguments"]}
            message |= {"content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
            finish = "tool_calls"
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": wants.get("finish", finish)}
        return {
            "id": "chatcmpl-double",
            "object": "chat.completion",
            "created": 1_750_000_000,
            "model": "double-2026-01-01",
            "choices": [choice],
            "usage": usage,
            "service_tier": "default",
        }


class Anthropic:
    hints = OpenAI.hints

    @staticmethod
    def key(headers):
        return headers.get("x-api-key") or OpenAI.key(headers)  # newer SDKs send keys as bearer tokens

    @staticmethod
    def question(request):
        content = request["messages"][-1]["content"]
        if isinstance(content, str):
            return "You said: " + content
        return " ".join(
            ("The tool failed: " if block.get("is_error") else "The tool said: ") + block["content"]
            for block in content
        )

    @staticmethod
    def error(status, message, code=None):
        kind = code or ANTHROPIC_TYPES.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_double"}

    @staticmethod
    def completion(request, text, wants):
        cached, written = int(wants.get("cached", 0)), int(wants.get("written", 0))
        usage = {
            "input_tokens": sum(len(str(m["content"]).split()) for m in request["messages"]) - cached - written,
            "output_tokens": len(text.split()),
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached,
            "service_tier": "standard",
        }
        content, stop = [{"type": "text", "text": text}], "end_turn"
        if calls(request, wants):
            given = json.loads(wants["arguments"])
            content = [{"type": "tool_use", "id": "toolu_1", "name": wants["call"], "input": given}]
            stop = "tool_use"
        return {
            "id": "msg_double",
            "type": "message",
            "role": "assistant",
            "model": "double-2026-01-01",
            "content": content,
            "stop_reason": wants.get("finish", stop),
            "stop_sequence": None,
            "usage": usage,
        }
