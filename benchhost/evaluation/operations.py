"""What the host may ask of a benchmark: which hook that calls, with what, and what may come of it."""

from __future__ import annotations

from typing import Any

import msgspec

from benchhost.contract import Environment, Response, Task, placed_fields, public, public_fields
from benchhost.errors import HookReturned
from benchhost.evaluation.frames import Answer, Resumed
from benchhost.evaluation.operation import GivesResult, Operation
from benchhost.evaluation.sandbox_operations import EvaluateInstance, PlaceSubmission, SetupTask
from benchhost.evaluation.scoring_operations import FinalScoreOf, ScoreOf
from benchhost.wire.results import GivenResult, whole
from benchhost.wire.vals import RetrievedTask


class EvaluateResponse(GivesResult):
    """Judge a response; the body of the call is its text."""

    hook = "evaluate_response"

    def begin(self) -> Any:
        return self.ask(self.task(), Response(self._body.decode()))


class ResumeResponse(GivesResult):
    """Go on judging a response."""

    hook = "evaluate_response"

    def begin(self) -> Any:
        resumed = msgspec.msgpack.decode(self._body, type=Resumed)
        return self.resume(self.task(), Response(resumed.text), state=resumed.resume_state)


class ProjectTrialResult(GivesResult):
    """Make of a result what a tenant on trial is shown; the body is the result's public part."""

    hook = "project_trial_result"

    def begin(self) -> Any:
        return self.ask(whole(msgspec.json.decode(self._body, type=GivenResult)))


class Prompt(Operation):
    """Say what a model is asked."""

    hook = "prompt"

    def begin(self) -> Any:
        return self.ask(self.task())

    def end(self, value: Any) -> Answer:
        if not isinstance(value, str):
            raise self.wrong(value, "a str")
        return Answer(self.number, _encoded(value))


class ReferenceResponse(Operation):
    """Give the response that deserves full marks, or null. No route may answer with it."""

    hook = "reference_response"

    def begin(self) -> Any:
        return self.ask(self.task())

    def end(self, value: Any) -> Answer:
        if value is not None and not (isinstance(value, Response) and isinstance(value.text, str)):
            raise self.wrong(value, "a benchhost.Response or None")
        return Answer(self.number, b"null" if value is None else _encoded(value.text))


class Reveal(Operation):
    """Give a task whole, what callers see apart from what they do not. No route may answer with it."""

    hook = "load_datasets"  # which made the task; it is not called again

    def begin(self) -> Any:
        return self.task()

    def end(self, value: Any) -> Answer:
        kind: type[Task] = type(value)
        shown = {name for _, name in public_fields(kind)}
        fields = msgspec.to_builtins(value, str_keys=True)
        hidden = {name: content for name, content in fields.items() if name not in shown}
        placed = {name: fields[name] for _, name in placed_fields(kind)}
        return Answer(self.number, msgspec.json.encode({"public": public(value), "hidden": hidden, "placed": placed}))


class RetrieveTask(Operation):
    """Say in which sandbox a task is to be attempted."""

    hook = "retrieve_task"

    def begin(self) -> Any:
        return self.ask(self.task())

    def end(self, value: Any) -> Answer:
        if not isinstance(value, Environment):
            raise self.wrong(value, "a benchhost.Environment")
        try:
            told = msgspec.convert(msgspec.to_builtins(RetrievedTask.of(value)), RetrievedTask)
        except (TypeError, ValueError, AttributeError) as error:
            raise HookReturned(
                f"{self._loaded.name}: {self.hook} returned an Environment that cannot be sent: {error}"
            ) from error
        return Answer(self.number, msgspec.json.encode(told))


class EvaluationEnvironment(RetrieveTask):
    """Say in which sandbox a submission is to be judged."""

    hook = "evaluation_environment"


class _Decides(Operation):
    """Say yes or no."""

    def end(self, value: Any) -> Answer:
        if not isinstance(value, bool):
            raise self.wrong(value, "a bool")
        return Answer(self.number, msgspec.json.encode(value))


class CheckAuth(_Decides):
    """Decide whether a request may use the benchmark; the body is its headers in msgpack."""

    hook = "check_auth"

    def begin(self) -> Any:
        headers = msgspec.msgpack.decode(self._body, type=dict[str, str])
        return self.ask(headers)


class ResolveTenant(Operation):
    """Say to which tenant a request belongs; the body is its headers in msgpack."""

    hook = "resolve_tenant"

    def begin(self) -> Any:
        return self.ask(msgspec.msgpack.decode(self._body, type=dict[str, str]))

    def end(self, value: Any) -> Answer:
        if value is not None and not isinstance(value, str):
            raise self.wrong(value, "a str or None")
        return Answer(self.number, b"null" if value is None else _encoded(value))


class CheckDatasetAccess(_Decides):
    """Decide whether a tenant, who is the body, may use a dataset, whether there is one or not."""

    hook = "check_dataset_access"

    def begin(self) -> Any:
        return self.ask(self._body.decode(), self._dataset)


OPERATIONS: dict[str, type[Operation]] = {
    "evaluate_response": EvaluateResponse,
    "resume_response": ResumeResponse,
    "setup_task": SetupTask,
    "place_submission": PlaceSubmission,
    "evaluate_instance": EvaluateInstance,
    "prompt": Prompt,
    "reference_response": ReferenceResponse,
    "reveal": Reveal,
    "retrieve_task": RetrieveTask,
    "evaluation_environment": EvaluationEnvironment,
    "check_auth": CheckAuth,
    "resolve_tenant": ResolveTenant,
    "check_dataset_access": CheckDatasetAccess,
    "project_trial_result": ProjectTrialResult,
    "final_score": FinalScoreOf,
    "score": ScoreOf,
}
"""Every operation, by the name that a call carries."""


def _encoded(text: str) -> bytes:
    """Encode a text as JSON, with a question mark for each half of a character that UTF-8 cannot say."""
    return msgspec.json.encode(text.encode("utf-8", "replace").decode())
