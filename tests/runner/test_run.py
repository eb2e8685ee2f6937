"""A run, from its first attempt to its summary."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import msgspec
import pytest

from benchhost import Context, FinalScore, GenerationResult, GenerationStatus, Result, Runner, Task
from benchhost.contract import EvaluationStatus, Sampling
from benchhost.errors import (
    ContextOverflow,
    ModelAuthFailed,
    ModelThrottled,
    ModelUnavailable,
    RunDrifted,
    RunLocked,
    RunRefused,
    StoreFailed,
    UsageError,
)
from benchhost.models import Breaker, Resilient
from benchhost.runner.exits import ExitCode
from benchhost.runner.lock import is_locked
from benchhost.runner.plugins import recorded_params, runner_of
from benchhost.runner.source import Verdict
from benchhost.runner.summary import summarise_run

pytestmark = pytest.mark.anyio

BROKEN = Verdict(status=EvaluationStatus.JUDGE_ERROR, kind="hook-raised", errors=("The hook raised.",))


async def test_a_run_records_a_generation_and_a_verdict_of_every_task(desk):
    outcome = await desk.run()
    assert (outcome.status, outcome.exit_code) == ("complete", ExitCode.COMPLETE)
    attempts = await desk.attempts()
    assert [one.task for one in attempts] == desk.source.ids
    assert {(one.status, one.evaluation_status, one.score) for one in attempts} == {("success", "evaluated", 1.0)}
    record = await desk.store.run("first")
    config = json.loads(record.config)
    assert (record.status, record.model, record.benchmark) == ("complete", "script/model", "doubling")
    assert (config["dataset_version"], config["runner"], config["evaluator_version"]) == ("v1", "default", "1")


async def test_the_model_is_asked_the_benchmarks_prompt_with_the_runs_sampling(desk, script):
    model = script()
    await desk.run(model, sampling=Sampling(temperature=0.5))
    assert model.prompts["t3"] == "Twice 3? The number alone."
    assert set(model.sampled) == {Sampling(temperature=0.5)}


async def test_what_is_generated_names_question_model_and_version(desk):
    await desk.run()
    [attempt] = await desk.store.attempts_at("first", "t2")
    result = msgspec.json.decode(attempt.generation, type=GenerationResult)
    assert result == GenerationResult(
        task_id="t2",
        status=GenerationStatus.SUCCESS,
        data="4",
        question="Twice 2?",
        model="script/model",
        generation_version="0",
    )


async def test_a_resumed_run_leaves_finished_tasks_alone_and_does_the_rest(desk, script):
    await desk.run(script(t1="seeded", t4=ValueError("no")))
    model = script()
    outcome = await desk.run(model)
    assert model.asked == ["t4"]
    assert outcome.status == "complete"
    assert (await desk.finals())["t1", 1] == ("success", "seeded", "evaluated", 0.0)
    assert [one.number for one in await desk.store.attempts_at("first", "t4")] == [1, 2]


async def test_a_complete_run_that_is_resumed_asks_nobody(desk, script):
    await desk.run()
    model, judged = script(), len(desk.source.judged)
    assert (await desk.run(model)).status == "complete"
    assert (model.asked, len(desk.source.judged)) == ([], judged)


async def test_skipping_evaluation_keeps_generations_only_and_is_a_success(desk):
    outcome = await desk.run(options={"evaluate": False})
    assert (outcome.status, outcome.exit_code) == ("generated", ExitCode.COMPLETE)
    assert desk.source.judged == []
    assert {one.evaluation_status for one in await desk.attempts()} == {None}
    assert outcome.summary.unevaluated == 6


async def test_evaluating_only_judges_what_was_generated_and_asks_the_model_nothing(desk, script):
    await desk.run(script(t5=lambda call: asyncio.sleep(9)), options={"evaluate": False}, timeout=0.05)
    model = script()
    outcome = await desk.run(model, options={"generate": False}, timeout=0.05)
    assert model.asked == []
    assert outcome.status == "complete"
    assert sorted(task for task, _ in desk.source.judged) == ["t0", "t1", "t2", "t3", "t4"]
    assert (await desk.finals())["t5", 1] == ("max_time", "", "did_not_complete", None)


async def test_a_task_that_is_named_is_the_only_one_that_is_processed(desk, script):
    model = script()
    outcome = await desk.run(model, options={"only": frozenset({"t2"})})
    assert model.asked == ["t2"]
    assert (outcome.status, outcome.exit_code) == ("incomplete", ExitCode.COMPLETE)
    assert outcome.summary.coverage == pytest.approx(1 / 6)


async def test_a_selection_is_all_that_a_run_asks_for(desk, script):
    model = script()
    outcome = await desk.run(model, tasks=("t1", "t3"), task_count=2)
    assert (model.asked, outcome.status, outcome.summary.given) == (["t1", "t3"], "complete", 2)


async def test_a_judge_that_fails_is_an_error_of_its_own_and_no_zero(desk):
    desk.source.broken["t2"] = BROKEN
    outcome = await desk.run()
    assert (outcome.status, outcome.exit_code) == ("errors", ExitCode.TASK_ERRORS)
    assert outcome.summary.mean == 1.0
    assert outcome.summary.coverage == pytest.approx(5 / 6)
    assert outcome.summary.missing_as_zero == pytest.approx(5 / 6)
    [error] = outcome.summary.errors
    assert (error.status, error.kind, error.count) == ("judge_error", "hook-raised", 1)
    assert error.message == "The hook raised."


async def test_a_failed_judge_is_asked_again_on_resume_about_the_same_response(desk, script):
    desk.source.broken["t2"] = BROKEN
    await desk.run()
    desk.source.broken.clear()
    model = script()
    outcome = await desk.run(model)
    assert (model.asked, outcome.status) == ([], "complete")
    assert desk.source.judged.count(("t2", "4")) == 2


async def test_a_task_that_takes_too_long_is_max_time_with_no_response(desk, script):
    desk.source.tasks["t1"]["timeout"] = 0.01
    outcome = await desk.run(script(t1=lambda call: asyncio.sleep(5)), options={"evaluate": False})
    [attempt] = await desk.store.attempts_at("first", "t1")
    result = msgspec.json.decode(attempt.generation, type=GenerationResult)
    assert (result.status, result.data, result.error) == ("max_time", "", "generation timed out after 0.01 seconds")
    assert outcome.exit_code == ExitCode.COMPLETE


async def test_waiting_for_a_rate_limit_does_not_count_as_the_tasks_time(desk, script):
    async def throttled(call: Any) -> str:
        with call.waiting():
            await asyncio.sleep(0.2)
        return "2"

    await desk.run(script(t1=throttled), timeout=0.1)
    assert (await desk.statuses())["t1"] == "success"


async def test_max_time_and_max_turns_did_not_complete_and_are_not_judged(desk):
    class Turns(Runner[Task]):
        async def generate(self, task: Task, model: Any, context: Context) -> GenerationResult:
            status = GenerationStatus.MAX_TURNS if task.id == "t0" else GenerationStatus.SUCCESS
            return GenerationResult(task_id=task.id, status=status, data="half", total_turns=3)

    outcome = await desk.run(runner=Turns())
    assert (await desk.finals())["t0", 1] == ("max_turns", "half", "did_not_complete", None)
    assert "t0" not in {task for task, _ in desk.source.judged}
    assert outcome.exit_code == ExitCode.COMPLETE


async def test_a_run_that_the_model_gave_up_whole_is_no_success_until_something_is_scored(desk, script):
    late = script(otherwise=lambda call: asyncio.sleep(9))
    outcome = await desk.run(late, timeout=0.01)
    assert (outcome.status, outcome.reason, outcome.summary.failures) == ("errors", "nothing was scored", 0)
    assert outcome.exit_code == ExitCode.TASK_ERRORS
    alone = {"only": frozenset({"t1"}), "retry": frozenset({"max_time"})}
    assert (await desk.run(late, timeout=0.01, options=alone)).exit_code == ExitCode.TASK_ERRORS
    assert (await desk.run(script(), timeout=0.01, options=alone)).exit_code == ExitCode.COMPLETE
    outcome = await desk.run(script(), timeout=0.01)
    assert (outcome.status, outcome.reason, outcome.exit_code) == ("complete", "", ExitCode.COMPLETE)


async def test_an_exception_is_that_tasks_error_with_type_message_causes_and_a_traceback_file(desk, script):
    def fails(call: Any) -> str:
        try:
            return {}["key"]
        except KeyError as error:
            raise ValueError("broken") from error

    outcome = await desk.run(script(t1=fails, t2=TimeoutError()))
    assert (outcome.status, outcome.exit_code) == ("errors", ExitCode.TASK_ERRORS)
    attempts = {one.task: one for one in await desk.attempts()}
    assert attempts["t1"].status == "error"
    assert attempts["t1"].evaluation_status == "generation_error"
    assert attempts["t1"].message == "ValueError: broken ← KeyError: 'key'"
    assert (attempts["t2"].kind, attempts["t2"].message) == ("TimeoutError", "TimeoutError")
    traceback = desk.state / "runs" / "first" / "t1" / "epoch-1" / "attempt-1" / "traceback.txt"
    assert "in fails" in traceback.read_text()
    assert {attempts[task].status for task in ("t0", "t3", "t4", "t5")} == {"success"}


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError()], ids=["exit", "cancelled"])
async def test_what_ends_programs_and_tasks_elsewhere_is_an_error_of_one_task_here(desk, script, error):
    outcome = await desk.run(script(t1=error), options={"concurrency": 1})
    assert (await desk.statuses())["t1"] == "error"
    assert (outcome.summary.attempted, outcome.summary.failures) == (6, 1)


async def test_alike_failures_are_grouped_with_their_number_and_one_example(desk, script):
    outcome = await desk.run(script(t1=ValueError("no"), t2=ValueError("no"), t3=KeyError("x")))
    told = [(error.kind, error.count, error.task_id) for error in outcome.summary.errors]
    assert told == [("ValueError", 2, "t1"), ("KeyError", 1, "t3")]


@pytest.mark.parametrize(
    "error, status, kind, retriable",
    [
        (ModelThrottled("429"), "throttled", "throttled", True),
        (ModelUnavailable("503"), "infra_error", "unavailable", True),
        (ModelAuthFailed("401"), "infra_error", "auth", True),
        (ContextOverflow("too long"), "error", "context_overflow", False),
        (RuntimeError("bug"), "error", "RuntimeError", True),
        (StoreFailed("disk"), "infra_error", "store-failed", True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_whose_failure_it_is_decides_the_status_and_whether_resuming_tries_again(
    desk, script, error, status, kind, retriable
):
    await desk.run(script(t1=error))
    [attempt] = await desk.store.attempts_at("first", "t1")
    assert (attempt.status, attempt.kind, attempt.retriable) == (status, kind, retriable)
    model = script()
    await desk.run(model)
    assert model.asked == (["t1"] if retriable else [])


async def test_what_the_runner_wraps_is_known_for_what_it_is(desk, script):
    class Wrapping(Runner[Task]):
        async def generate(self, task: Task, model: Any, context: Context) -> str:
            try:
                return (await model.complete("?")).text
            except ModelThrottled as error:
                raise RuntimeError("gave up") from error

    await desk.run(script(t1=ModelThrottled("slow down")), runner=Wrapping())
    assert (await desk.statuses())["t1"] == "throttled"


async def test_retrying_takes_chosen_classes_and_statuses_and_keeps_the_history(desk, script):
    await desk.run(script(t1=ContextOverflow("long"), t2=lambda call: asyncio.sleep(5)), timeout=0.05)
    model = script(t1=ContextOverflow("long"))
    await desk.run(model, options={"retry": frozenset({"context_overflow"})}, timeout=0.05)
    assert model.asked == ["t1"]
    model = script()
    outcome = await desk.run(model, options={"retry": frozenset({"max_time", "context_overflow"})}, timeout=0.05)
    assert sorted(model.asked) == ["t1", "t2"]
    assert outcome.status == "complete"
    history = await desk.store.attempts_at("first", "t1")
    assert [(one.number, one.status, one.latest) for one in history] == [
        (1, "error", False),
        (2, "error", False),
        (3, "success", True),
    ]
    assert outcome.summary.attempts == 9
    assert outcome.summary.spend.calls == 9


async def test_retrying_a_class_of_judge_errors_judges_again_without_generating(desk, script):
    desk.source.broken["t2"] = Verdict(status=EvaluationStatus.JUDGE_ERROR, kind="declined", errors=("No.",))
    await desk.run()
    desk.source.broken.clear()
    model = script()
    await desk.run(model, options={"retry": frozenset({"declined"})})
    assert model.asked == []
    assert (await desk.finals())["t2", 1][2:] == ("evaluated", 1.0)


async def test_a_run_is_not_carried_on_with_another_configuration(desk, script):
    await desk.run(script(t1=ValueError("no")))
    before = await desk.attempts()
    model = script()
    with pytest.raises(RunDrifted) as refused:
        await desk.run(model, sampling=Sampling(temperature=1.0), epochs=2)
    assert set(refused.value.differences) == {"sampling", "epochs"}
    assert "epochs was 1, is now 2" in str(refused.value)
    assert (model.asked, await desk.attempts()) == ([], before)


async def test_a_drift_that_is_allowed_is_recorded_by_name_and_value(desk):
    await desk.run()
    outcome = await desk.run(epochs=2, options={"allow_drift": frozenset({"epochs"})})
    assert outcome.summary.given == 12
    events = {event.kind: json.loads(event.data) for event in await desk.store.run_events("first")}
    assert events["drift"] == {"epochs": [1, 2]}
    assert json.loads((await desk.store.run("first")).config)["epochs"] == 2


async def test_a_task_whose_content_changed_is_attempted_again(desk, script):
    await desk.run()
    desk.source.tasks["t3"]["question"] = "Three times two?"
    desk.source.version = "v2"
    with pytest.raises(RunDrifted):
        await desk.run()
    model = script()
    await desk.run(model, options={"allow_drift": frozenset({"dataset_version"})})
    assert model.asked == ["t3"]


async def test_a_task_that_has_gone_from_the_dataset_is_an_error_of_its_own(desk, script):
    await desk.run(options={"only": frozenset({"t0"})}, tasks=("t0", "t1", "t2"), task_count=3)
    del desk.source.tasks["t1"]
    model = script()
    outcome = await desk.run(model, tasks=("t0", "t1", "t2"), task_count=3)
    assert (outcome.status, model.asked) == ("errors", ["t2"])
    assert outcome.summary.errors[0].kind == "unknown-task"


async def test_another_evaluator_judges_every_response_anew(desk, script):
    await desk.run()
    desk.source.judged.clear()
    desk.source.evaluator_version = "2"
    model = script()
    await desk.run(model, options={"allow_drift": frozenset({"evaluator_version"})})
    assert (model.asked, len(desk.source.judged)) == ([], 6)
    assert {one.evaluator_version for one in await desk.attempts()} == {"2"}


async def test_the_second_of_two_that_carry_out_one_run_is_refused(desk, script):
    gate = asyncio.Event()
    session = desk.session(script(t0=lambda call: gate.wait()))
    first = asyncio.create_task(session.execute())
    await desk.until(lambda: session.progress.generating)
    assert is_locked(desk.state, "first")
    with pytest.raises(RunLocked):
        await desk.run()
    gate.set()
    await first
    assert not is_locked(desk.state, "first")


async def test_the_run_of_another_tenant_is_out_of_reach(desk):
    await desk.run()
    other = desk.session()
    other._tenant = "other"
    with pytest.raises(RunRefused):
        await other.execute()


async def test_stopping_lets_finish_what_is_under_way_and_begins_nothing_more(desk, script):
    gate = asyncio.Event()

    async def slow(call: Any) -> str:
        await gate.wait()
        return "0"

    session = desk.session(script(t0=slow), options={"concurrency": 1})
    running = asyncio.create_task(session.execute())
    await desk.until(lambda: session.progress.generating)
    session.stop()
    gate.set()
    outcome = await running
    assert (outcome.status, outcome.reason, outcome.exit_code) == ("incomplete", "stopped by hand", ExitCode.INCOMPLETE)
    assert await desk.finals() == {("t0", 1): ("success", "0", "evaluated", 1.0)}
    assert (await desk.run()).status == "complete"


async def test_stopping_twice_ends_at_once_and_what_was_broken_off_is_owed(desk, script):
    async def slow(call: Any) -> str:
        await asyncio.sleep(60)
        return "0"

    session = desk.session(script(t2=slow), options={"concurrency": 6})
    running = asyncio.create_task(session.execute())
    await desk.until(lambda: session.progress.evaluated == 5)
    session.stop()
    session.stop()
    outcome = await asyncio.wait_for(running, 5)
    assert outcome.status == "incomplete"
    assert len(await desk.attempts()) == 5
    model = script()
    assert (await desk.run(model)).status == "complete"
    assert model.asked == ["t2"]


async def test_what_an_attempt_cost_before_it_was_broken_off_is_kept(desk, script):
    class TwoTurns(Runner[Task]):
        async def generate(self, task: Task, model: Any, context: Context) -> str:
            await model.complete("first")
            await asyncio.sleep(60)
            return "never"

    session = desk.session(runner=TwoTurns())
    running = asyncio.create_task(session.execute())
    await desk.until(lambda: session.progress.generating == 6)
    await asyncio.sleep(0.05)
    session.stop()
    session.stop()
    outcome = await running
    assert outcome.summary.statuses == {"cancelled": 6}
    assert outcome.summary.spend.cost == pytest.approx(6 * 0.02)


async def test_a_cancelled_engine_leaves_a_run_that_can_be_carried_on(desk, script):
    session = desk.session(script(t2=lambda call: asyncio.sleep(60)))
    running = asyncio.create_task(session.execute())
    await desk.until(lambda: session.progress.evaluated == 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await desk.store.run("first")).status == "incomplete"
    assert (await desk.run()).status == "complete"


async def test_the_budget_stops_a_run_before_it_is_overrun(desk, script):
    outcome = await desk.run(options={"max_cost": 0.06, "concurrency": 1})
    assert (outcome.status, outcome.exit_code) == ("incomplete", ExitCode.INCOMPLETE)
    assert outcome.reason == "the budget is spent: $0.0600 of $0.06"
    assert outcome.summary.attempted == 3
    model = script()
    assert (await desk.run(model, options={"max_cost": 0.06})).status == "incomplete"
    assert model.asked == [], "what earlier sessions spent counts"
    assert (await desk.run(options={"max_cost": 1.0})).status == "complete"


async def test_what_is_under_way_counts_as_spent_so_that_calls_at_once_do_not_overrun_the_budget(
    desk, doubling, script
):
    desk.source = doubling(40)
    assert (await desk.run(task_count=40, options={"max_cost": 0.1, "concurrency": 1})).summary.attempted == 5
    model = script()
    outcome = await desk.run(model, task_count=40, options={"max_cost": 0.53, "concurrency": 20})
    assert outcome.reason.endswith("of $0.53, and no other call fits")
    assert len(model.asked) == 21, "26 in all, of 0.02 each"
    assert outcome.summary.spend.cost == pytest.approx(0.52)
    assert (await desk.run(task_count=40, options={"max_cost": 1.0})).status == "complete"


async def test_there_is_a_warning_when_four_fifths_of_the_budget_are_spent(desk):
    session = desk.session(options={"max_tokens_total": 100, "concurrency": 1})
    outcome = await session.execute()
    assert outcome.status == "complete"
    assert session.progress.warnings == ["the budget is nearly spent: 90 of 100 tokens"]


async def test_a_limit_on_the_cost_of_a_model_without_a_price_stops_at_the_first_call(desk, script):
    model = script()
    model.name = "unheard/of"
    outcome = await desk.run(model, options={"max_cost": 10, "concurrency": 1})
    assert outcome.status == "incomplete"
    assert len(model.asked) == 1
    assert "nothing says what unheard/of costs" in outcome.reason


async def test_a_run_whose_every_attempt_fails_alike_is_stopped(desk, doubling, script):
    desk.source = doubling(200)
    outcome = await desk.run(script(otherwise=KeyError("typo")), options={"concurrency": 1})
    assert (outcome.status, outcome.exit_code) == ("incomplete", ExitCode.INCOMPLETE)
    assert outcome.reason == "20 attempts in a row failed alike (KeyError): KeyError: 'typo'"
    assert outcome.summary.attempted == 20


async def test_a_run_that_is_carried_on_gets_past_tasks_that_fail_alike_again(desk, doubling, script):
    desk.source = doubling(50)
    failing = script(**{f"t{number}": KeyError("typo") for number in range(1, 26)})
    assert (await desk.run(failing, options={"concurrency": 1, "only": frozenset(["t0"])})).summary.attempted == 1
    outcome = await desk.run(failing, options={"concurrency": 1})
    assert (outcome.status, outcome.summary.attempted) == ("errors", 50)
    assert (await desk.run(failing, options={"concurrency": 1})).status == "errors", "the failing ones come first now"


async def test_a_model_whose_circuit_is_open_stops_the_run_and_leaves_the_rest_owed(desk, doubling, script):
    desk.source = doubling(50)
    script_model = script(otherwise=ModelAuthFailed("the key is wrong"))
    model = Resilient(script_model, breaker=Breaker(3))
    outcome = await desk.run(model, options={"concurrency": 4})
    assert (outcome.status, outcome.exit_code) == ("incomplete", ExitCode.INCOMPLETE)
    assert "3 calls in a row failed alike (auth): the key is wrong" in outcome.reason
    assert outcome.summary.attempted == len(script_model.asked) < 10
    assert outcome.summary.statuses == {"infra_error": outcome.summary.attempted}
    assert (await desk.run()).status == "complete"


async def test_a_run_whose_judge_is_broken_is_stopped(desk, doubling):
    desk.source = doubling(200)
    desk.source.broken = dict.fromkeys(desk.source.ids, BROKEN)
    outcome = await desk.run(options={"concurrency": 1, "evaluations": 1})
    assert outcome.reason == "20 evaluations in a row failed alike (hook-raised): The hook raised."
    assert outcome.summary.attempted < 30


async def test_evaluating_does_not_keep_the_next_generation_waiting(desk, script):
    desk.source.hold = asyncio.Event()
    model = script()
    running = asyncio.create_task(desk.run(model, options={"concurrency": 1}))
    await desk.until(lambda: len(model.asked) >= 2)
    assert desk.source.judged == []
    desk.source.hold.set()
    assert (await running).status == "complete"


async def test_no_more_attempts_are_under_way_than_were_allowed(desk, doubling, script):
    desk.source = doubling(50)
    model = script()
    await desk.run(model, options={"concurrency": 7})
    assert model.most_at_once == 7


async def test_a_failing_store_is_a_failure_of_the_engine_and_nothing_that_was_kept_is_lost(desk, script, monkeypatch):
    keep, kept = desk.store.keep_attempts, []

    async def full(attempts: Any) -> None:
        if len(kept) == 3:
            raise StoreFailed("the disk is full")
        kept.extend(attempts)
        await keep(attempts)

    monkeypatch.setattr(desk.store, "keep_attempts", full)
    with pytest.raises(StoreFailed, match="the disk is full"):
        await desk.run(options={"concurrency": 1})
    record = await desk.store.run("first")
    assert (record.status, record.reason) == ("failed", "StoreFailed: the disk is full")
    monkeypatch.undo()
    model = script()
    assert (await desk.run(model)).status == "complete"
    assert model.asked == ["t3", "t4", "t5"]


# What the author of a runner can do


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    turns: int = 1
    token: msgspec.UnsetType | str = msgspec.UNSET


class Agent(Runner[Task]):
    version = "7"
    Params = Params

    async def generate(self, task: Task, model: Any, context: Context) -> GenerationResult:
        (context.log_dir / "log.txt").write_text(f"{await context.prompt()} {context.seconds_left:.0f}")
        answers = [(await model.complete(f"turn {turn}")).text for turn in range(self.params.turns)]
        return GenerationResult(task_id=task.id, status="success", data=answers[-1], total_turns=len(answers))


async def test_a_runner_has_typed_parameters_and_a_folder_for_logs(desk, script):
    model = script()
    await desk.run(model, runner=runner_of(Agent, {"turns": "3"}), timeout=100)
    assert len(model.asked) == 18
    [attempt] = await desk.store.attempts_at("first", "t1")
    result = msgspec.json.decode(attempt.generation, type=GenerationResult)
    assert result.total_turns == 3
    assert result.log_dir == str(desk.state / "runs" / "first" / "t1" / "epoch-1" / "attempt-1")
    log = desk.state / "runs" / "first" / "t1" / "epoch-1" / "attempt-1" / "log.txt"
    assert log.read_text() == "Twice 1? The number alone. 100"


async def test_a_parameter_that_the_runner_does_not_declare_is_refused():
    with pytest.raises(UsageError, match="no parameter depth; it has: token, turns"):
        runner_of(Agent, {"depth": "3"})
    with pytest.raises(UsageError, match="turns"):
        runner_of(Agent, {"turns": "many"})


async def test_a_secret_parameter_is_not_recorded():
    class Secretive(msgspec.Struct, frozen=True):
        token: Annotated[str, msgspec.Meta(extra={"secret": True})] = ""
        turns: int = 2

    class Careful(Agent):
        Params = Secretive

    assert recorded_params(runner_of(Careful, {"token": "hush"})) == {"turns": 2}


@pytest.mark.parametrize(
    "kind",
    [
        Annotated[str, msgspec.Meta(extra={"secret": True})] | None,
        Annotated[str | None, msgspec.Meta(extra={"secret": True})],
        list[Annotated[str, msgspec.Meta(extra={"secret": True})]] | None,
    ],
    ids=str,
)
async def test_a_secret_is_one_wherever_its_type_says_so_and_is_in_no_error_and_no_traceback(desk, kind):
    class Leaky(Agent):
        Params = msgspec.defstruct("Leaky", [("token", kind, None)], frozen=True)

        async def generate(self, task: Task, model: Any, context: Context) -> str:
            if task.id == "t1":
                return GenerationResult(task_id="t1", status="error", data="", error=f"GET ?key={self.params.token}")
            raise ConnectionError(f"GET /search?key={self.params.token} failed")

    value = ["hush-hush-hush"] if "list" in str(kind) else "hush-hush-hush"
    runner = runner_of(Leaky, {"token": value})
    assert recorded_params(runner) == {}
    await desk.run(runner=runner)
    said = [attempt.message for attempt in await desk.attempts()]
    said += [path.read_text() for path in desk.state.rglob("traceback.txt")]
    assert len(said) == 11
    assert not any("hush-hush" in text for text in said)
    assert "GET /search?key=" in said[0]


class Judging(Runner[Task]):
    """Answers at once, and asks a model to judge."""

    async def generate(self, task: Task, model: Any, context: Context) -> str:
        return "an answer"

    async def evaluate(self, task: Task, generation: GenerationResult, context: Context) -> Result | None:
        return Result(score=float((await context.judge.complete("good?")).text == "yes"))


async def test_what_an_earlier_verdict_cost_is_still_counted_when_another_takes_its_place(desk, script):
    judge = script(otherwise="yes")
    await desk.run(runner=Judging(), judge=judge)
    again = {"retry": {"evaluated"}}
    for asked in (12, 18):
        outcome = await desk.run(runner=Judging(), judge=judge, options={**again, "generate": False})
        spend = outcome.summary.judge_spend
        assert (len(judge.asked), spend.calls, spend.usage.input_tokens) == (asked, asked, 10 * asked)
        assert spend.cost == pytest.approx(0.02 * asked)
    limited = await desk.run(runner=Judging(), judge=judge, options={"max_tokens_total": 270, **again})
    assert (limited.status, limited.reason) == ("incomplete", "the budget is spent: 270 of 270 tokens")
    assert len(judge.asked) == 18


async def test_a_judge_that_the_budget_forbids_is_no_failure_of_the_host(desk, script):
    judge = script(otherwise="yes")
    outcome = await desk.run(
        runner=Judging(), judge=judge, options={"max_tokens_total": 20, "concurrency": 1, "evaluations": 1}
    )
    assert outcome.status == "incomplete"
    assert set(outcome.summary.evaluations) <= {"evaluated", "cancelled"}
    assert (await desk.run(runner=Judging(), judge=judge)).summary.evaluations == {"evaluated": 6}


async def test_a_runner_can_judge_and_score_by_itself(desk, script):
    class Own(Agent):
        async def evaluate(self, task: Task, generation: GenerationResult, context: Context) -> Result | None:
            if task.id == "t0":
                return None
            verdict = await context.judge.complete("good?")
            return Result(score=float(verdict.text == "yes"))

        async def score(self, results: Any, dataset: str) -> FinalScore:
            return FinalScore(score=sum(one.score for one in results.values()) * 1000)

    judge = script(otherwise="yes")
    judge.name = "script/judge"
    outcome = await desk.run(runner=Own(), judge=judge, timeout=100)
    assert [task for task, _ in desk.source.judged] == ["t0"]
    assert outcome.summary.score == 6000.0
    assert outcome.summary.judge_spend.calls == 5
    assert outcome.summary.spend.calls == 6
    assert outcome.summary.judge_spend.unpriced == 5


async def test_an_exception_of_the_runners_judge_is_an_error_of_that_evaluation(desk):
    class Fragile(Agent):
        async def evaluate(self, task: Task, generation: GenerationResult, context: Context) -> Result | None:
            return Result(score=1.0) if task.id != "t1" else {}["score"]

    outcome = await desk.run(runner=Fragile(), timeout=100)
    assert (await desk.finals())["t1", 1] == ("success", "2", "error", None)
    assert outcome.summary.errors[0].message == "KeyError: 'score'"


async def test_what_a_runner_returns_is_checked(desk):
    class Wrong(Runner[Task]):
        async def generate(self, task: Task, model: Any, context: Context) -> Any:
            return {
                "t0": None,
                "t1": GenerationResult(task_id="t5", status="success", data=""),
                "t2": GenerationResult(task_id="t2", status="fine", data=""),
                "t3": GenerationResult(task_id="t3", status="success", data=3),
                "t4": "half \ud800 a character",
            }.get(task.id, "10")

    await desk.run(runner=Wrong())
    assert list((await desk.statuses()).values()) == ["error"] * 4 + ["success"] * 2
    assert (await desk.finals())["t4", 1][1] == "half ? a character"


async def test_a_task_that_the_runner_cannot_read_is_that_tasks_error(desk):
    class Fields(Task):
        parity: int

    class Reads(Runner[Fields]):
        task_model = Fields

        async def generate(self, task: Fields, model: Any, context: Context) -> str:
            return "unreachable"

    await desk.run(runner=Reads())
    assert {one.kind for one in await desk.attempts()} == {"ValidationError"}


async def test_a_runner_is_opened_once_and_closed_whatever_happens(desk, monkeypatch):
    calls = []

    class Tidy(Agent):
        async def open(self) -> None:
            calls.append("open")

        async def close(self) -> None:
            calls.append("close")

    async def fails(attempts: Any) -> None:
        raise StoreFailed("no")

    monkeypatch.setattr(desk.store, "keep_attempts", fails)
    with pytest.raises(StoreFailed):
        await desk.run(runner=Tidy(), timeout=100)
    assert calls == ["open", "close"]


# Scores and summaries


async def test_epochs_are_attempts_of_their_own_and_their_interval_is_by_task(desk, script):
    def sometimes(call: Any) -> str:
        return "2" if call.epoch == 1 else "wrong"

    outcome = await desk.run(script(t1=sometimes, t2="wrong"), epochs=2)
    summary = outcome.summary
    assert (summary.given, summary.scored, summary.mean) == (12, 12, 0.75)
    # by hand: the deviations of the six tasks sum to 0.5 (four), -0.5 and -1.5
    assert summary.standard_error == pytest.approx((6 / 5 * (4 * 0.25 + 0.25 + 2.25)) ** 0.5 / 12)
    assert summary.interval.method == "student-t"
    assert (summary.interval.low, summary.interval.high) == (pytest.approx(0.311, abs=0.001), 1.0)
    assert summary.pass_at == pytest.approx({"1": 0.75, "2": 5 / 6})


async def test_the_benchmarks_own_score_is_asked_for_with_nothing_left_out(desk, script):
    desk.source.scores = True
    outcome = await desk.run(script(t1=ValueError("no")))
    [given] = desk.source.scored
    assert list(given) == desk.source.ids
    assert given["t1"] is None
    assert outcome.summary.score == pytest.approx(500 / 6)
    assert outcome.summary.mean == 1.0


async def test_a_score_that_cannot_be_made_is_a_failure_of_the_harness_and_the_rest_stands(desk, monkeypatch):
    async def fails(run: str, results: Any) -> FinalScore:
        raise ZeroDivisionError("division by zero")

    desk.source.scores = True
    monkeypatch.setattr(desk.source, "score", fails)
    outcome = await desk.run()
    assert outcome.exit_code == ExitCode.HARNESS_FAILURE
    assert outcome.summary.final_error == "ZeroDivisionError: division by zero"
    assert outcome.summary.mean == 1.0


async def test_results_are_sliced_by_the_public_fields_of_the_tasks(desk, script):
    outcome = await desk.run(script(t1="wrong", t3=ValueError("no")))
    odd = outcome.summary.slices["parity"]["odd"]
    assert (odd.given, odd.scored, odd.score) == (3, 2, 0.5)
    assert outcome.summary.slices["parity"]["even"].score == 1.0


async def test_a_summary_of_the_records_alone_says_the_same(desk, script):
    outcome = await desk.run(script(t1="wrong", t3=ValueError("no")))
    again = await summarise_run(desk.store, await desk.store.run("first"))
    assert msgspec.structs.replace(again, made_at=0) == msgspec.structs.replace(outcome.summary, made_at=0)


async def test_progress_counts_what_happens_and_ends(desk, script):
    await desk.run(script(t1=ValueError("no")))
    session = desk.session(script(t1="wrong"))
    seen = []

    async def watch() -> None:
        seen.extend([msgspec.json.encode(snapshot) async for snapshot in session.progress.watch(0.01)])

    watching = asyncio.create_task(watch())
    await session.execute()
    await asyncio.wait_for(watching, 5)
    last = json.loads(seen[-1])
    assert (last["phase"], last["total"], last["done"], last["earlier"]) == ("ended", 6, 6, 5)
    assert (last["score"], last["statuses"], last["generating"]) == (pytest.approx(5 / 6), {"success": 6}, 0)
    assert last["cost"] == pytest.approx(0.02 * 6)


async def test_the_score_in_the_progress_is_that_of_the_summary(desk, script):
    class Graded(Agent):
        async def evaluate(self, task: Task, generation: GenerationResult, context: Context) -> Result | None:
            return Result(score=int(task.id[1:]) / 7)

    for runner, run in ((Graded(), "graded"), (Agent(), "binary")):
        session = desk.session(script(t1="wrong"), runner=runner, run=run, timeout=100)
        summary = (await session.execute()).summary
        snapshot = session.progress.snapshot()
        assert snapshot.score == pytest.approx(summary.mean)
        assert snapshot.interval.method == summary.interval.method
        assert (snapshot.interval.low, snapshot.interval.high) == pytest.approx(
            (summary.interval.low, summary.interval.high)
        )
