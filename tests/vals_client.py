"""A client of the WebSockets that does what those of create-benchmark-service do, and takes nothing they do not take.

Of a seed client: a closed set of chunk types, a result that is an object, and the first error is the failure.
"""

from __future__ import annotations

import json
from typing import Any

import websockets
from websockets.asyncio.client import connect

LARGEST_FRAME = 10 * 1024 * 1024
SEED = ("message", "error", "result")
LATER = (*SEED, "eval_resume_state")


class BenchmarkServiceError(Exception):
    """The stream ended with an error chunk."""


class StreamClosed(Exception):
    """The stream ended without a result. ``code`` and ``reason`` are those of the close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class ValsClient:
    """Speaks to one benchmark. ``messages`` and ``states`` are what it was told by the last call."""

    def __init__(self, url: str, headers: dict[str, str] | None = None, known: tuple[str, ...] = SEED) -> None:
        self.url = url.replace("http://", "ws://")
        self.headers = headers or {}
        self.known = known
        self.messages: list[str] = []
        self.states: list[dict[str, Any]] = []

    def connect(self, path: str, **options: Any) -> connect:
        """Open a socket; the client pings every 20 s and never hangs up for want of an answer."""
        options = {"max_size": LARGEST_FRAME, "ping_timeout": None, "open_timeout": 60, "proxy": None, **options}
        return connect(f"{self.url}{path}", additional_headers=self.headers, **options)

    async def setup_task(self, task_id: str, instance_id: str, dataset: str | None = None, **more: Any) -> Any:
        frame = {"task_id": task_id, "instance_id": instance_id, "dataset": dataset, **more}
        result = await self.stream("/ws/setup-task", frame)
        assert isinstance(result["status"], str)
        return result

    async def evaluate_instance(self, task_id: str, instance_id: str, dataset: str | None = None, **more: Any) -> Any:
        frame = {"task_id": task_id, "instance_id": instance_id, "dataset": dataset, **more}
        return await self.stream("/ws/evaluate-instance", frame)

    async def evaluate_response(self, task_id: str, response: str | None, dataset: str | None = None) -> Any:
        return await self._response(task_id, response, None, dataset)

    async def resume_evaluation(self, task_id: str, state: dict[str, Any], dataset: str | None = None) -> Any:
        return await self._response(task_id, None, state, dataset)

    async def _response(self, task_id: str, response: str | None, state: Any, dataset: str | None) -> Any:
        frame = {
            "task_id": task_id,
            "response": response,
            "eval_resume_state": state,
            "sandbox_provider": None,
            "dataset": dataset,
        }
        return await self.stream("/ws/evaluate-response", frame)

    async def stream(self, path: str, frame: Any) -> Any:
        """Send the first frame, if there is one, and read to the end of the stream; return the result."""
        self.messages, self.states, result = [], [], None
        async with self.connect(path) as socket:
            try:
                if frame is not None:
                    await socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
                while True:
                    text = await socket.recv()
                    assert isinstance(text, str), "every chunk is a text frame"
                    chunk = json.loads(text)
                    assert set(chunk) <= {"type", "data", "status_code"}, chunk
                    assert chunk["type"] in self.known, chunk
                    assert result is None, "nothing follows the result"
                    if chunk["type"] == "message":
                        assert isinstance(chunk["data"], str)
                        self.messages += chunk["data"].split("\n")
                    elif chunk["type"] == "eval_resume_state":
                        self.states.append(chunk["data"])
                    elif chunk["type"] == "error":
                        assert isinstance(chunk["data"], str)
                        assert "Traceback" not in chunk["data"]
                        raise BenchmarkServiceError(chunk["data"])
                    else:
                        assert isinstance(chunk["data"], dict), "older clients want an object"
                        result = chunk["data"]
            except websockets.ConnectionClosed as closed:
                code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
                if result is None:
                    raise StreamClosed(code, reason) from None
                assert code == 1000
                return result
