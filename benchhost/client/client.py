"""The client of one benchmark on a host."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from benchhost.client.address import TokenHeader, checked_version, credential, located
from benchhost.client.answers import Outcome, Score, ServiceVersion, TaskEnvironment, Tasks
from benchhost.client.batches import lines_of, one_by_one
from benchhost.client.faults import Request, no_such_route
from benchhost.client.routes import Routes
from benchhost.client.sandboxes import Sandboxes
from benchhost.client.streams import OnMessage, OnState, Said, watch
from benchhost.client.transport import Retries, Transport
from benchhost.client.uploads import upload
from benchhost.errors import ClientError, HostUnreachable
from benchhost.wire import native, vals

JSON_LINES = "application/jsonl"

_IDS_AT_ONCE = 4000
"""How many characters of task ids are sent in one query; servers and proxies refuse long ones."""


class Client:
    """Asks a benchmark's host, for as long as it is open: ``async with Client(url, "gsm8k") as client``.

    ``url`` is that of the host (``http://localhost:8000``), with the name of the ``benchmark`` beside it;
    or that of the benchmark itself (``http://localhost:8000/b/gsm8k``); or that of another service that
    speaks the contract of create-benchmark-service. What such a service does not offer of benchhost's
    own routes is done with the contract's.

    ``token`` goes with every request, in the ``token_header``, and so do the ``headers``. ``timeout`` is
    the longest silence of the host in seconds; ``evaluation_timeout`` that while it judges or scores.
    ``dataset_version`` pins a version of each dataset that is asked about, by its label or its fingerprint; a host
    that answers for another one is not believed.
    ``connections`` may be open at once; more requests wait.

    Every method raises :class:`~benchhost.errors.ClientError`; :class:`~benchhost.errors.UsageError` is
    raised here, by a URL, name or token that cannot be one.
    """

    def __init__(
        self,
        url: str,
        benchmark: str | None = None,
        *,
        token: str | None = None,
        token_header: TokenHeader = "authorization",  # noqa: S107
        headers: Mapping[str, str] | None = None,
        dataset_version: str | None = None,
        timeout: float = 60.0,
        evaluation_timeout: float = 1800.0,
        connections: int = 100,
        retries: Retries | None = None,
    ) -> None:
        self.root, self.benchmark = located(url, benchmark)
        self.dataset_version = checked_version(dataset_version)
        self._headers = {**(headers or {}), **credential(token, token_header)}
        self._connections = connections
        # Where there is a /b/, there is a benchhost; to it, the same evaluation twice is the same one.
        retries = retries or Retries()
        resends = self.benchmark is not None if retries.posts is None else retries.posts
        self._transport = Transport(self._headers, retries=retries, resends=resends, connections=connections)
        self._routes = Routes(
            self.root,
            self.benchmark,
            self._transport,
            dataset_version=self.dataset_version,
            timeout=timeout,
            evaluation_timeout=evaluation_timeout,
        )
        self.url = self._routes.url
        self._has_batches = self._has_v1 = True
        self.sandboxes = Sandboxes(self.root, self._transport, self._headers, timeout)

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    # The host and the benchmark.

    async def health(self) -> vals.Health:
        """Ask whether the benchmark is loaded and can be used."""
        return await self._routes.get("Asking for health", "/health", vals.Health)

    async def version(self, dataset: str | None = None) -> ServiceVersion:
        """Ask which service, and which version of the dataset, answers."""
        return await self._routes.get("Asking for the version", "/version", ServiceVersion, dataset=dataset)

    async def plugins(self) -> list[native.Plugin]:
        """List what the host serves, and what it cannot serve and why."""
        return await self._routes.plugins()

    # Tasks.

    async def task_ids(
        self,
        *,
        slice: str | None = None,  # noqa: A002
        task_ids: Sequence[str] | None = None,
        dataset: str | None = None,
    ) -> list[str]:
        """List the ids of a dataset's tasks: all, those of a ``slice`` (``start:stop:step``), or those asked for.

        Ids that are asked for must all exist; each is returned once.
        """
        what = "Listing the ids of tasks"
        if task_ids is None:
            return (
                await self._routes.get(what, "/verify-task-ids", vals.TaskIds, slice=slice, dataset=dataset)
            ).task_ids
        found: list[str] = []
        for ids in _in_pieces(list(dict.fromkeys(task_ids))):
            answer = await self._routes.get(what, "/verify-task-ids", vals.TaskIds, task_ids=ids, dataset=dataset)
            found += answer.task_ids
        return found

    async def tasks(self, dataset: str = "default") -> Tasks:
        """Fetch all tasks of a dataset."""
        return await self._routes.get(
            f"Listing the tasks of {dataset}", f"/v1/datasets/{quote(dataset, safe='')}/tasks", Tasks
        )

    # Judging.

    async def evaluate(self, run_id: str, task_id: str, response: str, dataset: str | None = None) -> Outcome:
        """Have a response judged, as part of a run. A failure of the host to judge it is an outcome too."""
        if self._has_v1:
            payload = {"type": "text", "schema": "text", "data": response}
            body = {"run_id": run_id, "task_id": task_id, "payload": payload, **_named(dataset)}
            request = self._routes.post(f"Evaluating task {task_id}", "/v1/evaluate", body)
            try:
                answer = await self._routes.ask(request)
            except ClientError as error:
                if not no_such_route(error):
                    raise
                self._has_v1 = False
            else:
                return self._routes.outcome(request, answer)
        result = await self.evaluate_response(task_id, response, dataset)
        return Outcome(task_id=task_id, status="evaluated", result=result)

    async def evaluate_response(self, task_id: str, response: str, dataset: str | None = None) -> Any:
        """Have a response judged outside of any run, and return the bare result."""
        body = {"task_id": task_id, "response": response, **_named(dataset)}
        request = self._routes.post(f"Evaluating task {task_id}", "/evaluate-response/", body)
        return (await self._routes.ask(request)).read(request, object)

    # Files.

    async def upload(
        self, run_id: str, task_id: str, filename: str, content: bytes | Path, dataset: str | None = None
    ) -> str:
        """Upload bytes, or a file, that are to be judged; return the key under which they are kept for a while.

        The run, the task and the filename are of letters, digits, dots, dashes and underscores here.
        """
        named = {"run_id": run_id, "task_id": task_id, "filename": filename, **_named(dataset)}
        key, _ = await upload(self._routes, content, named)
        return key

    async def evaluate_artifact(
        self,
        run_id: str,
        task_id: str,
        schema: str,
        content: bytes | Path,
        dataset: str | None = None,
        *,
        filename: str = "artifact",
    ) -> Outcome:
        """Upload bytes, or a file, and have them judged, as :meth:`evaluate` has a response.

        ``schema`` names their shape, one of those that the benchmark takes.
        """
        about = {"run_id": run_id, "task_id": task_id, **_named(dataset)}
        key, digest = await upload(self._routes, content, {**about, "filename": filename})
        body = {**about, "payload": {"type": "artifact", "schema": schema, "data": key, "sha256": digest}}
        request = self._routes.post(f"Evaluating task {task_id}", "/v1/evaluate", body)
        return self._routes.outcome(request, await self._routes.ask(request))

    # Sandboxes; those of the host itself are made by ``client.sandboxes``.

    async def retrieve_task(self, task_id: str, dataset: str | None = None) -> TaskEnvironment:
        """Ask in which sandbox a task is to be attempted."""
        what = f"Asking for the sandbox of task {task_id}"
        return await self._routes.get(what, "/retrieve-task/", TaskEnvironment, task_id=task_id, dataset=dataset)

    async def setup_task(
        self,
        task_id: str,
        instance_id: str,
        dataset: str | None = None,
        *,
        sandbox_provider: Mapping[str, Any] | None = None,
        on_message: OnMessage | None = None,
    ) -> str:
        """Have a sandbox prepared for an attempt at a task; return the status that the benchmark gave.

        ``instance_id`` is the sandbox: one of the host's, or one at Daytona, for which the ``sandbox_provider`` has
        the credentials; they go in the frame, and in the headers in which older services want them. ``on_message`` is
        told what is said meanwhile.
        """
        frame = _about_sandbox(task_id, instance_id, dataset, sandbox_provider)
        request = self._routes.socket(f"Setting up task {task_id}", "/ws/setup-task", sandbox_provider)
        result = await watch(self._transport, request, frame, self._headers, on_message)
        return str(result.get("status", "ok")) if isinstance(result, dict) else "ok"

    async def evaluate_instance(
        self,
        task_id: str,
        instance_id: str,
        dataset: str | None = None,
        *,
        run_id: str | None = None,
        sandbox_provider: Mapping[str, Any] | None = None,
        on_message: OnMessage | None = None,
        on_state: OnState | None = None,
    ) -> Outcome:
        """Have what was done in a sandbox judged. A failure of the host to judge it is an outcome too.

        The same is judged once for each ``run_id``: asked for again, it is answered from the host's record. A
        connection that drops is made anew, and joins what is under way. ``on_state`` is told how far the benchmark has
        come, if it says so; the rest is as at :meth:`setup_task`.
        """
        frame = _about_sandbox(task_id, instance_id, dataset, sandbox_provider)
        if run_id is not None:
            frame["run_id"] = run_id
        request = self._routes.socket(f"Evaluating task {task_id}", "/ws/evaluate-instance", sandbox_provider)
        return await self._watched(task_id, request, frame, on_message, on_state)

    async def watch_response(
        self,
        task_id: str,
        response: str | None,
        dataset: str | None = None,
        *,
        run_id: str | None = None,
        resume_state: Mapping[str, Any] | None = None,
        on_message: OnMessage | None = None,
        on_state: OnState | None = None,
    ) -> Outcome:
        """Have a response judged, as :meth:`evaluate` does, and be told meanwhile what :meth:`evaluate_instance` tells.

        With a ``resume_state`` that was told before, and ``None`` for the response, judging goes on from there.
        """
        frame = {"task_id": task_id, "response": response, "eval_resume_state": resume_state, "dataset": dataset}
        if run_id is not None:
            frame["run_id"] = run_id
        request = self._routes.socket(f"Evaluating task {task_id}", "/ws/evaluate-response")
        return await self._watched(task_id, request, frame, on_message, on_state)

    async def _watched(
        self,
        task_id: str,
        request: Request,
        frame: Mapping[str, Any],
        on_message: OnMessage | None,
        on_state: OnState | None,
    ) -> Outcome:
        try:
            result = await watch(self._transport, request, frame, self._headers, on_message, on_state)
        except Said as said:
            return Outcome(task_id=task_id, status="error", errors=[said.detail])
        return Outcome(task_id=task_id, status="evaluated", result=result)

    # Many at once.

    async def evaluate_batch(
        self, run_id: str, submissions: Sequence[tuple[str, str]], dataset: str | None = None
    ) -> AsyncGenerator[tuple[int, Outcome], None]:
        """Have many responses judged; yield outcomes as they come, each with its position in the submissions.

        A submission is ``(task id, response)``. When the connection is cut, only those that are still
        owed are sent again. Where there are no batches, they are sent one by one, many at a time; if one
        then fails, no more are begun, and the error is raised after the last outcome.

        Leave the loop early inside ``contextlib.aclosing``, so that the connection is closed at once.
        """
        owed = dict(enumerate(submissions))
        tried = 0
        while owed and self._has_batches:
            positions = list(owed)
            items = [{"task_id": task_id, "response": response} for task_id, response in owed.values()]
            body = {"run_id": run_id, "submissions": items, **_named(dataset)}
            request = self._routes.post(f"Evaluating {len(items)} responses", "/v1/evaluate-batch", body, JSON_LINES)
            try:
                async with aclosing(lines_of(self._routes, request, self._headers)) as lines:
                    async for index, outcome in lines:
                        position = positions[index] if 0 <= index < len(positions) else None
                        if position is None or owed.pop(position, None) is None:
                            raise ClientError(
                                f"{request.what} failed: {request.shown} answered for number {index} of them, which it "
                                "was not asked for, or has answered already."
                            )
                        yield position, outcome
                if owed:
                    ended = f"{request.what} failed: {request.shown} ended its answer with {len(owed)} still owed."
                    raise HostUnreachable(ended, sent=True)
            except ClientError as error:
                if no_such_route(error):
                    self._has_batches = False
                    break
                tried = tried if len(owed) == len(positions) else 0
                await self._transport.pause(request, await self._routes.explained(error), tried)
                tried += 1
        if owed:
            judged = partial(self.evaluate, run_id, dataset=dataset)
            async with aclosing(one_by_one(judged, owed, self._connections)) as found:
                async for position, outcome in found:
                    yield position, outcome

    async def evaluation(self, evaluation_id: str) -> native.Evaluation:
        """Look up an evaluation, finished or running, by its id."""
        path = f"/v1/evaluations/{quote(evaluation_id, safe='')}"
        return await self._routes.get(f"Looking up evaluation {evaluation_id}", path, native.Evaluation)

    # Scores.

    async def score(
        self, run_id: str, verdicts: Mapping[str, Outcome | vals.Verdict | None], dataset: str | None = None
    ) -> Score:
        """Have the verdicts of a run summed up; ``None`` for a task without one, which then counts as missing."""
        if self._has_v1:
            given = {
                task: None if verdict is None else vals.Verdict(verdict.status, verdict.result, verdict.errors)
                for task, verdict in verdicts.items()
            }
            body = {"run_id": run_id, "evaluation_results": given, **_named(dataset)}
            request = self._routes.post(f"Scoring run {run_id}", "/v1/score", body)
            try:
                return (await self._routes.ask(request)).read(request, Score)
            except ClientError as error:
                if not no_such_route(error):
                    raise
        results = {
            task: verdict.result if verdict is not None and verdict.status == "evaluated" else None
            for task, verdict in verdicts.items()
        }
        return await self.final_score(results, dataset)

    async def final_score(self, results: Mapping[str, Any], dataset: str | None = None) -> Score:
        """Have results summed up: of every task what its evaluation answered, or ``None``."""
        body = {"evaluation_results": results, **_named(dataset)}
        request = self._routes.post("Scoring", "/final-score/", body)
        return (await self._routes.ask(request)).read(request, Score)


def _about_sandbox(
    task_id: str, instance_id: str, dataset: str | None, sandbox_provider: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Make the frame about a sandbox; nulls are sent, as other clients of the contract do."""
    frame = {"task_id": task_id, "instance_id": instance_id, "dataset": dataset}
    return frame if sandbox_provider is None else {**frame, "sandbox_provider": dict(sandbox_provider)}


def _named(dataset: str | None) -> dict[str, str]:
    return {} if dataset is None else {"dataset": dataset}


def _in_pieces(ids: Sequence[str]) -> Iterator[list[str]]:
    """Part ids into groups that fit into a query."""
    group: list[str] = []
    length = 0
    for task_id in ids:
        size = len(quote(task_id)) + len("&task_ids=")
        if group and length + size > _IDS_AT_ONCE:
            yield group
            group, length = [], 0
        group.append(task_id)
        length += size
    if group:
        yield group
