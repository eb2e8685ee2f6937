"""Start a host, answer every task of its `arithmetic` benchmark, and read the score: what a client does.

Then it has programs graded that nobody should trust, which run in a sandbox. Last, a model does what the client
did, with one command, and a job at the shell of a sandbox: a model that knows the answers, so it needs no key.

    python docs/demo.py start --port 8765
    python docs/demo.py stop

The first half of this file is the client, in the standard library alone. The second half starts and stops
the host, whose state and log are in `.demo/`.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import operator
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

SECONDS_TO_START = 60
SECONDS_TO_STOP = 30

BENCHMARKS = ("arithmetic", "humaneval")
"""Whom the client calls."""

PROBLEM = {
    "task_id": "demo/0",
    "prompt": 'def mean(numbers: list[float]) -> float:\n    """Return the arithmetic mean."""\n',
    "entry_point": "mean",
    "canonical_solution": "    return sum(numbers) / len(numbers)\n",
    "test": "def check(candidate):\n    assert candidate([1, 2]) == 1.5\n    assert candidate([5]) == 5\n",
}
"""A problem of our own, in the form of HumanEval's: the file of the problems is nothing that we may bring along."""

PROGRAMS = {
    "a right program": PROBLEM["canonical_solution"],
    "a wrong one": "    return max(numbers)\n",
    "one that ends before the tests": "    import os\n    os._exit(0)\n",
    "one that reads a file of this machine": "    return open('/etc/passwd').read()\n",
}

PROGRAM = os.path.relpath(Path(sys.executable).with_name("benchhost"))
"""The command line of the environment that this runs in, which need not be on PATH."""

NO_SANDBOX = (
    "No sandbox can be had on this machine, so what needs one is left out. "
    f"`{PROGRAM} doctor` and docs/grading-code.md say what to change."
)


# The client


def call(url: str, body: Any = None) -> Any:
    """GET a URL, or POST a body to it as JSON, and return what the answer says."""
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def solve(question: str) -> str:
    """Answer as a slide rule does: three digits are right, and the rest are zeros."""
    left, sign, right = re.search(r"(\d+) ([-+*]) (\d+)", question).groups()
    exact = {"+": operator.add, "-": operator.sub, "*": operator.mul}[sign](int(left), int(right))
    return f"{float(f'{exact:.3g}'):.0f}"


def grade(host: str, run: str) -> dict[str, Any]:
    """Answer every task of the benchmark, have the answers judged, and return the score of the run."""
    benchmark = f"{host}/b/arithmetic"
    tasks = call(f"{benchmark}/v1/datasets/default/tasks")["tasks"]
    submissions = [{"task_id": task["id"], "response": solve(task["question"])} for task in tasks]
    batch = call(f"{benchmark}/v1/evaluate-batch", {"run_id": run, "submissions": submissions})
    verdicts = {
        evaluation["task_id"]: {name: evaluation[name] for name in ("status", "result", "errors")}
        for evaluation in batch["evaluations"]
    }
    return call(f"{benchmark}/v1/score", {"run_id": run, "evaluation_results": verdicts})


def grade_code(host: str, run: str) -> bool:
    """Have programs graded, each in a sandbox of its own, with the tests outside of it; say whether one can be had."""
    print("\nPrograms, each run in a sandbox that is made for it alone:")
    for what, program in PROGRAMS.items():
        payload = {"type": "text", "schema": "text", "data": program}
        submission = {"run_id": run, "task_id": PROBLEM["task_id"], "payload": payload}
        evaluation = call(f"{host}/b/humaneval/v1/evaluate", submission)
        if evaluation["status"] == "error":
            print(NO_SANDBOX)
            return False
        print(f"  {what}: {evaluation['result']['feedback'] or 'all tests passed'}")
    return True


# The host


def start(folder: Path, port: int) -> int:
    """Start a host unless ours runs already, grade, and leave it running."""
    host = f"http://127.0.0.1:{port}"
    running = running_host(folder)
    if running is None:
        if not is_free(port):
            print(f"Port {port} is taken by another program. Name another: make demo PORT={port + 1}", file=sys.stderr)
            return 1
        launch(folder, port)
    elif running["port"] != port:
        print(f"The demo runs on port {running['port']} already: make demo-stop", file=sys.stderr)
        return 1
    if not wait_until_healthy(folder, host):
        return 1
    run = time.strftime("demo-%Y%m%d-%H%M%S")
    report(host, grade(host, run))
    sandboxes = grade_code(host, run)
    failed = run_model(folder, "arithmetic")
    if sandboxes:
        failed = run_model(folder, "terminal", "count-errors") or failed
    print(f"\nWhere it says benchhost, type {PROGRAM}: it need not be on the PATH.")
    return failed


def run_model(folder: Path, *tasks: str) -> int:
    """Have a model attempt a benchmark, and show the table of the run; the records are the host's."""
    arguments = ["run", *tasks, "--model", "scripted/reference", "--state", str(folder / "state")]
    print(f"\nThe model that knows the answers: {PROGRAM} {' '.join(arguments)}", flush=True)
    return subprocess.run([sys.executable, "-m", "benchhost", *arguments], check=False).returncode


def launch(folder: Path, port: int) -> None:
    """Start a host that outlives this program, with its state and log in the folder.

    The host inherits the lock on `host.json`, so the file is locked exactly as long as the host lives: a process
    id alone might meanwhile be that of another program.
    """
    folder.mkdir(exist_ok=True)
    problems, config = folder.resolve() / "problems.jsonl", folder / "benchhost.toml"
    problems.write_text(json.dumps(PROBLEM) + "\n", "utf-8")
    config.write_text(f"[benchmarks.humaneval]\ndata = {json.dumps(str(problems))}\n", "utf-8")
    command = [sys.executable, "-m", "benchhost", "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--state", str(folder / "state"), "--config", str(config), "--workers", "1"]
    with (folder / "host.json").open("w") as note, (folder / "host.log").open("w") as log:
        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[note.fileno()],
        )
        json.dump({"pid": process.pid, "port": port}, note)


def running_host(folder: Path) -> dict[str, int] | None:
    """Return the process id and port of the host that an earlier call started, or ``None`` when it has ended."""
    try:
        with (folder / "host.json").open("r+") as note:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        host: dict[str, int] = json.loads((folder / "host.json").read_text("utf-8"))
        return host
    except FileNotFoundError:
        pass
    return None


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until_healthy(folder: Path, host: str) -> bool:
    """Wait for the first healthy answers of the benchmarks; show the host's log when there is none."""
    deadline = time.monotonic() + SECONDS_TO_START
    while running_host(folder) and time.monotonic() < deadline:
        try:
            for name in BENCHMARKS:
                call(f"{host}/b/{name}/health")
        except OSError:  # refused while the host starts, 503 while a benchmark loads
            time.sleep(0.1)
        else:
            return True
    print(f"The host does not answer at {host}. Its log:", file=sys.stderr)
    print((folder / "host.log").read_text("utf-8"), file=sys.stderr)
    return False


def report(host: str, score: dict[str, Any]) -> None:
    """Print the score with its interval, and where to look on."""
    interval, graded = score["metadata"]["interval"], len(score["tasks_evaluated"])
    print(f"arithmetic: {score['final_score']:.1%} of {graded} tasks,", end=" ")
    print(f"{interval['level']:.0%} interval {interval['low']:.1%} to {interval['high']:.1%}")
    print(f"The host runs at {host}/ until `make demo-stop`. Look at:")
    print(f"  {host}/v1/plugins")
    print(f"  {host}/b/arithmetic/v1/datasets/default/tasks")


def stop(folder: Path) -> int:
    """Stop the host that :func:`start` left running, and wait until it has ended."""
    host = running_host(folder)
    if host is None:
        print("No demo is running.")
    else:
        os.kill(host["pid"], signal.SIGTERM)
        deadline = time.monotonic() + SECONDS_TO_STOP
        while running_host(folder):
            if time.monotonic() > deadline:
                print(f"The host (process {host['pid']}) did not end in {SECONDS_TO_STOP} s.", file=sys.stderr)
                return 1
            time.sleep(0.05)
        print("The demo is stopped.")
    (folder / "host.json").unlink(missing_ok=True)
    return 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Start a host, have it grade something real, leave it running.")
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where state and log are kept")
    arguments = parser.parse_args()
    if arguments.action == "stop":
        return stop(arguments.folder)
    return start(arguments.folder, arguments.port)


if __name__ == "__main__":
    sys.exit(main())
