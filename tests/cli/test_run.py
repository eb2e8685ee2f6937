"""`benchhost run`: what is run, what is refused, what is said, and how it ends."""

from __future__ import annotations

import asyncio
import ctypes
import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchhost.cli.preflight import preflight
from benchhost.contract import Completion
from benchhost.errors import ModelUnavailable
from benchhost.runner.config import RunConfig
from benchhost.testing import install_plugin

ARITHMETIC = ("run", "arithmetic", "--limit", "6")


def test_the_reference_answers_score_full_marks(benchhost) -> None:
    said = benchhost("run", "arithmetic", "--model", "scripted/reference")
    assert said.code == 0, said.err
    assert re.search(r"^score +100\.00% \(95% interval 99\.62% to 100\.00%\)", said.out, re.MULTILINE)
    assert re.search(r"^coverage +1,000 of 1,000 scored", said.out, re.MULTILINE)
    assert re.search(r"^kind +addition +100\.00% .* 334/334", said.out, re.MULTILINE), "there is a row for each slice"
    assert "benchhost runs show arithmetic-scripted-reference-" in said.out


def test_a_benchmark_without_its_settings_is_not_run_and_the_error_says_which(benchhost) -> None:
    said = benchhost("run", "gsm8k", "--model", "scripted/reference")
    assert said.code == 1
    [error] = said.err.strip().splitlines()
    assert error.startswith("Error: the benchmark gsm8k cannot be run: its settings are missing or wrong: ")
    assert "[benchmarks.gsm8k]" in error


def test_an_echo_scores_nothing_and_that_is_no_failure(benchhost) -> None:
    said = benchhost(*ARITHMETIC, "--model", "scripted/echo", "--json")
    assert said.code == 0
    assert said.json["status"] == "complete"
    assert (said.json["summary"]["score"], said.json["summary"]["scored"]) == (0.0, 6)


def test_with_json_one_document_is_printed_and_nothing_else(benchhost) -> None:
    said = benchhost(*ARITHMETIC, "--model", "scripted/reference", "--json", "--label", "first try")
    assert said.json["summary"]["label"] == "first try"
    assert said.json["exit_code"] == 0
    assert "6 of 6 done" in said.err, "progress goes to standard error"


def test_on_no_terminal_progress_is_plain_lines(benchhost) -> None:
    said = benchhost(*ARITHMETIC, "--model", "scripted/reference")
    assert "\x1b" not in said.out + said.err
    assert "6 of 6 done · 6 generated, 6 evaluated · score 100.00%" in said.err


@pytest.mark.parametrize(
    "choice, tasks",
    [
        (["multiplication-0002", "addition-0000"], ["addition-0000", "multiplication-0002"]),
        (["addition-0000", "addition-0000"], ["addition-0000"]),
        (["--slice", "0:6:3"], ["addition-0000", "addition-0003"]),
        (["--slice", "1:9", "--limit", "2"], ["subtraction-0001", "multiplication-0002"]),
        (["--ids-file", "ids"], ["multiplication-0002", "addition-0003"]),
    ],
    ids=["ids", "an id twice", "slice", "limit", "ids-file"],
)
def test_only_the_tasks_that_are_chosen_are_run(benchhost, tmp_path, choice, tasks) -> None:
    (tmp_path / "ids").write_text("addition-0003\n\nmultiplication-0002\n")
    benchhost("run", "arithmetic", *choice, "--model", "scripted/reference", "--run-id", "chosen")
    shown = benchhost("runs", "show", "chosen", "--json").json
    assert shown["config"]["tasks"] == tasks
    assert shown["summary"]["scored"] == len(tasks)


def test_a_sample_is_the_same_every_time_and_another_with_another_seed(benchhost) -> None:
    def sampled(run: str, seed: int) -> list[str]:
        benchhost("run", "arithmetic", "--sample", "5", "--seed", seed, "--model", "scripted/echo", "--run-id", run)
        return benchhost("runs", "show", run, "--json").json["config"]["tasks"]

    assert sampled("a", 1) == sampled("b", 1)
    assert sampled("a2", 2) != sampled("c", 1)


@pytest.mark.parametrize(
    "flags",
    [
        ["--dataset", "default", "--dataset-file", "tasks.jsonl"],
        ["--problem", "q.txt", "--dataset", "default", "id"],
        ["--problem", "q.txt", "--dataset-file", "tasks.jsonl", "id"],
        ["--slice", "0:3", "addition-0000"],
        ["--ids-file", "ids", "--slice", "0:3"],
        ["--limit", "3", "--sample", "3"],
    ],
    ids=lambda flags: " ".join(flag for flag in flags if flag.startswith("--")),
)
def test_what_excludes_each_other_is_refused(benchhost, state, flags) -> None:
    said = benchhost("run", "arithmetic", "--model", "scripted/echo", *flags)
    assert said.code == 2
    assert "mutually exclusive" in said.err
    assert not state.exists(), "nothing was begun"


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--problem", "q.txt"], "exactly one TASK_ID"),
        (["--problem", "q.txt", "a", "b"], "exactly one TASK_ID"),
        (["--max-connections", "0"], "neither a number of at least 1 nor auto"),
        (["--epochs", "0"], "0 is not in the range"),
        (["--epochs", str(2**63)], "is not in the range"),
        (["--timeout", "0"], "more than 0 seconds"),
        (["--timeout", "inf"], "more than 0 seconds and finite"),
        (["--top-p", "2"], "between 0 and 1"),
        (["--run-id", "../../x"], "a run's id is"),
        (["-k", "seconds"], "not NAME=VALUE"),
        (["-k", "seconds=3"], "has no parameter seconds"),
        (["--runner", "none-such"], "no runner is named"),
        (["--slice", "0:0"], "no task is chosen"),
        (["--slice", "a"], "invalid literal"),
        (["none-such"], "Task ID not found: none-such"),
        (["--dataset", "none-such"], "dataset"),
        (["--ids-file", "none-such"], "Error: none-such cannot be read: No such file or directory\n"),
        (["--prices", "none-such"], "none-such cannot be read: No such file or directory\n"),
        (["--allow-drift", "colour"], "has no colour that could drift"),
        (["--api-key-variable", "KEY"], "--base-url, which is missing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_told_and_ends_with_2(benchhost, tmp_path, flags, told) -> None:
    (tmp_path / "q.txt").write_text("?")
    said = benchhost("run", "arithmetic", "--model", "scripted/echo", *flags)
    assert said.code == 2, said.err
    assert told in said.err
    assert said.out == ""
    assert benchhost("runs", "list", "--json").json == {"runs": []}


@pytest.mark.parametrize(
    "call, told",
    [
        (("no-such-benchmark", "--model", "scripted/echo"), "no installed plugin is called no-such-benchmark"),
        (("arithmetic", "--model", "gpt"), "provider/name"),
        (("arithmetic", "--model", "nowhere/gpt"), "no provider is named 'nowhere'"),
        (("arithmetic", "--model", "scripted/file:none-such"), "cannot be read"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_before_anything_is_recorded(benchhost, call, told) -> None:
    said = benchhost("run", *call)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert "Traceback" not in said.err


def test_a_model_that_does_not_answer_is_noticed_before_the_first_task(benchhost, monkeypatch, provider, key) -> None:
    monkeypatch.setenv("DOUBLE_BASE_URL", f"{provider}/v1")
    monkeypatch.setenv("DOUBLE_API_KEY", "wrong")
    said = benchhost(*ARITHMETIC, "--model", "double/any")
    assert said.code == 1
    assert said.err.startswith("Error: ")
    assert said.err.endswith("Its key is read from DOUBLE_API_KEY\n")
    at = ("--base-url", f"{provider}/v1")
    assert "No key was sent: for --base-url, --api-key-variable" in benchhost(*ARITHMETIC, "--model", "x/any", *at).err
    named = benchhost(*ARITHMETIC, "--model", "x/any", *at, "--api-key-variable", "DOUBLE_API_KEY").err
    assert named.endswith("Its key is read from DOUBLE_API_KEY\n")
    assert benchhost("runs", "list", "--json").json == {"runs": []}
    monkeypatch.setenv("DOUBLE_API_KEY", key)
    assert benchhost(*ARITHMETIC, "--model", "double/any", "--json").code == 0


def test_a_model_server_that_always_fails_is_named_soon_with_its_words(benchhost, monkeypatch, provider, key) -> None:
    monkeypatch.setenv("DOUBLE_BASE_URL", f"{provider}/v1")
    monkeypatch.setenv("DOUBLE_API_KEY", key)
    began = time.monotonic()
    said = benchhost(*ARITHMETIC, "--model", "double/any?status=503&message=no+GPU+is+left")
    assert time.monotonic() - began < 20
    assert said.code == 1
    assert "double/any?status=503" in said.err
    assert "503" in said.err
    assert "no GPU is left" in said.err
    assert "--no-preflight" in said.err


def test_a_cache_that_fails_is_told_once_in_a_line_and_the_run_goes_on(
    launch, monkeypatch, tmp_path, provider, key
) -> None:
    with sqlite3.connect(tmp_path / "cache.db") as cache:
        cache.execute("CREATE TABLE completions (digest TEXT PRIMARY KEY, completion BLOB) WITHOUT ROWID")
        cache.execute("CREATE TRIGGER f BEFORE INSERT ON completions BEGIN SELECT RAISE(ABORT, 'no room'); END")
    cache.close()
    monkeypatch.setenv("DOUBLE_BASE_URL", f"{provider}/v1")
    monkeypatch.setenv("DOUBLE_API_KEY", key)
    call = launch(*ARITHMETIC, "--model", "double/any", "--cache", "cache.db", "--no-preflight", "--json")
    out, err = call.communicate(timeout=60)
    assert (call.returncode, json.loads(out)["summary"]["scored"]) == (0, 6)
    assert [line for line in err.splitlines() if "cache" in line] == [
        "Warning: completions are no longer cached: no room"
    ]


def test_a_cache_does_not_answer_for_a_model_that_is_gone(benchhost, monkeypatch, provider, key) -> None:
    monkeypatch.setenv("DOUBLE_BASE_URL", f"{provider}/v1")
    monkeypatch.setenv("DOUBLE_API_KEY", key)
    call = (*ARITHMETIC, "--model", "double/any?for=cache", "--cache", "cache.db")
    assert benchhost(*call).code == 0
    monkeypatch.setenv("DOUBLE_API_KEY", "revoked")
    assert benchhost(*call).code == 1
    assert benchhost(*call, "--no-preflight").code == 0


def test_a_model_that_takes_its_time_is_waited_for_and_that_is_said(monkeypatch) -> None:
    monkeypatch.setattr("benchhost.cli.preflight.SILENT", 0.05)

    class Slow:
        name = "slow/model"

        async def complete(self, prompt, sampling=None, call=None) -> Completion:
            await asyncio.sleep(0.2)
            return Completion(text="OK")

    said: list[str] = []
    config = RunConfig(benchmark="b", dataset_version="1", evaluator_version="1", model="slow/model", task_count=1)
    asyncio.run(preflight(Slow(), None, config, said.append))
    assert said == ["Waiting for slow/model to answer a short question, for up to 60 seconds ..."]
    monkeypatch.setattr("benchhost.cli.preflight.PATIENCE", 0.1)
    with pytest.raises(ModelUnavailable, match=r"did not answer a short question within 0\.1 seconds"):
        asyncio.run(preflight(Slow(), None, config, said.append))


def test_a_problem_is_one_task_whose_question_is_the_text_of_a_file(benchhost, tmp_path) -> None:
    (tmp_path / "q.txt").write_text("\n 17 \n")
    said = benchhost(
        "run",
        "arithmetic",
        "addition-0000",
        "--problem",
        "q.txt",
        "--model",
        "scripted/echo",
        "--run-id",
        "one",
        "--json",
    )
    assert said.code == 0, said.err
    assert said.json["summary"]["given"] == 1
    assert benchhost("runs", "show", "one", "--json").json["config"]["source"] == "problem"
    benchhost("runs", "export", "one", "--layout", "jsonl")
    [attempt] = map(json.loads, Path("one.jsonl").read_text().splitlines())
    assert (attempt["task"], attempt["generation"]["question"], attempt["generation"]["data"]) == (
        "addition-0000",
        "17",
        "17",
    )
    assert benchhost("runs", "resume", "one").code == 0, "the file need not be named again"


def test_a_problem_that_nothing_can_judge_is_told_before_the_run_begins(benchhost, tmp_path) -> None:
    (tmp_path / "q.txt").write_text("17")
    said = benchhost("run", "arithmetic", "mistyped", "--problem", "q.txt", "--model", "scripted/echo", "--run-id", "r")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "Error: --problem: the dataset default of arithmetic has no task mistyped, so nothing can judge it\n"
    )
    assert benchhost("runs", "list", "--json").json == {"runs": []}


def test_tasks_from_a_file_are_judged_by_the_benchmark(benchhost, tmp_path, responses) -> None:
    tasks = [{"id": "addition-0000", "question": "my own"}, {"id": "subtraction-0001", "question": "another"}]
    (tmp_path / "tasks.json").write_text(json.dumps({"dataset_name": "default", "tests": tasks}))
    said = benchhost(
        "run", "arithmetic", "--dataset-file", "tasks.json", "--model", "scripted/echo", "--run-id", "own", "--json"
    )
    assert said.code == 0, said.err
    assert (said.json["summary"]["given"], said.json["summary"]["scored"]) == (2, 2)
    assert benchhost("runs", "show", "own", "--json").json["config"]["source"] == "file"


def test_a_file_of_tasks_may_name_the_dataset_that_judges_them(benchhost, slow, tmp_path) -> None:
    tasks = [{"id": "h", "question": "?"}]
    (tmp_path / "tasks.json").write_text(json.dumps({"dataset_name": "hurried", "tests": tasks}))
    said = benchhost(
        "run", "slow", "--dataset-file", "tasks.json", "--model", "scripted/echo", "--run-id", "r", "--json"
    )
    assert (said.code, said.json["summary"]["score"]) == (0, 1.0)
    config = benchhost("runs", "show", "r", "--json").json["config"]
    assert (config["dataset"], config["source"]) == ("hurried", "file")


@pytest.mark.parametrize("text", ["[1, 2", "", '{"tests": 3}'])
def test_a_file_of_tasks_that_is_none_is_a_wrong_call(benchhost, tmp_path, text) -> None:
    (tmp_path / "tasks.json").write_text(text)
    said = benchhost("run", "arithmetic", "--dataset-file", "tasks.json", "--model", "scripted/echo")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"Error: --dataset-file: {tmp_path / 'tasks.json'}")


@pytest.mark.parametrize(
    "command",
    [
        "run arithmetic --model scripted/echo",
        "runs list",
        "runs import x --benchmark arithmetic",
        "keys list",
        "sandbox ls",
        "receipts key",
        "serve",
    ],
)
def test_a_state_folder_that_cannot_be_is_told_in_words(benchhost, tmp_path, command) -> None:
    (tmp_path / "file").touch()
    said = benchhost(*command.split(), "--state", tmp_path / "file")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"Error: the state folder {tmp_path / 'file'} cannot be made: it is a file; choose another with --state\n"
    )


def mortal() -> None:
    """Give up the right of root to open everything, before a program is executed."""
    drop_from_bounding_set, dac_override = 24, 1  # of linux/prctl.h and linux/capability.h
    ctypes.CDLL(None).prctl(drop_from_bounding_set, dac_override, 0, 0, 0)


@pytest.mark.parametrize(
    "command, mode, told",
    [
        (("run", "arithmetic", "--model", "scripted/echo"), 0o500, "cannot be written by this user"),
        (("sandbox", "ls"), 0o500, "cannot be written by this user"),
        (("serve",), 0o500, "cannot be written by this user"),
        (("serve", "--port", "0"), 0o700, "lock may not be opened by this user"),
        (("reload",), 0o700, "lock may not be opened by this user"),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else None,
)
def test_a_state_folder_of_another_user_is_told_in_words(state, command, mode, told) -> None:
    state.mkdir()
    (state / "lock").touch(mode=0)
    state.chmod(mode)
    call = (sys.executable, "-m", "benchhost", *command)
    ended = subprocess.run(call, capture_output=True, text=True, preexec_fn=mortal, timeout=60)
    state.chmod(0o700)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert ended.stderr.startswith("Error: ")
    assert told in ended.stderr
    assert str(state) in ended.stderr


def test_a_run_whose_records_find_no_room_says_how_to_carry_it_on(benchhost, state) -> None:
    call = (sys.executable, "-m", "benchhost", "run", "arithmetic", "--model", "scripted/reference", "--run-id", "r")
    limited = ("sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", *call)
    full = subprocess.run(limited, capture_output=True, text=True)
    assert (full.returncode, full.stdout) == (1, "")
    assert "Error: the store could not keep a record: " in full.stderr
    assert full.stderr.endswith("What is recorded is kept; carry it on with: benchhost runs resume r\n")
    carried_on = benchhost("runs", "resume", "r", "--json")
    assert (carried_on.code, carried_on.json["summary"]["score"]) == (0, 1.0)
    assert carried_on.json["summary"]["scored"] == 1000


def test_epochs_are_attempts_at_each_task(benchhost) -> None:
    summary = benchhost(*ARITHMETIC, "--epochs", "3", "--model", "scripted/reference", "--json").json["summary"]
    assert (summary["given"], summary["scored"], summary["pass_at"]) == (18, 18, {"1": 1.0, "2": 1.0, "3": 1.0})


def test_failures_end_with_3_and_are_told_by_class_with_one_example(benchhost, responses) -> None:
    model = responses({"addition-0000": "1", "subtraction-0001": "2"})
    said = benchhost(*ARITHMETIC, "--model", model, "--run-id", "gaps")
    assert said.code == 3
    assert "benchhost runs retry gaps" in said.out
    assert said.out.count("ModelRequestRefused") == 1
    assert re.search(r"bad_request +error +4 ", said.out)
    errors = benchhost("runs", "errors", "gaps", "--json").json["errors"]
    assert [(error["kind"], error["count"]) for error in errors] == [("bad_request", 4)]
    assert len(errors[0]["tasks"]) == 4
    told = benchhost("runs", "errors", "gaps").out
    assert all(task in told for task in errors[0]["tasks"])


def test_a_runner_that_raises_fails_its_task_with_type_message_and_traceback(benchhost, slow, state) -> None:
    said = benchhost("run", "slow", "t1", "--model", "scripted/echo", "-k", "raises=true", "--run-id", "r", "--json")
    assert said.code == 3
    [error] = said.json["summary"]["errors"]
    assert (error["kind"], error["message"]) == ("ValueError", "ValueError: cannot do this")
    [traceback] = (state / "runs" / "r").rglob("traceback.txt")
    assert 'raise ValueError("cannot do this")' in traceback.read_text()


def test_a_judge_that_fails_is_no_zero_and_can_be_asked_again(benchhost, slow, responses) -> None:
    said = benchhost("run", "slow", "t1", "t2", "--model", responses({"t1": "break the judge", "t2": "2"}),
                     "--run-id", "r", "--json")  # fmt: skip
    assert said.code == 3
    summary = said.json["summary"]
    assert (summary["score"], summary["scored"], summary["given"]) == (1.0, 1, 2)
    assert (summary["missing_as_zero"], summary["missing_left_out"]) == (0.5, 1.0)
    assert summary["evaluations"] == {"evaluated": 1, "judge_error": 1}
    again = benchhost("runs", "eval", "r", "--json")
    assert again.code == 3
    assert again.json["summary"]["attempts"] == 2, "the model was not asked"


HURRIED = ("run", "slow", "--dataset", "hurried", "--model", "scripted/echo", "-k", "seconds=30", "--run-id", "r")


def test_a_task_that_takes_too_long_did_not_complete_which_is_no_error_of_it(benchhost, slow) -> None:
    said = benchhost(*HURRIED, "--json")
    summary = said.json["summary"]
    assert (summary["statuses"], summary["failures"]) == ({"max_time": 1}, 0), said.err
    assert summary["evaluations"] == {"did_not_complete": 1}
    benchhost("runs", "export", "r", "--layout", "jsonl")
    [attempt] = map(json.loads, Path("r.jsonl").read_text().splitlines())
    assert attempt["generation"]["data"] == ""
    assert "timed out after 0.01 seconds" in attempt["generation"]["error"]


def test_a_run_in_which_nothing_was_scored_is_no_success(benchhost, slow) -> None:
    said = benchhost(*HURRIED)
    assert said.code == 3
    assert re.search(r"^status +errors: nothing was scored", said.out, re.MULTILINE)
    assert re.search(r"^coverage +0 of 1 scored *$", said.out, re.MULTILINE)
    assert "Attempt again what was given up: benchhost runs retry r --status max_time" in said.out
    for again in ("resume", "score"):
        assert (benchhost("runs", again, "r").code, len(list(slow.iterdir()))) == (3, 1), "nothing is attempted again"
    shown = benchhost("runs", "show", "r", "--json").json["run"]
    assert (shown["status"], shown["reason"]) == ("errors", "nothing was scored")
    assert benchhost("runs", "retry", "r", "--status", "max_time").code == 3
    assert len(list(slow.iterdir())) == 2
    benchhost("runs", "export", "r")
    assert json.loads(Path("results/r/final_score.json").read_text())["complete"] is False


def test_a_run_in_which_nothing_is_left_to_be_judged_is_no_success_either(benchhost, slow) -> None:
    assert benchhost(*HURRIED, "--skip-eval").code == 3
    assert benchhost("runs", "eval", "r").code == 3


def test_what_was_only_generated_is_judged_later(benchhost) -> None:
    said = benchhost(*ARITHMETIC, "--model", "scripted/reference", "--skip-eval", "--run-id", "later")
    assert said.code == 0
    assert "benchhost runs eval later" in said.out
    shown = benchhost("runs", "show", "later", "--json").json
    assert (shown["run"]["status"], shown["summary"]["scored"], shown["summary"]["attempted"]) == ("generated", 0, 6)
    judged = benchhost("runs", "eval", "later", "--json")
    assert (judged.code, judged.json["status"], judged.json["summary"]["score"]) == (0, "complete", 1.0)


def test_a_budget_that_is_spent_ends_the_run_with_4(benchhost, monkeypatch, provider, key) -> None:
    monkeypatch.setenv("DOUBLE_BASE_URL", f"{provider}/v1")
    monkeypatch.setenv("DOUBLE_API_KEY", key)
    call = ("run", "arithmetic", "--limit", "50", "--model", "double/any", "--max-connections", "2")
    said = benchhost(*call, "--max-tokens-total", "20", "--json", "--run-id", "dear")
    assert said.code == 4
    assert "the budget is spent" in said.json["reason"]
    assert said.json["summary"]["attempted"] < 50
    assert benchhost("runs", "resume", "dear", "--json").code == 4, "the budget belongs to the run"
    assert "benchhost runs resume dear --max-tokens-total N" in benchhost("runs", "resume", "dear").out
    assert benchhost("runs", "resume", "dear", "--max-tokens-total", "1000000", "--json").code == 0


def test_a_limit_on_the_cost_is_refused_before_the_first_task_when_nobody_knows_the_price(
    benchhost, monkeypatch, tmp_path, provider, key
) -> None:
    monkeypatch.setenv("DOUBLE_BASE_URL", f"{provider}/v1")
    monkeypatch.setenv("DOUBLE_API_KEY", key)
    call = ("run", "arithmetic", "--limit", "3", "--model", "double/any", "--max-cost", "5", "--run-id", "priced")
    said = benchhost(*call)
    assert (said.code, said.out) == (2, "")
    assert "nothing says what double/any costs" in said.err
    assert "--prices" in said.err
    assert benchhost("runs", "show", "priced").code == 2, "nothing was recorded"
    (tmp_path / "prices.json").write_text('{"double/*": {"input": 1, "output": 1}}')
    assert benchhost(*call, "--prices", "prices.json").code == 0


@pytest.mark.parametrize(
    "hook, told",
    [
        ("evaluate_response", "The benchmark's hook raised an exception: KeyError: 'the cause'"),
        ("prompt", "HookRaised: KeyError: 'the cause' ← Traceback (most recent call last): "),
    ],
)
def test_what_a_hook_raised_is_the_first_that_is_said_of_it(benchhost, tmp_path, monkeypatch, hook, told) -> None:
    source = f"""
from benchhost import Benchmark, Result, Task


class Plugin(Benchmark[Task]):
    def load_datasets(self):
        return {{"default": [Task(id="a", question="?")]}}

    def evaluate_response(self, task, response):
        return Result(score=0.0)

    def {hook}(self, task, *_):
        raise KeyError("the cause")
"""
    install_plugin(tmp_path, "raising", source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    benchhost("run", "raising", "--model", "scripted/echo", "--run-id", "r")
    [error] = benchhost("runs", "errors", "r", "--json").json["errors"]
    assert error["message"].startswith(told)
