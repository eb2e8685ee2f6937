"""Models that need no network: the reference answers, an echo, and a replay of recorded responses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from benchhost.contract import Call, Completion, Model, Prompt, Sampling, Usage
from benchhost.contract.model import NO_CALL, messages_of
from benchhost.errors import ModelRequestRefused, UnknownModel, UsageError

_IDS = ("task_id", "id")
_TEXTS = ("response", "text", "data", "answer")


def scripted(name: str) -> Model:
    """Make ``reference``, ``echo`` or ``file:PATH``."""
    if name == "reference":
        return Reference()
    if name == "echo":
        return Echo()
    if name.startswith("file:"):
        return Replay(Path(name.removeprefix("file:")))
    raise UnknownModel(f"scripted models are scripted/reference, scripted/echo and scripted/file:PATH, not {name!r}")


class _Scripted:
    """What the scripted models share: a name, and nothing to close."""

    def __init__(self, name: str) -> None:
        self.name = f"scripted/{name}"

    async def aclose(self) -> None:
        """Do nothing."""

    def _says(self, text: str) -> Completion:
        return Completion(text=text, model=self.name, usage=Usage())


class Echo(_Scripted):
    """Answers with the last message of the user."""

    def __init__(self) -> None:
        super().__init__("echo")

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call = NO_CALL) -> Completion:
        """Repeat the last message of the user."""
        return self._says(next((m.content for m in reversed(messages_of(prompt)) if m.role == "user"), ""))


class Reference(_Scripted):
    """Answers with the gold answer, which the runner hands over in the call."""

    def __init__(self) -> None:
        super().__init__("reference")

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call = NO_CALL) -> Completion:
        """Fetch the gold answer of the call's task."""
        if call.reference is None:
            raise ModelRequestRefused(
                "scripted/reference needs the gold answers, which are not at hand here: they never leave their host"
            )
        text = await call.reference()
        if text is None:
            raise ModelRequestRefused(f"the benchmark has no reference response for task {call.task_id!r}")
        return self._says(text)


class Replay(_Scripted):
    """Answers with recorded responses, found by task id in a file of JSON lines.

    A line is an object with an id (``task_id`` or ``id``) and a text (``response``, ``text``, ``data`` or
    ``answer``; an object with a ``text`` will do). A task that has several lines has one per epoch, in
    order; one that has a single line gives the same response in every epoch. The file is read by line
    when a response is asked for, so its size costs no memory.

    Raises :class:`~benchhost.errors.UsageError` when the file is not of this kind.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"file:{path}")
        self._path = path
        self._places: dict[str, int | list[int]] = {}
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise UsageError(f"the recorded responses {path} cannot be read: {error.strerror}") from error
        try:
            self._index()
        except BaseException:
            self._file.close()
            raise

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call = NO_CALL) -> Completion:
        """Look up the response recorded for the call's task and epoch."""
        places = self._places.get(call.task_id or "")
        if places is None:
            raise ModelRequestRefused(
                f"{self._path} holds no response to task {call.task_id!r} (it has {len(self._places)} tasks)"
            )
        if isinstance(places, int):
            return self._says(self._text_at(places))
        if call.epoch > len(places):
            raise ModelRequestRefused(
                f"{self._path} holds {len(places)} responses to task {call.task_id!r}, none for epoch {call.epoch}"
            )
        return self._says(self._text_at(places[call.epoch - 1]))

    async def aclose(self) -> None:
        """Close the file."""
        self._file.close()

    def _index(self) -> None:
        place = 0
        for number, line in enumerate(self._file, 1):
            if line.strip():
                task_id, _ = _read(line, f"{self._path}, line {number}")
                earlier = self._places.get(task_id)
                if earlier is None:
                    self._places[task_id] = place
                else:
                    self._places[task_id] = [*([earlier] if isinstance(earlier, int) else earlier), place]
            place += len(line)

    def _text_at(self, place: int) -> str:
        self._file.seek(place)
        return _read(self._file.readline(), f"{self._path} changed while it was in use, byte {place}")[1]


def _read(line: bytes, place: str) -> tuple[str, str]:
    """Return the id and the text of one line."""
    try:
        record: Any = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise UsageError(f"{place}: not JSON: {error}") from error
    except RecursionError:
        raise UsageError(f"{place}: nested too deeply") from None
    if not isinstance(record, dict):
        raise UsageError(f"{place}: expected an object with an id and a text")
    task_id = next((record[key] for key in _IDS if isinstance(record.get(key), str | int)), None)
    text = next((record[key] for key in _TEXTS if key in record), None)
    if isinstance(text, dict):
        text = text.get("text")
    if task_id is None or not isinstance(text, str):
        raise UsageError(f"{place}: expected an id ({' or '.join(_IDS)}) and a text ({', '.join(_TEXTS)})")
    return str(task_id), text
