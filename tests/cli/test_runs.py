"""`benchhost runs`: recorded runs are looked at, carried on, compared, moved and deleted."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from benchhost.cli.order import order_of
from benchhost.runner.config import RunConfig
from benchhost.store import RunEvent
from benchhost.wire.runs import RunRequest

RUN = ("run", "arithmetic", "--limit", "6", "--run-id")


@pytest.fixture
def solved(benchhost) -> None:
    """A run `solved` in which everything is right, and a run `echoed` in which nothing is."""
    benchhost(*RUN, "solved", "--model", "scripted/reference", "--label", "gold")
    benchhost(*RUN, "echoed", "--model", "scripted/echo")


def test_runs_are_listed_the_newest_first(benchhost, solved) -> None:
    runs = benchhost("runs", "list", "--json").json["runs"]
    assert [(run["id"], run["status"], run["score"], run["label"]) for run in runs] == [
        ("echoed", "complete", 0.0, ""),
        ("solved", "complete", 1.0, "gold"),
    ]
    shown = benchhost("runs", "list", "--limit", "1").out
    assert "echoed" in shown
    assert "solved" not in shown
    assert benchhost("runs", "list", "--limit", 2**63).code == 2
    assert benchhost("runs", "list", "--benchmark", "gsm8k", "--json").json == {"runs": []}
    assert benchhost("runs", "list", "--benchmark", "gsm8k").out.startswith("No run of gsm8k is recorded.")


def test_the_end_of_a_run_names_the_run_that_it_can_be_compared_with(benchhost, solved) -> None:
    said = benchhost(*RUN, "third", "--model", "scripted/echo").out
    assert "Compare it: benchhost runs compare echoed third" in said


def test_no_run_is_named_to_be_compared_with_that_may_have_no_score_in_common(benchhost, slow) -> None:
    call = ("run", "slow", "t1", "t2", "--model", "scripted/echo", "--run-id")
    assert benchhost(*call, "unscored", "-k", "raises=true").code == 3
    assert "benchhost runs show first" in benchhost(*call, "first").out
    assert "benchhost runs compare first second" in benchhost(*call, "second").out


def test_runs_without_a_score_in_common_are_not_compared_and_that_is_told(benchhost, slow) -> None:
    call = ("run", "slow", "t1", "--model", "scripted/echo", "--run-id")
    assert benchhost(*call, "unscored", "-k", "raises=true").code == 3
    assert benchhost(*call, "scored").code == 0
    said = benchhost("runs", "compare", "unscored", "scored")
    assert said.code == 3
    assert re.search(r"^difference +unknown: no task has a score in both", said.out, re.MULTILINE)
    assert said.err == "Nothing is compared: no task has a score in both unscored and scored.\n"
    as_json = benchhost("runs", "compare", "unscored", "scored", "--json")
    assert (as_json.code, as_json.err) == (said.code, said.err)
    assert (as_json.json["comparison"]["tasks"], as_json.json["comparison"]["difference"]) == (0, None)


def test_a_run_is_shown_with_its_configuration_and_what_happened_to_it(benchhost, solved) -> None:
    shown = benchhost("runs", "show", "solved", "--json").json
    assert shown["config"]["model"] == "scripted/reference"
    assert [event["kind"] for event in shown["events"]] == ["began", "order", "ended"]
    assert benchhost("runs", "show", "solved").out.startswith("run ")


def test_a_finished_run_that_is_resumed_asks_for_nothing_again(benchhost, solved) -> None:
    again = benchhost("runs", "resume", "solved", "--json")
    assert (again.code, again.json["summary"]["attempts"]) == (0, 6)


def test_a_run_is_never_carried_on_with_another_configuration(benchhost, solved) -> None:
    before = benchhost("runs", "show", "solved", "--json").out
    said = benchhost(*RUN, "solved", "--model", "scripted/echo", "--temperature", "0.5")
    assert (said.code, said.out) == (5, "")
    assert 'model was "scripted/reference", is now "scripted/echo"' in said.err
    assert "sampling" in said.err
    assert benchhost("runs", "show", "solved", "--json").out == before
    allowed = benchhost(
        *RUN, "solved", "--model", "scripted/echo", "--allow-drift", "model", "--label", "gold", "--json"
    )
    assert allowed.code == 0
    events = benchhost("runs", "show", "solved", "--json").json["events"]
    assert {"model": ["scripted/reference", "scripted/echo"]} in [event["data"] for event in events]


def test_more_tasks_than_a_run_began_with_are_another_configuration(benchhost, solved) -> None:
    call = ("run", "arithmetic", "--run-id", "solved", "--model", "scripted/reference", "--limit", "8")
    assert "tasks was 6 tasks, is now 8 tasks" in benchhost(*call).err
    grown = benchhost(*call, "--allow-drift", "tasks", "--allow-drift", "task_count", "--json")
    assert (grown.code, grown.json["summary"]["scored"]) == (0, 8)


def test_what_failed_is_attempted_again_and_the_newest_attempt_counts(benchhost, responses) -> None:
    model = responses({"addition-0000": "1"})
    assert benchhost(*RUN, "gaps", "--model", model).code == 3
    responses(dict.fromkeys(("addition-0000", "subtraction-0001", "multiplication-0002"), "0"))
    one = benchhost("runs", "retry", "gaps", "subtraction-0001", "--json")
    assert one.json["summary"]["scored"] == 2
    rest = benchhost("runs", "retry", "gaps", "--class", "bad_request", "--json")
    assert (rest.code, rest.json["summary"]["scored"], rest.json["summary"]["attempted"]) == (3, 3, 6)


def test_what_took_too_long_is_attempted_again_when_asked_for(benchhost, slow) -> None:
    call = ("run", "slow", "--dataset", "hurried", "--model", "scripted/echo", "-k", "seconds=30", "--run-id", "r")
    benchhost(*call)
    assert benchhost("runs", "resume", "r", "--json").json["summary"]["attempts"] == 1
    again = benchhost("runs", "retry", "r", "--status", "max_time", "--json")
    assert again.json["summary"]["attempts"] == 2


def test_a_class_that_no_failure_has_is_refused_with_those_that_there_are(benchhost, solved, responses) -> None:
    said = benchhost("runs", "retry", "solved", "--class", "bad_request")
    assert said.code == 2
    assert "has no errors at all" in said.err
    benchhost(*RUN, "gaps", "--model", responses({"addition-0000": "1"}))
    assert "there are: bad_request" in benchhost("runs", "retry", "gaps", "--class", "bad_requests").err


def test_a_status_that_there_is_not_is_refused(benchhost, solved) -> None:
    said = benchhost("runs", "retry", "solved", "--status", "bored")
    assert said.code == 2
    assert "max_time" in said.err


def test_judging_needs_neither_the_model_nor_its_key(benchhost, responses, tmp_path) -> None:
    model = responses(dict.fromkeys(("addition-0000", "subtraction-0001"), "0"))
    benchhost(
        "run", "arithmetic", "addition-0000", "subtraction-0001", "--model", model, "--run-id", "r", "--skip-eval"
    )
    (tmp_path / "responses.jsonl").unlink()
    assert benchhost("runs", "eval", "r", "--json").json["status"] == "complete"
    assert benchhost("runs", "score", "r", "--json").json["summary"]["scored"] == 2
    assert benchhost("runs", "resume", "r").code == 2, "and carrying on does need it"


def test_two_runs_are_compared_task_by_task(benchhost, solved) -> None:
    found = benchhost("runs", "compare", "echoed", "solved", "--json").json
    assert found["comparison"]["difference"] == 1.0
    assert found["comparison"]["p_value"] == 2 / 2**6
    assert len(found["comparison"]["won"]) == 6
    shown = benchhost("runs", "compare", "echoed", "solved").out
    assert "100.00%, second less first (95% interval" in shown
    assert "exact p = 0.0312" in shown


def test_runs_of_two_benchmarks_are_not_compared(benchhost, solved, slow) -> None:
    benchhost("run", "slow", "t1", "--model", "scripted/echo", "--run-id", "other")
    said = benchhost("runs", "compare", "solved", "other")
    assert (said.code, said.out) == (2, "")
    assert "a run of arithmetic" in said.err


@pytest.mark.parametrize("command", ["show", "errors", "resume", "retry", "eval", "score", "export", "rm"])
def test_a_run_that_there_is_not_is_told(benchhost, command) -> None:
    said = benchhost("runs", command, "nothing", *(["--yes"] if command == "rm" else []))
    assert (said.code, said.out) == (2, "")
    assert "no run has the id nothing" in said.err


def test_an_export_is_read_back_as_the_same_run(benchhost, solved, tmp_path) -> None:
    told = benchhost("runs", "export", "solved", "--json").json
    assert told == {"run": "solved", "layout": "vals", "path": "results/solved", "attempts": 6}
    folder = tmp_path / "results" / "solved"
    config = json.loads((folder / "run_config.json").read_text())
    assert config["run_id"] == "solved"
    assert json.loads((folder / "final_score.json").read_text())["complete"] is True
    generation = json.loads((folder / "addition-0000" / "generation.json").read_text())
    assert generation["data"] == generation["answer"]
    (folder / "addition-0003" / "eval.json").write_text('{"task_id": "addi')
    back = benchhost("runs", "import", folder, "--benchmark", "arithmetic", "--run-id", "back", "--json").json
    assert (back["run"], back["attempts"], len(back["quarantined"])) == ("back", 6, 1)
    assert benchhost("runs", "eval", "back", "--json").json["summary"]["score"] == 1.0


def test_an_export_is_not_read_back_as_a_run_of_another_benchmark(benchhost, solved, slow) -> None:
    benchhost("runs", "export", "solved")
    said = benchhost("runs", "import", "results/solved", "--benchmark", "slow", "--run-id", "back")
    assert (said.code, said.out) == (2, "")
    assert said.err == "Error: results/solved is a run of arithmetic, not of slow\n"
    assert benchhost("runs", "show", "back").code == 2


def test_every_attempt_is_a_row_of_a_parquet_file(benchhost, solved, tmp_path) -> None:
    from pyarrow import parquet

    benchhost("runs", "export", "solved", "--layout", "parquet", "--to", tmp_path / "out" / "runs.parquet")
    rows = parquet.read_table(tmp_path / "out" / "runs.parquet").to_pylist()
    assert len(rows) == 6
    assert {row["score"] for row in rows} == {1.0}
    assert {row["task"] for row in rows} >= {"addition-0000"}
    assert json.loads(rows[0]["facets"])["kind"] in ("addition", "subtraction", "multiplication")
    assert all(row["response"].lstrip("-").isdigit() for row in rows)


def test_without_pyarrow_it_is_said_what_to_install(benchhost, solved, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = benchhost("runs", "export", "solved", "--layout", "parquet")
    assert (said.code, said.out) == (2, "")
    assert "pip install 'benchhost[parquet]'" in said.err


def test_what_is_no_file_is_written_through_and_stays_what_it_is(benchhost, solved, tmp_path) -> None:
    benchhost("runs", "export", "solved", "--layout", "jsonl", "--to", "file")
    lines = Path("file").read_bytes()
    Path("link").symlink_to("linked")
    Path("linked").write_text("earlier")
    benchhost("runs", "export", "solved", "--layout", "jsonl", "--to", "link")
    assert (Path("link").is_symlink(), Path("linked").read_bytes()) == (True, lines)
    os.mkfifo("pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as reader:
        told = benchhost("runs", "export", "solved", "--layout", "jsonl", "--to", "pipe")
        assert reader.communicate(timeout=10)[0] == lines
    assert (told.code, Path("pipe").is_fifo()) == (0, True)


def test_a_folder_is_not_exported_below_a_file(benchhost, solved) -> None:
    Path("file").touch()
    said = benchhost("runs", "export", "solved", "--layout", "jsonl", "--to", "file/run.jsonl")
    assert (said.code, said.err) == (2, "Error: file is a file, and is to be a folder\n")


@pytest.mark.parametrize("layout", ["jsonl", "parquet"])
def test_one_file_is_not_exported_in_the_place_of_a_folder(benchhost, solved, tmp_path, layout) -> None:
    said = benchhost("runs", "export", "solved", "--layout", layout, "--to", tmp_path)
    assert (said.code, said.out) == (2, "")
    assert f"{tmp_path} is a folder, and the layout {layout} is one file" in said.err


def test_a_folder_that_is_no_run_is_refused(benchhost, tmp_path) -> None:
    said = benchhost("runs", "import", tmp_path, "--benchmark", "arithmetic")
    assert said.code == 2
    assert said.err.endswith("its run_config.json cannot be read: No such file or directory\n")
    for text, why in (
        ("[", "Error: {} is no folder of a run: its run_config.json is no JSON object: "),
        ('{"tasks": 5}', "Error: the tasks of run_config.json must be a list of ids, not int\n"),
    ):
        (tmp_path / "run_config.json").write_text(text)
        said = benchhost("runs", "import", tmp_path, "--benchmark", "arithmetic")
        assert said.code == 2
        assert said.err.startswith(why.format(tmp_path))


def test_a_cost_that_is_not_known_is_not_shown_as_nothing(benchhost, monkeypatch, provider, key) -> None:
    monkeypatch.setenv("DOUBLE_BASE_URL", f"{provider}/v1")
    monkeypatch.setenv("DOUBLE_API_KEY", key)
    benchhost(*RUN, "unpriced", "--model", "double/any")
    [run] = benchhost("runs", "list", "--json").json["runs"]
    assert (run["cost"], run["unpriced"]) == (0.0, 6)
    listed = benchhost("runs", "list").out
    assert "unknown" in listed
    assert "$" not in listed


def test_a_summary_that_this_benchhost_cannot_read_is_made_anew(benchhost, solved, state) -> None:
    with closing(sqlite3.connect(state / "benchhost.db")) as store, store:
        store.execute("UPDATE run SET summary = '{\"score\": 1.0}' WHERE id = 'solved'")
    assert benchhost("runs", "show", "solved", "--json").json["summary"]["scored"] == 6
    assert len(benchhost("runs", "list", "--json").json["runs"]) == 2


def test_the_list_of_runs_loads_nothing_of_the_host_and_little_else(benchhost, solved) -> None:
    heavy = "benchhost.server benchhost.evaluation benchhost.models benchhost.client litestar structlog aiohttp numpy"
    said, loaded = called("runs", "list")
    assert "solved" in said
    assert set(heavy.split()) & loaded == set()


def test_a_run_loads_nothing_that_only_a_server_needs(state) -> None:
    said, loaded = called("run", "arithmetic", "--model", "scripted/reference", "--limit", "2", "--json")
    assert '"score": 1.0' in said
    assert {"litestar", "granian", "numpy"} & loaded == set()


def called(*command: str) -> tuple[str, set[str]]:
    """Call a command in a process of its own; return what it says, and the modules that it has loaded."""
    code = (
        "import sys, contextlib\n"
        "from benchhost.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):\n"
        "    main(sys.argv[1:])\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stderr, set(done.stdout.split())


def test_a_run_that_a_caller_began_keeps_its_limits_when_the_operator_carries_it_on() -> None:
    config = RunConfig(
        benchmark="b", dataset_version="1", evaluator_version="1", model="m/m", source="runner", task_count=1
    )
    asked = msgspec.json.encode(RunRequest(model="m/m", max_cost=3.0, max_tokens_total=500, max_connections=2))
    order, own = order_of(config, [RunEvent(run="r", at=0.0, kind="requested", data=asked)])
    assert not own
    assert (order.max_cost, order.max_tokens_total, order.max_connections) == (3.0, 500, 2)
    assert order.dataset is None, "or the tasks would not be those of the runner"


def test_what_is_deleted_is_gone(benchhost, slow, state) -> None:
    benchhost("run", "slow", "t1", "--model", "scripted/echo", "-k", "raises=true", "--run-id", "r")
    assert (state / "runs" / "r").exists()
    assert benchhost("runs", "rm", "r", "--yes", "--json").json == {"removed": ["r"]}
    assert not (state / "runs" / "r").exists()
    assert benchhost("runs", "show", "r").code == 2


@pytest.mark.parametrize("typed", ["n\n", ""])
def test_nothing_is_deleted_without_a_yes(benchhost, solved, monkeypatch, typed) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert benchhost("runs", "rm", "solved").code == 1
    assert benchhost("runs", "show", "solved").code == 0


def test_a_run_of_the_published_solutions_reproduces_what_was_published(benchhost, data, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BENCHHOST_BENCHMARKS__GSM8K__DATA", str(data / "gsm8k" / "test.jsonl"))
    files = {}
    for line in (data / "gsm8k" / "model_solutions_6b.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        answer = {"task_id": f"test-{row['index']:04}", "response": row["solution"]}
        files.setdefault(row["model"], []).append(json.dumps(answer))
    for name, lines in files.items():
        Path(name).write_text("\n".join(lines), "utf-8")
    found = {
        name: benchhost("run", "gsm8k", "--model", f"scripted/file:{name}", "--run-id", name, "--json")
        for name in ("6b_finetuning", "6b_verification")
    }
    scores = [said.json["summary"] for said in found.values()]
    assert [(round(100 * score["score"], 2), score["passed"]) for score in scores] == [(21.68, 286), (39.04, 515)]

    compared = benchhost("runs", "compare", *files, "--json").json["comparison"]
    assert compared["tasks"] == 1319
    assert compared["difference"] == pytest.approx((515 - 286) / 1319)
    assert compared["interval"]["low"] < compared["difference"] < compared["interval"]["high"]
    assert len(compared["won"]) - len(compared["lost"]) == 515 - 286
    from scipy.stats import binomtest

    won, lost = len(compared["won"]), len(compared["lost"])
    assert compared["p_value"] == pytest.approx(binomtest(won, won + lost).pvalue)
    shown = benchhost("runs", "compare", *files).out
    assert "21.68%" in shown
    assert "39.04%" in shown
    assert "17.36%, second less first" in shown
