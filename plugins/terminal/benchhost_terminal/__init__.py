"""Ten small jobs at a shell: each is done in a sandbox, and judged by what is left there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import msgspec

from benchhost import Benchmark, Environment, Error, Message, Resources, Response, Result, Submission
from benchhost.contract import Sandbox
from benchhost.sandbox import stream_command
from benchhost_terminal.checks import Check, passes
from benchhost_terminal.jobs import Job, jobs

PLACE = "/work"
"""The directory of a sandbox in which everything of the benchmark is."""

CWD = f"{PLACE}/job"
PROBLEM = f"{PLACE}/problem.md"
TESTS = f"{PLACE}/tests"
SUBMITTED = f"{PLACE}/submitted.sh"

RULES = """

You work at the shell of a sandbox without a network, as a POSIX user with the usual tools (sh, awk, sed, grep, sort,
tar, gzip). You are in the directory {cwd}. Reply with one block of shell script in a fence marked `sh`: it is run
there, and you are told what it wrote. Say DONE, outside of the block, when the job is done.
"""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``image`` is what sandboxes are made of: the host's own tools, or an image that a provider knows."""

    image: str = "host"


class Terminal(Benchmark[Job]):
    """The files of a job are placed when its sandbox is set up; its checks come to it only when it is judged."""

    version = "1.0"
    evaluation_timeout = 120.0
    setup_timeout = 120.0
    accepted_submission_schemas: ClassVar = {"text": {"script"}, "artifact": {"script"}}
    Settings = Settings

    def load_datasets(self) -> Mapping[str, list[Job]]:
        """Read the jobs that come with the package."""
        return {"default": list(jobs())}

    def prompt(self, task: Job) -> str:
        """Describe the job, and how to work on it by saying what is to be run."""
        return task.question + RULES.format(cwd=CWD)

    def retrieve_task(self, task: Job) -> Environment:
        """Every job is done in the same small sandbox."""
        return Environment(
            image=self.settings.image,
            problem_path=PROBLEM,
            cwd=CWD,
            agent_timeout=task.timeout,
            resources=Resources(vcpu=1, memory=1, disk=1),
        )

    async def setup_task(self, task: Job, sandbox: Sandbox) -> AsyncIterator[Message]:
        """Place the problem and its files, and run what prepares them."""
        await sandbox.write(PROBLEM, task.question.encode())
        yield Message(f"placing {len(task.files)} files")
        async for message in stream_command(sandbox, f"mkdir -p {CWD}", cwd="/"):
            yield message
        for name, content in task.files.items():
            await sandbox.write(f"{CWD}/{name}", content.encode())
        if task.setup:
            async for message in stream_command(sandbox, task.setup, cwd=CWD):
                yield message

    async def place_submission(self, task: Job, submission: Submission, sandbox: Sandbox) -> AsyncIterator[Message]:
        """Run a script that was submitted, as its author would have at the shell."""
        await sandbox.write(SUBMITTED, submission.data)
        async for message in stream_command(
            sandbox, f"sh {SUBMITTED}", cwd=CWD, ignore_error=True, timeout=task.timeout
        ):
            yield message

    async def evaluate_instance(self, task: Job, sandbox: Sandbox) -> AsyncIterator[Message | Error | Result]:
        """Place the hidden tests, and see which of the checks pass. What is expected is compared here, outside."""
        await sandbox.run(["rm", "-rf", TESTS])
        for name, content in task.tests.items():
            await sandbox.write(f"{TESTS}/{name}", content.encode(), mode=0o755)
        failed: list[dict[str, Any]] = []
        try:
            for number, check in enumerate(task.checks, 1):
                why = await passes(check, sandbox, cwd=CWD, tests=TESTS)
                if why is not None:
                    failed.append({"check": check.name, "why": why})
                yield Message(f"check {number} of {len(task.checks)}: {'passed' if why is None else 'failed'}")
        finally:
            await sandbox.run(["rm", "-rf", TESTS])  # whoever has the sandbox could read them
        passed = len(task.checks) - len(failed)
        yield Result(
            score=passed / len(task.checks),
            passed=not failed,
            metrics={"checks": len(task.checks), "checks_passed": passed},
            feedback=f"{passed} of {len(task.checks)} checks passed",
            private={"failed": failed},
        )

    def reference_response(self, task: Job) -> Response:
        """Give the script that does the job."""
        return Response(f"```sh\n{task.solution}```\nDONE")


__all__ = ["Check", "Job", "Terminal"]
