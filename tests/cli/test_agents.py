"""`benchhost run --agent`: real agents in real sandboxes."""

from __future__ import annotations

import sys

import pytest

from benchhost.testing import install_plugin

PLACE = "/work"
"""Where sandboxes have room."""

WRITTEN = """
from benchhost import Benchmark, Environment, Result, Task

class Plugin(Benchmark[Task]):
    version = "1"

    def load_datasets(self):
        names = ["plain", "json", "older", "broken", "nothing", "exit", "exit-with-file", "late", "gives-up"]
        return {"default": [Task(id=name, question=f"Say {name}; it's that.") for name in names]}

    def retrieve_task(self, task):
        return Environment(image="host", problem_path="PLACE/the problem.md", cwd="PLACE/here")

    def evaluate_response(self, task, response):
        return Result(score=float(response.text.strip() == f"said {task.id}"))
""".replace("PLACE", PLACE)

AGENT = """
case "$2" in
plain) echo "said plain" > /tmp/out/plain ;;
json) echo '{"data": "said json", "total_turns": 3, "status": "success"}' > /tmp/out/json/generation.json ;;
older) echo '{"answer": "said older"}' > /tmp/out/older/generation.json ;;
broken) echo '{"data": ' > /tmp/out/broken/generation.json ;;
exit) echo "it went wrong" >&2; exit 3 ;;
exit-with-file) echo '{"data": "", "status": "max_turns", "error": "too many turns"}' > /tmp/out/$2/generation.json
    exit 4 ;;
late) echo '{"data": "said la"}' > /tmp/out/late/generation.json; sleep 60 ;;
gives-up) exit 124 ;;
esac
echo "problem: $(cat "$1")"
"""

CONTRACT = """
name: speaker
install_cmd: pwd; ls; mkdir -p /tmp/out/json /tmp/out/older /tmp/out/broken /tmp/out/exit-with-file /tmp/out/late
run_cmd: sh /bundle/speaker/agent.sh {problem_statement_path} {task_id} {model}
final_output: FINAL
timeout: 3
"""


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """Make an agent's folder; what it is of the text-judging benchmark `written`."""
    install_plugin(tmp_path / "plugins", "written", WRITTEN)
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugins"))

    def make(contract=CONTRACT, script=AGENT):
        folder = tmp_path / "agent"
        folder.mkdir(exist_ok=True)
        (folder / "contract.yaml").write_text(contract)
        (folder / "agent.sh").write_text(script)
        return folder

    yield make
    sys.modules.pop("plugin_written", None)


def test_what_an_agent_leaves_at_its_final_output_is_the_response(benchhost, agent, state):
    folder = agent(CONTRACT.replace("FINAL", "/tmp/out"))
    tasks = ("json", "older")
    said = benchhost("run", "written", *tasks, "--agent", folder, "--model", "scripted/echo", "--json")
    assert said.code == 0, said.err
    assert said.json["summary"]["score"] == 1.0


def test_a_final_output_may_be_a_file_of_the_task(benchhost, agent, state):
    folder = agent(CONTRACT.replace("FINAL", "/tmp/out/{task_id}"))
    said = benchhost("run", "written", "plain", "--agent", folder, "--model", "scripted/echo", "--json")
    assert said.json["summary"]["score"] == 1.0, said.err


@pytest.mark.parametrize(
    "task, status, told",
    [
        ("broken", "error", "generation.json cannot be read"),
        ("nothing", "error", "left nothing at its final_output: problem: Say nothing; it's that."),
        ("exit", "error", "failed (exit 3): it went wrong"),
        ("exit-with-file", "max_turns", None),
        ("late", "max_time", None),
        ("gives-up", "max_time", None),
    ],
)
def test_what_went_wrong_with_an_agent_is_said(benchhost, agent, state, task, status, told):
    folder = agent(CONTRACT.replace("FINAL", "/tmp/out"))
    said = benchhost("run", "written", task, "--agent", folder, "--model", "scripted/echo", "--json")
    summary = said.json["summary"]
    assert summary["statuses"] == {status: 1}
    if told is not None:
        assert told in summary["errors"][0]["message"]


def test_what_an_agent_says_is_kept_whatever_came_of_it(benchhost, agent, state):
    folder = agent(CONTRACT.replace("FINAL", "/tmp/out"))
    benchhost("run", "written", "json", "exit", "--agent", folder, "--model", "scripted/echo", "--run-id", "kept")
    logs = state / "runs" / "kept"
    assert "it's that" in (logs / "json/epoch-1/attempt-1/agent.stdout").read_text()
    assert (logs / "exit/epoch-1/attempt-1/agent.stderr").read_text() == "it went wrong\n"
    assert (logs / "json/epoch-1/attempt-1/install.stdout").read_text() == "/bundle/speaker\nagent.sh\n"
    assert '"said json"' in (logs / "json/epoch-1/attempt-1/generation_raw.json").read_text()


def test_an_installation_that_fails_in_silence_is_said_to_have_printed_nothing(benchhost, agent):
    folder = agent("name: a\ninstall_cmd: exit 3\nrun_cmd: cat {problem_statement_path}\nfinal_output: /o")
    said = benchhost("run", "written", "plain", "--agent", folder, "--model", "scripted/echo", "--json")
    [error] = said.json["summary"]["errors"]
    assert error["message"].endswith("install failed (exit 3): it printed nothing")


def test_an_agent_that_cannot_be_installed_is_not_run(benchhost, agent, state):
    folder = agent(
        "name: a\ninstall_cmd: echo no such package; exit 7\nrun_cmd: cat {problem_statement_path}\nfinal_output: /o"
    )
    said = benchhost(
        "run", "written", "plain", "--agent", folder, "--model", "scripted/echo", "--json", "--run-id", "i"
    )
    [error] = said.json["summary"]["errors"]
    assert "install failed (exit 7): no such package" in error["message"]
    assert "1 generated, 0 evaluated" in said.err
    assert not (state / "runs/i/plain/epoch-1/attempt-1/agent.stdout").exists()


def test_an_agent_is_given_its_secrets_and_nothing_else_of_the_environment(benchhost, agent, state, monkeypatch):
    monkeypatch.setenv("MY_KEY", "key-of-mine-12345")
    monkeypatch.setenv("OTHER_KEY", "key-of-another-12345")
    contract = "name: a\nrun_cmd: env; cat {problem_statement_path}\nfinal_output: /o\nsecrets: {MY_KEY: prod/key}"
    benchhost("run", "written", "plain", "--agent", agent(contract), "--model", "scripted/echo", "--run-id", "s")
    env = (state / "runs/s/plain/epoch-1/attempt-1/agent.stdout").read_text()
    assert "MY_KEY=key-of-mine-12345\n" in env
    assert "OTHER_KEY" not in env
    assert "PYTHONSAFEPATH=1" in env
    errors = benchhost("runs", "errors", "s").out
    assert "key-of-mine-12345" not in errors, "what is recorded of the output has no secret in it"


def test_an_agent_asks_the_model_of_the_run_from_a_sandbox_without_a_network(benchhost, agent, state):
    script = """
    body='{"model": "scripted/echo", "messages": [{"role": "user", "content": "said plain"}]}'
    port=${OPENAI_BASE_URL#http://127.0.0.1:}
    exec 3<>/dev/tcp/127.0.0.1/${port%/v1}
    printf 'POST /v1/chat/completions HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n' >&3
    printf 'Content-Length: %s\\r\\n\\r\\n%s' ${#body} "$body" >&3
    cat <&3 | grep -o 'said plain' > /tmp/said
    """
    contract = "name: speaker\nrun_cmd: bash /bundle/speaker/agent.sh {problem_statement_path}\nfinal_output: /tmp/said"
    folder = agent(contract, script)
    said = benchhost(
        "run", "written", "plain", "--agent", folder, "--model", "scripted/echo", "--json", "--run-id", "m"
    )
    assert said.json["summary"]["score"] == 1.0, (state / "runs/m/plain/epoch-1/attempt-1/agent.stderr").read_text()
    assert said.json["summary"]["spend"]["calls"] == 1, "the call is on the account of the attempt"


def test_an_agent_whose_model_is_not_asked_any_more_has_not_failed(benchhost, agent, state, monkeypatch, provider, key):
    monkeypatch.setenv("DOUBLE_BASE_URL", f"{provider}/v1")
    monkeypatch.setenv("DOUBLE_API_KEY", key)
    script = """
    port=${OPENAI_BASE_URL#http://127.0.0.1:}
    body='{"model": "double/any", "messages": [{"role": "user", "content": "said plain"}]}'
    for turn in 1 2; do
        exec 3<>/dev/tcp/127.0.0.1/${port%/v1}
        printf 'POST /v1/chat/completions HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n' >&3
        printf 'Content-Length: %s\\r\\n\\r\\n%s' ${#body} "$body" >&3
        cat <&3
    done
    exit 3
    """
    contract = "name: speaker\nrun_cmd: bash /bundle/speaker/agent.sh {problem_statement_path}\nfinal_output: /tmp/said"
    flags = ("--agent", agent(contract, script), "--model", "double/any", "--max-tokens-total", "1", "--run-id", "b")
    said = benchhost("run", "written", "plain", *flags, "--json")
    assert said.code == 4, said.out
    told = (state / "runs/b/plain/epoch-1/attempt-1/agent.stdout").read_text()
    assert "HTTP/1.1 200" in told
    assert "HTTP/1.1 400" in told
    assert '"code":"budget"' in told
    assert said.json["summary"]["statuses"].get("error", 0) == 0


ASKING = """
port=${OPENAI_BASE_URL#http://127.0.0.1:}
body='{"model": "MODEL", "messages": [{"role": "user", "content": "said plain"}]}'
exec 3<>/dev/tcp/127.0.0.1/${port%/v1}
printf 'POST /v1/chat/completions HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n' >&3
printf 'Content-Length: %s\\r\\n\\r\\n%s' ${#body} "$body" >&3
cat <&3
echo "said plain" > /tmp/said
exit 0
"""


@pytest.mark.parametrize(
    "model, told",
    [
        ("double/any?status=400", "the double was told to answer 400"),
        ("openai/gpt-none", "openai/gpt-none is not asked here"),
        ("scripted/echo", "the model of this run is scripted/echo, not 'another'"),
    ],
)
def test_an_agent_whose_model_never_answered_has_not_tried(
    benchhost, agent, state, monkeypatch, provider, key, model, told
):
    monkeypatch.setenv("DOUBLE_BASE_URL", f"{provider}/v1")
    monkeypatch.setenv("DOUBLE_API_KEY", key)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    script = ASKING.replace("MODEL", "another" if model.startswith("scripted") else model)
    contract = "name: speaker\nrun_cmd: bash /bundle/speaker/agent.sh {problem_statement_path}\nfinal_output: /tmp/said"
    flags = ("--agent", agent(contract, script), "--model", model, "--run-id", "u", "--no-preflight")
    said = benchhost("run", "written", "plain", *flags, "--json")
    assert said.code == 3, said.err
    assert said.json["summary"]["scored"] == 0
    [error] = said.json["summary"]["errors"]
    assert told in error["message"]
    again = benchhost("runs", "resume", "u", "--json", "--no-preflight")
    assert again.json["summary"]["attempts"] == 2
    assert (state / "runs/u/plain/epoch-1/attempt-2/agent.stdout").exists(), "it is owed"


def test_artifacts_are_kept_and_a_required_one_must_be_there(benchhost, agent, state):
    contract = """
name: a
run_cmd: echo said plain > /tmp/o; echo 1 > one.patch; echo 2 > two.patch; cat {problem_statement_path}
final_output: /tmp/o
output_artifacts:
  - {path: patches, source: "PLACE/here/*.patch", required: true}
  - {path: report, source: /nowhere, required: REQUIRED}
"""
    for required, statuses in (("false", {"success": 1}), ("true", {"error": 1})):
        folder = agent(contract.replace("REQUIRED", required).replace("PLACE", PLACE))
        said = benchhost(
            "run", "written", "plain", "--agent", folder, "--model", "scripted/echo", "--json", "--run-id", required
        )
        assert said.json["summary"]["statuses"] == statuses
    kept = state / "runs/false/plain/epoch-1/attempt-1/artifacts/patches"
    assert {path.name: path.read_text() for path in kept.iterdir()} == {"one.patch": "1\n", "two.patch": "2\n"}


def test_a_run_is_not_carried_on_with_an_agent_that_has_changed(benchhost, agent, state):
    flags = ("--model", "scripted/echo", "--run-id", "same")
    folder = agent(CONTRACT.replace("FINAL", "/tmp/out"))
    assert benchhost("run", "written", "json", "--agent", folder, *flags).code == 0
    (folder / "agent.sh").write_text("exit 1")
    said = benchhost("run", "written", "json", "--agent", folder, *flags)
    assert said.code == 5
    assert "runner_version was" in said.err


def test_a_model_that_is_not_known_here_is_the_agent_s_own_business(benchhost, agent, state):
    folder = agent(CONTRACT.replace("FINAL", "/tmp/out"))
    said = benchhost("run", "written", "json", "--agent", folder, "--model", "house/secret-model")
    assert said.code == 0
    assert "The agent must reach house/secret-model by itself" in said.err


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--agent", "AGENT", "--runner", "default"], "--agent and --runner are mutually exclusive"),
        (["--agent", "nowhere"], "nowhere cannot be read"),
        (["--agent", "AGENT", "-k", "x=1"], "has no parameter x"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_made(benchhost, agent, state, flags, told):
    folder = agent(CONTRACT.replace("FINAL", "/tmp/out"))
    given = [str(folder) if flag == "AGENT" else flag for flag in flags]
    said = benchhost("run", "written", "--model", "scripted/echo", *given)
    assert said.code == 2
    assert told in said.err


@pytest.mark.parametrize(
    "benchmark, provider, code, told",
    [
        ("written", "nowhere", 2, "no installed provider of sandboxes is called so; installed are: daytona, local"),
        ("written", "none", 2, "the setting sandbox is none"),
        ("written", "daytona", 1, "daytona needs an API key"),
        ("arithmetic", "local", 2, "arithmetic does not say in which its tasks are attempted"),
    ],
)
def test_sandboxes_that_cannot_be_had_are_told_once_and_before_anything_is_begun(
    benchhost, agent, state, monkeypatch, benchmark, provider, code, told
):
    monkeypatch.setenv("BENCHHOST_SANDBOX", provider)
    monkeypatch.delenv("DAYTONA_API_KEY", raising=False)
    folder = agent(CONTRACT.replace("FINAL", "/tmp/out"))
    said = benchhost("run", benchmark, "--limit", "3", "--agent", folder, "--model", "scripted/echo", "--json")
    assert (said.code, said.out, said.err.count("Error: ")) == (code, "", 1)
    assert told in said.err
    monkeypatch.setenv("BENCHHOST_SANDBOX", "local")
    assert benchhost("runs", "list", "--json").json == {"runs": []}


def test_a_run_is_scored_anew_without_the_sandboxes_that_it_was_attempted_in(benchhost, agent, state, monkeypatch):
    folder = agent(CONTRACT.replace("FINAL", "/tmp/out"))
    benchhost("run", "written", "json", "--agent", folder, "--model", "scripted/echo", "--run-id", "r")
    monkeypatch.setenv("BENCHHOST_SANDBOX", "none")
    assert benchhost("runs", "score", "r").code == 0
    assert benchhost("runs", "resume", "r").code == 2


def test_a_benchmark_that_judges_sandboxes_needs_somebody_who_works_in_them(benchhost, state):
    said = benchhost("run", "terminal", "--runner", "default", "--model", "scripted/reference")
    assert said.code == 2
    assert "terminal judges what is done in a sandbox" in said.err
    said = benchhost("run", "terminal", "--model", "scripted/reference", "--skip-eval")
    assert said.code == 2
    assert "--skip-eval" in said.err


def test_the_reference_scripts_do_all_jobs_of_the_terminal(benchhost, state):
    said = benchhost("run", "terminal", "--model", "scripted/reference", "--json")
    assert said.code == 0, said.err
    assert (said.json["summary"]["score"], said.json["summary"]["scored"]) == (1.0, 10)


def test_an_agent_does_a_job_of_the_terminal(benchhost, agent, state):
    script = "tar -xf parcel.tar; gzip -dc parcel/box.tgz | tar -xf -; tar -xf box/inner.tar\n"
    script += "gzip -dc inner/core.tar.gz | tar -xf -; cp core/token found.txt; grep -c token $1\n"
    contract = "name: speaker\nrun_cmd: sh /bundle/speaker/agent.sh {problem_statement_path}"
    said = benchhost(
        "run", "terminal", "nested-archive", "--agent", agent(contract, script), "--model", "scripted/echo", "--json"
    )
    assert said.json["summary"]["score"] == 1.0, said.err


def test_no_sandbox_is_left_when_a_run_is_over(benchhost, state):
    benchhost("run", "terminal", "count-errors", "--model", "scripted/reference")
    assert list((state / "sandboxes" / "sandboxes").iterdir()) == []
