"""The WebSockets of a benchmark: a sandbox set up, and what was done in it, or a response, judged while one watches.

A socket is accepted before anything is decided, told of a refusal by the code with which it is closed, and asked for
one frame. What goes wrong from there on is an ``error`` chunk, but for what may come back later: that is told by a code
as well. What a client has begun goes on when it hangs up.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from benchhost.errors import (
    BenchhostError,
    Busy,
    DatasetNotAllowed,
    GradingFailed,
    InvalidVersion,
    Malformed,
    NoVersions,
    QuotaReached,
    QuotaUnavailable,
    RequestError,
    TenantRequired,
    Unauthorized,
    Unavailable,
    UnknownTask,
    UnknownVersion,
)
from benchhost.evaluation.frames import InSandbox
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.outcomes import Declined
from benchhost.evaluation.requests import Context, Submission
from benchhost.evaluation.work import Instance, Resumption, Work
from benchhost.log import get_logger
from benchhost.server.auth import INTERNAL_ERROR, POLICY_VIOLATION, Admitted, admit, close_code, parted, pinned, served
from benchhost.server.host import Host
from benchhost.server.problems import status_of
from benchhost.server.sandbox_access import ProviderDisabled, place_of
from benchhost.server.socket import Gone, Socket
from benchhost.store import Evaluation
from benchhost.tasks import Catalogue
from benchhost.wire.bodies import TOO_DEEP, malformed
from benchhost.wire.sockets import LARGEST_FRAME, InstanceFrame, ResponseFrame, chunk
from benchhost.wire.vals import DatasetVersion

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

_log = get_logger()

TRY_AGAIN_LATER = 1013
"""The code with which a WebSocket is closed that is one too many, or asks for one evaluation too many (IANA's)."""

RUN_HEADER = "x-vals-run-id"
"""Where clients of create-benchmark-service say for which run they ask, if they do."""

T = TypeVar("T")
FrameT = TypeVar("FrameT", InstanceFrame, ResponseFrame)

_encode = msgspec.json.Encoder().encode
_instance_frame = msgspec.json.Decoder(InstanceFrame)
_response_frame = msgspec.json.Decoder(ResponseFrame)


class Conversation:
    """One client at one socket, whose first frame is there."""

    def __init__(self, host: Host, admitted: Admitted, benchmark: HostedBenchmark, socket: Socket, frame: str) -> None:
        self.host = host
        self.admitted = admitted
        self.benchmark = benchmark
        self.socket = socket
        self._frame = frame

    def read(self, decoder: msgspec.json.Decoder[FrameT]) -> FrameT:
        """Read the frame.

        Raises :class:`~benchhost.errors.Malformed`, which repeats nothing of it.
        """
        try:
            return decoder.decode(self._frame)
        except msgspec.ValidationError as error:
            raise malformed(str(error), "frame") from None
        except RecursionError:
            raise Malformed(TOO_DEEP, ("frame",)) from None
        except (msgspec.DecodeError, UnicodeError):
            raise Malformed("not valid JSON", ("frame",)) from None

    async def known(self, dataset: str | None, task_id: str) -> Catalogue:
        """Find the dataset of a task that is in it.

        Raises what :meth:`~benchhost.server.auth.Admitted.catalogue` raises, and
        :class:`~benchhost.errors.UnknownTask`.
        """
        catalogue = await self.admitted.catalogue(self.benchmark, dataset)
        if self.admitted.pinned is not None:
            version = DatasetVersion(self.admitted.pinned, catalogue.version)
            await self.socket.send(chunk("dataset_version", _encode(version)))
        if task_id not in catalogue.positions:
            raise UnknownTask(f"Task ID not found: {task_id[:200]}")
        return catalogue

    def context(self, catalogue: Catalogue, run_id: str | None = None) -> Context:
        """Say on whose behalf this is."""
        run = run_id if run_id is not None else self.socket.headers.get(RUN_HEADER, "")
        return Context(self.admitted.tenant, catalogue.name, run, catalogue.version or "")

    async def place(self, frame: InstanceFrame) -> InSandbox:
        """Find the sandbox that a frame is about."""
        return await place_of(
            self.host.sandboxes,
            self.admitted.tenant,
            frame.instance_id,
            frame.sandbox_provider,
            self.socket.headers,
            self.host.settings.daytona_hosts,
        )

    async def watched(self, event_id: str, waiting: Awaitable[T], still: str, *, quietly: bool = False) -> T:
        """Wait for something, and pass on what is said meanwhile, by whoever has the id; ``still`` when nothing is.

        What is said is passed on to nobody when this is done ``quietly``.

        Raises :class:`~benchhost.server.socket.Gone` when the client hangs up, and what the awaitable raises.
        """
        socket, quiet = self.socket, self.host.settings.socket_heartbeat
        wake = asyncio.Event()
        with self.host.evaluator.events.listen(event_id, wake.set) as listener:
            task = asyncio.ensure_future(waiting)
            task.add_done_callback(lambda _: wake.set())
            socket.gone.add_done_callback(lambda _: wake.set())
            began = time.monotonic()
            try:
                while True:
                    try:
                        async with asyncio.timeout(quiet):
                            await wake.wait()
                    except TimeoutError:
                        await socket.say([f"{still} after {time.monotonic() - began:.0f} s"])
                        continue
                    wake.clear()
                    ended = task.done()  # what was said before the end has been heard by now
                    lines, state = listener.take()
                    if not quietly:
                        await socket.say(lines)
                    if state is not None and not quietly:
                        await socket.send(chunk("eval_resume_state", state))
                    if ended:
                        return task.result()
                    if socket.gone.done():
                        raise Gone
            finally:
                task.cancel()  # which ends the waiting, and not what is waited for
                await asyncio.gather(task, return_exceptions=True)

    async def judge(self, context: Context, what: Submission | Work) -> None:
        """Have something judged, and tell of it."""
        evaluation_id = self.host.evaluator.id_of(self.benchmark, context, what)
        asked = time.time()
        evaluation = await self.watched(
            evaluation_id,
            self.host.evaluator.evaluate(self.benchmark, context, what),
            f"evaluation {evaluation_id} still runs",
            quietly=self.host.evaluator.policies.of(self.benchmark, context.dataset, context.tenant).withholds,
        )
        if isinstance(what, Instance) and (evaluation.finished_at or asked) < asked:
            before = f"this sandbox was judged before, as evaluation {evaluation_id}: here is that result. "
            await self.socket.say([f"{before}With another run_id it is judged again"])
        await self.socket.end(_outcome(self.host.evaluator.told(self.benchmark, context.dataset, evaluation)))


async def setup_task(conversation: Conversation) -> None:
    """Prepare a sandbox for an attempt at a task."""
    frame = conversation.read(_instance_frame)
    if not conversation.benchmark.offers("retrieve_task"):  # by which it is known where the question belongs
        conversation.benchmark.must_offer("setup_task")
    catalogue = await conversation.known(frame.dataset, frame.task_id)
    place = await conversation.place(frame)
    setups, context = conversation.host.setups, conversation.context(catalogue, "")
    setup_id = setups.id_of(conversation.benchmark, context, frame.task_id, place)
    try:
        status = await conversation.watched(
            setup_id,
            setups.set_up(conversation.benchmark, context, frame.task_id, place),
            "the sandbox is still being set up",
        )
    except Declined as error:
        await conversation.socket.end(chunk("error", _encode(str(error))))
    else:
        await conversation.socket.end(chunk("result", status))


async def evaluate_instance(conversation: Conversation) -> None:
    """Judge what was done in a sandbox."""
    frame = conversation.read(_instance_frame)
    conversation.benchmark.must_offer("evaluate_instance")
    catalogue = await conversation.known(frame.dataset, frame.task_id)
    place = await conversation.place(frame)
    await conversation.judge(conversation.context(catalogue, frame.run_id), Instance(frame.task_id, place))


async def evaluate_response(conversation: Conversation) -> None:
    """Judge a response, or go on judging one."""
    frame = conversation.read(_response_frame)
    conversation.benchmark.must_offer("evaluate_response")
    if (frame.response is None) == (frame.eval_resume_state is None):
        raise Malformed("expected one of response and eval_resume_state", ("frame",))
    catalogue = await conversation.known(frame.dataset, frame.task_id)
    what: Submission | Work
    if frame.response is not None:
        what = Submission(frame.task_id, frame.response)
    else:
        what = Resumption(frame.task_id, _encode(frame.eval_resume_state))
    await conversation.judge(conversation.context(catalogue, frame.run_id), what)


SOCKETS: dict[str, Callable[[Conversation], Awaitable[None]]] = {
    "/ws/setup-task": setup_task,
    "/ws/evaluate-instance": evaluate_instance,
    "/ws/evaluate-response": evaluate_response,
}
"""What every benchmark offers at a WebSocket, under ``/b/<name>``."""


class Sockets:
    """The WebSockets of a worker, of which only so many may be open at once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._open = 0

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket, from its handshake to its end."""
        socket = Socket(scope, receive, send)
        handler = SOCKETS.get(parted(scope["path"])[1])
        if handler is None or not socket.is_of_this_site or not self._can_be_gone_by(scope):
            await socket.refuse()
            return
        await socket.accept()
        self._open += 1
        try:
            with self._host.connections.request(scope["client"]):
                await self._serve(handler, scope, socket)
        except Busy as error:
            await socket.close(TRY_AGAIN_LATER, str(error))
        except Gone:
            _log.debug("a client has hung up", path=scope["path"])
        finally:
            self._open -= 1
            await socket.let_go()

    def _can_be_gone_by(self, scope: Scope) -> bool:
        try:
            self._host.heads.check(scope)
        except RequestError:
            return False
        return True

    async def _serve(self, handler: Callable[[Conversation], Awaitable[None]], scope: Scope, socket: Socket) -> None:
        if self._open > self._host.settings.max_sockets:
            await socket.close(TRY_AGAIN_LATER, "This host has as many WebSockets open as it takes; retry later.")
        else:
            await self._converse(handler, scope, socket)

    async def _converse(self, handler: Callable[[Conversation], Awaitable[None]], scope: Scope, socket: Socket) -> None:
        host = self._host
        try:
            await host.plugins_found()
            admitted = await admit(scope, host)
        except Exception as error:  # a check_auth may fail in any way, and must then let nobody in
            if not isinstance(error, RequestError):
                _log.error("it could not be decided who may use a WebSocket", exc_info=error)
            await socket.close(*close_code(error))
            return
        try:
            frame = await socket.first_frame(host.settings.socket_timeout)
            if admitted.benchmark is not None and not host.roster.serves(admitted.benchmark):
                admitted = await admit(scope, host)  # the plugins were reloaded: what let it in may be gone by now
            benchmark = await served(host, admitted)
            with benchmark.in_use():
                await handler(Conversation(host, pinned(scope, admitted), benchmark, socket, frame))
        except (Gone, Busy):
            raise
        except (Unauthorized, DatasetNotAllowed, TenantRequired) as error:
            await socket.close(*close_code(error))
        except QuotaReached as error:
            reason = f"Evaluation quota reached; retry after {error.until}."
            await socket.close(POLICY_VIOLATION, reason)
        except QuotaUnavailable as error:
            _log.error("a quota could not be counted", exc_info=error)
            await socket.close(INTERNAL_ERROR, str(error))
        except ProviderDisabled as error:
            await socket.close(POLICY_VIOLATION, str(error))
        except (NoVersions, InvalidVersion, UnknownVersion) as error:
            status = status_of(type(error))
            await socket.end(f'{{"type":"error","data":{_encode(str(error)).decode()},"status_code":{status}}}')
        except Exception as error:  # whatever it is, the client is told that it happened, and nothing it may not know
            await socket.end(chunk("error", _encode(_said(error))))


def _outcome(evaluation: Evaluation) -> str:
    """Make the last chunk of an evaluation."""
    if evaluation.result is None:
        return chunk("error", _encode("; ".join(evaluation.errors)))
    if len(evaluation.result) > LARGEST_FRAME - 100:
        return chunk(
            "error", _encode(f"the result is too large for a frame: look up evaluation {evaluation.id} instead")
        )
    return chunk("result", evaluation.result)


def _said(error: Exception) -> str:
    """Say of an error what its cause may know: where it is not the caller's, an id that stands beside it in the log."""
    if isinstance(error, Malformed):
        where = ".".join(str(step) for step in error.location)
        return f"{where}: {error}" if where else str(error)
    if isinstance(error, RequestError | Unavailable):
        return str(error)
    error_id = uuid.uuid4().hex
    title = error.title if isinstance(error, BenchhostError) else BenchhostError.title
    if isinstance(error, GradingFailed):
        _log.error("a hook failed", error_id=error_id, error=type(error).__name__, cause=str(error))
    else:
        _log.error("a socket failed", error_id=error_id, exc_info=error)
    return f"{title}. Quote {error_id} to the operator."
