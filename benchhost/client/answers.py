"""What a host answers, read leniently: another implementation of the contract may leave out, or add, a field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from benchhost.errors import ClientError
from benchhost.wire.vals import Status


class ServiceVersion(msgspec.Struct, kw_only=True):
    """Which service, and which version of a dataset, answers. ``None`` is what the service does not say."""

    framework_version: str | None = None
    service_name: str | None = None
    service_version: str | None = None
    dataset_version: str | None = None
    dataset_fingerprint: str | None = None
    eval_mode: str | None = None


class TaskResources(msgspec.Struct, kw_only=True):
    """What the sandbox of a task is to be given; memory and disk in GB. ``None`` is what the service does not say."""

    vcpu: int | None = None
    memory: int | None = None
    disk: int | None = None
    gpu: int | None = None
    gpu_type: str | None = None


class TaskEnvironment(msgspec.Struct, kw_only=True):
    """In which sandbox a task is to be attempted. Older services only say a ``docker_image``."""

    problem_path: str
    cwd: str
    docker_image: str | None = None
    source: dict[str, Any] | None = None
    agent_timeout: float | None = None
    resources: TaskResources = msgspec.field(default_factory=TaskResources)

    @property
    def place(self) -> tuple[str | None, str | None]:
        """The image or the snapshot that the sandbox is made from: one of the two.

        Raises :class:`~benchhost.errors.ClientError` for what is neither.
        """
        source, said = self.source, self.docker_image or ""
        if source is None:
            source = {"type": "image", "image": said}
            if said.startswith(_SNAPSHOT):
                source = {"type": "snapshot", "snapshot": said.removeprefix(_SNAPSHOT)}
        image, snapshot = source.get("image"), source.get("snapshot")
        if source.get("type") == "image" and isinstance(image, str) and image:
            return image, None
        if source.get("type") == "snapshot" and isinstance(snapshot, str) and snapshot:
            return None, snapshot
        raise ClientError(
            f"the service wants a sandbox made from {source.get('type')!r}, and here one can only be made from an "
            "image or a snapshot"
        )


_SNAPSHOT = "snapshot:"


class ListedTask(msgspec.Struct, kw_only=True):
    """A task as its host shows it. ``json`` is all of it, with the fields that only this benchmark has."""

    id: str
    question: str
    timeout: float | None
    json: msgspec.Raw


class Tasks(msgspec.Struct, kw_only=True):
    """The tasks of a dataset, in its order. They are held as the JSON that came, and read one by one in a loop.

    The loop raises :class:`~benchhost.errors.ClientError` at a task that has no id or question.
    """

    dataset: str
    dataset_version: str | None = None
    dataset_fingerprint: str | None = None
    tasks: list[msgspec.Raw]

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[ListedTask]:
        for position, raw in enumerate(self.tasks):
            try:
                known = _task(raw)
            except msgspec.ValidationError as error:
                raise ClientError(f"task {position} of the dataset {self.dataset} cannot be read: {error}") from error
            yield ListedTask(id=known.id, question=known.question, timeout=known.timeout, json=raw)


class Outcome(msgspec.Struct, kw_only=True):
    """What became of one response.

    ``result`` is there when ``status`` is ``evaluated``: of a benchhost, an object with a ``score``
    (:class:`benchhost.wire.vals.PublicResult`); of another service, any JSON. ``errors`` says why there
    is none. ``evaluation_id`` is for :meth:`~benchhost.client.Client.evaluation`, where the host has it.
    """

    task_id: str
    status: Status
    result: Any = None
    errors: list[str] = []
    evaluator_version: str | None = None
    evaluation_id: str | None = None


class Score(msgspec.Struct, kw_only=True):
    """The score of a set of results. What ``metadata`` says is up to the benchmark."""

    tasks_evaluated: list[str]
    final_score: float
    metadata: Any = None


class BatchLine(msgspec.Struct, kw_only=True):
    """One line of a batch: an outcome and its ``index``, or, without one, the problem that ended the batch."""

    index: int | None = None
    task_id: str = ""
    status: Status | int
    result: Any = None
    errors: list[str] = []
    evaluator_version: str | None = None
    evaluation_id: str | None = None


class _Task(msgspec.Struct):
    id: str
    question: str
    timeout: float | None = None


_task = msgspec.json.Decoder(_Task).decode
