"""Requests and answers of the routes that create-benchmark-service clients use."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from benchhost.contract import Environment

RunName = Annotated[str, Meta(max_length=1024)]
"""The run of a submission, which is whatever the submitter calls it. It is recorded, so it cannot be a book."""

Part = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$(?!\n)")]
"""A part of the key of an upload. The end is there twice, since to Python a last line feed stands behind ``$``."""

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]

Status = Literal["evaluated", "did_not_complete", "generation_error", "error"]
"""What became of a response: judged, given up by its submitter (twice), or not judged because of us."""

VERSION_HEADER = "X-Benchmark-Dataset-Version"
"""Where a request says which version of a dataset it is about. A good answer of a host that honours it says it, too."""

VERSION = re.compile(r"[!-~]{1,1024}")
"""What can stand there: a label, or a fingerprint."""


class Health(msgspec.Struct):
    """The server answers."""

    status: Literal["ok"] = "ok"


class Version(msgspec.Struct):
    """Which host, plugin and dataset answer here.

    ``dataset_fingerprint`` changes whenever the dataset's content does. ``dataset_version`` is the label of its current
    version, or the fingerprint again where its author has declared no versions; one of them can be chosen by
    ``X-Benchmark-Dataset-Version`` if ``dataset_version_selection`` says so.
    """

    framework_version: str
    service_name: str | None
    service_version: str | None
    dataset_version: str | None
    dataset_version_selection: bool = False
    eval_mode: Literal["text", "sandbox"] = "text"
    dataset_fingerprint: str | None = None


class TaskIds(msgspec.Struct):
    """The ids that a filter selects, in order."""

    task_ids: list[str]


class PublicTask(msgspec.Struct):
    """What callers see of a task. A benchmark may add fields of its own."""

    id: str
    question: str
    timeout: float | None


class TaskList(msgspec.Struct):
    """Every task of a dataset, in its order."""

    dataset: str
    dataset_version: str | None
    dataset_fingerprint: str
    tasks: list[PublicTask]


class ResolveRequest(msgspec.Struct):
    """The wish to know which version of a dataset is meant; without a ``version``, the current one."""

    dataset: Annotated[str, Meta(min_length=1)]
    version: Annotated[str, Meta(min_length=1, max_length=1024)] | None


class DatasetVersion(msgspec.Struct):
    """A version of a dataset. ``id`` is what ``X-Benchmark-Dataset-Version`` may say: its label or its fingerprint."""

    id: str
    label: str | None


class ResolvedDataset(msgspec.Struct):
    """A dataset with the version of it that was meant."""

    dataset: str
    version: DatasetVersion


class ImageSource(msgspec.Struct, tag_field="type", tag="image"):
    """A sandbox made from a container image."""

    image: str


class SnapshotSource(msgspec.Struct, tag_field="type", tag="snapshot"):
    """A sandbox made from a named snapshot."""

    snapshot: str


class SandboxResources(msgspec.Struct):
    """What a sandbox is given; memory and disk in GB."""

    vcpu: int
    memory: int
    disk: int
    gpu: int = 0
    gpu_type: str | None = None


class RetrievedTask(msgspec.Struct):
    """Where a task is to be attempted. ``docker_image`` says the same as ``source``, for older clients."""

    docker_image: str
    source: ImageSource | SnapshotSource
    problem_path: str
    cwd: str
    agent_timeout: float | None
    resources: SandboxResources

    @classmethod
    def of(cls, environment: Environment) -> RetrievedTask:
        """Say on the wire what the benchmark's hook said."""
        source: ImageSource | SnapshotSource
        if environment.image is not None:
            source, docker_image = ImageSource(environment.image), environment.image
        else:
            snapshot = environment.snapshot or ""
            source, docker_image = SnapshotSource(snapshot), f"snapshot:{snapshot}"
        given = environment.resources
        return cls(
            docker_image=docker_image,
            source=source,
            problem_path=environment.problem_path,
            cwd=environment.cwd,
            agent_timeout=environment.agent_timeout,
            resources=SandboxResources(given.vcpu, given.memory, given.disk, given.gpu, given.gpu_type),
        )


class PublicResult(msgspec.Struct):
    """The part of a :class:`benchhost.Result` that leaves the host."""

    score: float
    passed: bool | None
    metrics: dict[str, float]
    feedback: str | None


class EvaluateResponseRequest(msgspec.Struct):
    """One response to be judged, outside of any run."""

    task_id: str
    response: str
    dataset: str | None = None


class Payload(msgspec.Struct):
    """What is submitted. ``data`` is the response itself; ``schema`` names its shape (``schema_id`` says the same).

    Of an artifact, ``data`` is a ``data:`` URL or the key of an upload, and ``sha256`` what its bytes must have.
    """

    type: Literal["text", "artifact"]
    data: str
    schema: str | msgspec.UnsetType = msgspec.UNSET
    schema_id: str | msgspec.UnsetType = msgspec.UNSET
    sha256: Sha256 | None = None

    def __post_init__(self) -> None:
        if self.schema is msgspec.UNSET and self.schema_id is msgspec.UNSET:
            raise ValueError("Object missing required field `schema`")


class UploadRequest(msgspec.Struct):
    """What is going to be uploaded for an evaluation.

    A host that keeps uploads itself takes nothing else than what has the ``size`` and ``sha256``, if they are given.
    """

    run_id: Part
    task_id: Part
    filename: Part
    dataset: Part | None = None
    size: Annotated[int, Meta(ge=0)] | None = None
    sha256: Sha256 | None = None


class UploadUrl(msgspec.Struct):
    """Where to put it, within ``expires_in`` seconds, and the ``key`` by which it is submitted then."""

    key: str
    url: str
    expires_in: int


class Versions(msgspec.Struct):
    """What the submitter says of itself."""

    runner: str | None = None


class EvaluateRequest(msgspec.Struct):
    """One response to be judged, as part of a run."""

    run_id: RunName
    task_id: str
    payload: Annotated[
        Payload, Meta(extra_json_schema={"anyOf": [{"required": ["schema"]}, {"required": ["schema_id"]}]})
    ]
    dataset: str | None = None
    versions: Versions | None = None


class EvaluateAnswer(msgspec.Struct):
    """The verdict. ``errors`` says in words for the submitter why there is no ``result``."""

    run_id: str
    task_id: str
    status: Status
    evaluator_version: str | None
    result: PublicResult | None
    errors: list[str]


_RESULT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "score": {"type": "number"},
        "passed": {"type": ["boolean", "null"]},
        "metrics": {"type": "object", "additionalProperties": {"type": "number"}},
        "feedback": {"type": ["string", "null"]},
    },
    "required": ["score"],
}

Given = Annotated[
    dict[str, Any],
    Meta(description="A result, as an evaluation answers it: an object with a `score`.", extra_json_schema=_RESULT),
]
"""A result that a caller gives; :mod:`benchhost.wire.results` makes a struct of it."""

GivenOrEnvelope = Annotated[
    dict[str, Any],
    Meta(
        description="A result, as an evaluation answers it, or the whole answer of `/v1/evaluate` around it.",
        extra_json_schema={
            "anyOf": [
                _RESULT,
                {
                    "type": "object",
                    "properties": {
                        "status": {"enum": list(get_args(Status))},
                        "result": {"anyOf": [_RESULT, {"type": "null"}]},
                    },
                    "required": ["status"],
                },
            ]
        },
    ),
]
"""A result that a caller gives, or its envelope."""


class FinalScoreRequest(msgspec.Struct):
    """Results to be summed up: every task id with what its evaluation answered, or null where there is no verdict."""

    evaluation_results: dict[str, GivenOrEnvelope | None]
    dataset: str | None = None


class FinalScoreAnswer(msgspec.Struct):
    """The score of the given results, and what else the benchmark says of them."""

    tasks_evaluated: list[str]
    final_score: float
    metadata: dict[str, Any]


class Verdict(msgspec.Struct):
    """What became of one response of a run."""

    status: Status
    result: Given | None = None
    errors: list[str] = []


class ScoreRequest(msgspec.Struct):
    """The verdicts of a run to be summed up; null where there is none."""

    run_id: RunName
    evaluation_results: dict[str, Verdict | None]
    dataset: str | None = None


class ScoreAnswer(msgspec.Struct):
    """The score of a run."""

    run_id: str
    tasks_evaluated: list[str]
    final_score: float
    metadata: dict[str, Any]
