"""Daytona through its real SDK, over real sockets, against a double whose sandboxes are real ones."""

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import sys
import time
import traceback
import uuid

import anyio
import pytest
from daytona_double import KEY, Double, Fault

from benchhost.contract import Exited, Resources, SandboxSpec, Stdout
from benchhost.errors import (
    SandboxBusy,
    SandboxError,
    SandboxFileError,
    SandboxNotFound,
    SandboxRefused,
    SandboxUnavailable,
    SandboxUnsupported,
)
from benchhost.sandbox import stream_command
from benchhost.sandbox.daytona import Access, DaytonaProvider, close_clients, process, script, sdk
from benchhost.sandbox.daytona import clients as clients_module
from benchhost.sandbox.daytona import provider as provider_module
from benchhost.sandbox.daytona import sandbox as sandbox_module
from benchhost.sandbox.local.provider import LocalProvider
from benchhost.testing.sandboxes import ProviderSuite

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def daytona(tmp_path_factory):
    """The double, whose sandboxes are made by the local provider."""
    local = await LocalProvider.open({"folder": str(tmp_path_factory.mktemp("local"))})
    async with Double(local).running() as double:
        yield double
        await close_clients()
    await local.aclose()


@pytest.fixture
def double(daytona, monkeypatch):
    """The double with everything in order, and an adapter that is quick to try again."""
    daytona.faults.clear()
    daytona.seen.clear()
    daytona.creating_polls = 0
    monkeypatch.setattr(clients_module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(process, "LISTEN_WAIT", 0.01)
    monkeypatch.setattr(process, "POLL", 0.2)
    monkeypatch.setattr(process, "GONE_AFTER", 3.0)
    monkeypatch.setattr(provider_module, "POLL", 0.02)
    monkeypatch.setattr(provider_module, "LOOK_WAIT", 0.02)
    return daytona


@pytest.fixture
def config(double):
    return {"api_key": KEY, "api_url": f"{double.url}/api", "target": "eu"}


@pytest.fixture
async def provider(config):
    provider = await DaytonaProvider.open(config)
    yield provider
    await provider.aclose()


@pytest.fixture
async def sandbox(provider, double):
    """A new sandbox. Afterwards no session is left in it."""
    sandbox = await provider.create(SandboxSpec())
    yield sandbox
    machine = double.machines[sandbox.id]
    if machine.state == "started":
        await eventually(lambda: not machine.sessions)
        await provider.delete(sandbox.id)


async def eventually(holds, seconds=20.0):
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come about"
        await asyncio.sleep(0.02)


def machine_of(double, sandbox):
    return double.machines[sandbox.id].sandbox


async def running(double, sandbox, word):
    """Whether anything in the sandbox has this word in its command line."""
    found = await machine_of(double, sandbox).run(["pgrep", "-f", f"{word[0]}[{word[1]}]{word[2:]}"])
    return bool(found.stdout.strip())


class TestDaytona(ProviderSuite):
    @pytest.fixture(scope="module")
    @classmethod
    def anyio_backend(cls):
        """For the whole module, as the double is."""
        return "asyncio"

    @pytest.fixture
    def place(self, config):
        return DaytonaProvider, config


# What was measured of Daytona's sessions, and what becomes of it.


async def test_the_double_has_the_oddities_of_daytona(double, config):
    module = await sdk.load()
    opened = module.AsyncDaytona(module.DaytonaConfig(**config))
    try:
        box = (await opened.create()).process
        await box.create_session("s")
        request = module.SessionExecuteRequest(command="printf 'a\\0b'; printf 'c\\n\\377' >&2", run_async=True)
        ran = await box.execute_session_command("s", request)
        out, err = [], []
        began = time.monotonic()
        await box.get_session_command_logs_async("s", ran.cmd_id, out.append, err.append)
        assert time.monotonic() - began > 0.5  # it closes late
        assert "".join(out) == "ab\n"
        assert "".join(err) == "c\n�\n"
        assert (await box.get_session_command("s", ran.cmd_id)).exit_code == 0
        with pytest.raises(module.DaytonaConflictError):
            await box.create_session("s")
        request = module.SessionExecuteRequest(command="exit 3", run_async=True)
        ran = await box.execute_session_command("s", request)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(box.get_session_command_logs_async("s", ran.cmd_id, print, print), 1.5)
        assert (await box.get_session_command("s", ran.cmd_id)).exit_code is None
        await box.delete_session("s")
        with pytest.raises(module.DaytonaTimeoutError):
            await box.exec("sleep 5", timeout=1)
    finally:
        await opened.close()


async def test_outputs_come_byte_for_byte(sandbox):
    whole = bytes(range(256)) * 700
    await sandbox.write("/tmp/whole", whole)
    done = await sandbox.run("cat /tmp/whole; printf 'no newline' >&2; cat /tmp/whole >&2; printf '\\0' >&2")
    assert done.stdout == whole
    assert done.stderr == b"no newline" + whole + b"\0"
    assert done.exited.reason == "exited"
    assert done.exited.code == 0
    assert done.exited.dropped == 0


async def test_a_program_cannot_forge_the_other_output_nor_its_end(sandbox):
    said = b"\1\1\1out\n\2\2\2err\n:0\nOjA=\n"
    done = await sandbox.run(["printf", "%b", "\\1\\1\\1out\\n\\2\\2\\2err\\n:0\\nOjA=\\n"])
    assert done.stdout == said
    assert done.stderr == b""


@pytest.mark.parametrize(
    "command, code, reason",
    [
        ("exit 3", 3, "exited"),
        ("exec false", 1, "exited"),
        (["false"], 1, "exited"),
        ("kill -TERM $$", -15, "signal"),
        ("kill -9 $$", -9, "signal"),
        ("no-such-program", 127, "exited"),
        ("syntax error ((", 2, "exited"),
        ("exit 200", 200, "exited"),
    ],
)
async def test_a_command_ends_with_its_code(command, code, reason, sandbox):
    exited = (await sandbox.run(command)).exited
    assert (exited.code, exited.reason) == (code, reason)


async def test_what_runs_in_the_background_holds_nothing_up_and_lives_on(sandbox, double):
    began = time.monotonic()
    done = await sandbox.run("sleep 4321 & echo started")
    assert done.stdout == b"started\n"
    assert done.ok
    assert time.monotonic() - began < 30
    await eventually(lambda: not double.machines[sandbox.id].sessions)
    assert await running(double, sandbox, "sleep 4321")
    assert (await sandbox.run("pkill -f 'sleep [4]321'; true")).ok


async def test_input_is_what_was_given_and_then_ends(sandbox):
    assert (await sandbox.run("cat", stdin=b"given\0\xff")).stdout == b"given\0\xff"
    assert (await sandbox.run("cat; echo end")).stdout == b"end\n"


async def test_a_command_has_its_directory_and_its_variables(provider):
    spec = SandboxSpec(env={"COLOUR": "dark red", "TASTE": "sour"}, cwd="/usr")
    sandbox = await provider.create(spec)
    assert (await sandbox.run("pwd; echo $COLOUR $TASTE")).stdout == b"/usr\ndark red sour\n"
    done = await sandbox.run("pwd; echo $COLOUR $TASTE", cwd="lib", env={"TASTE": 'it\'s "sweet"\n$HOME'})
    assert done.stdout == b'/usr/lib\ndark red it\'s "sweet" $HOME\n'
    again = await provider.get(sandbox.id)
    assert (await again.run("pwd", cwd="/")).stdout == b"/\n"
    assert (await again.run("pwd")).stdout == b"/usr\n"
    await provider.delete(sandbox.id)


async def test_a_directory_that_is_not_there_is_told(sandbox):
    done = await sandbox.run("pwd", cwd="/no/such")
    assert done.exited.code == 127
    assert done.stderr == b"the directory to start in is not there\n"


@pytest.mark.parametrize("env", [{"": "x"}, {"a=b": "x"}, {"-i": "x"}, {"a": "x\0y"}])
async def test_a_variable_that_cannot_be_is_refused(env, sandbox):
    with pytest.raises(ValueError, match="cannot"):
        await sandbox.run("true", env=env)


async def test_a_command_may_be_long(sandbox):
    text = "x" * 300_000
    done = await sandbox.run(f"printf %s '{text}' | wc -c; cat", stdin=b"input")
    assert done.stdout == b"300000\ninput"
    assert (await sandbox.run("ls -A /tmp | grep -c benchhost")).stdout == b"1\n"  # its own


async def test_lines_reach_an_author_while_the_command_runs(sandbox):
    heard = []
    lines = stream_command(sandbox, "echo first; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo last", "/tmp")
    async for message in lines:
        heard.append(message.data)
        if heard == ["first"]:
            await sandbox.write("/tmp/go", b"")
    assert heard == ["first", "last"]


# Ends that we make.


async def test_a_command_that_takes_too_long_is_ended_with_all_it_started_and_what_it_said_is_kept(sandbox, double):
    line = "echo partial; (setsid sleep 4322 &); env -i sleep 4322 & nohup setsid sleep 4322"
    done = await sandbox.run(line, timeout=1)
    assert done.stdout == b"partial\n"
    assert done.exited.reason == "timeout"
    assert not done.ok
    assert not await running(double, sandbox, "sleep 4322")
    assert (await sandbox.run("echo after")).stdout == b"after\n"


async def test_a_command_that_says_too_much_is_ended(sandbox, double):
    done = await sandbox.run("yes 4323 | cat", max_output=100_000)
    assert len(done.stdout) == 100_000
    assert done.exited.reason == "output_limit"
    assert done.exited.dropped > 0
    assert not await running(double, sandbox, "yes 4323")


async def test_leaving_ends_the_command(sandbox, double):
    async with sandbox.start("echo begun; exec sleep 4324") as process:
        async for said in process:
            assert said == Stdout(b"begun\n")
            break
        assert await running(double, sandbox, "sleep 4324")
    assert not await running(double, sandbox, "sleep 4324")


async def test_killing_ends_the_command(sandbox):
    async with sandbox.start("echo begun; exec sleep 4325") as process:
        heard = process.__aiter__()
        assert await anext(heard) == Stdout(b"begun\n")
        await process.kill()
        last = await anext(heard)
        assert isinstance(last, Exited)
        assert last.reason == "cancelled"
        await process.kill()  # again is no error


@pytest.mark.parametrize("after", [0.0, 0.004, 0.01, 0.02, 0.04, 0.08])
async def test_cancelling_at_any_moment_leaves_nothing(after, sandbox, double):
    line = f"sleep 43{os.getpid()}{int(after * 1000)}"
    with anyio.move_on_after(after):
        await sandbox.run(line)
    await asyncio.sleep(0.05)
    await eventually(lambda: not double.machines[sandbox.id].sessions)
    for _ in range(100):
        if not await running(double, sandbox, line):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the command runs on")


# What goes wrong on the way.


async def test_a_log_that_never_ends_does_not_matter(sandbox, double):
    double.faults.append(Fault("logs", endless=True))
    double.faults.append(Fault("command", times=99, codeless=True))
    assert (await sandbox.run("echo said; exit 5")).exited.code == 5


@pytest.mark.parametrize("how", [{"close": 1011}, {"close": 1000}, {"cut": 20_000}, {"cut": 0}, {"dropped": True}])
async def test_a_log_that_breaks_off_is_taken_up_again_and_nothing_is_lost_or_doubled(how, sandbox, double):
    double.faults.append(Fault("logs", times=3, **how))
    done = await sandbox.run("seq 1 8000; seq 1 8000 >&2; sleep 0.3; seq 8001 9000; exit 4")
    expected = "".join(f"{n}\n" for n in range(1, 8001)).encode()
    assert done.exited.code == 4
    assert done.stdout == expected + "".join(f"{n}\n" for n in range(8001, 9001)).encode()
    assert done.stderr == expected


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_passes_is_tried_again(status, provider, double):
    sandbox = await provider.create(SandboxSpec())
    for route in ("get", "list", "make_session", "run", "command", "upload", "download", "execute", "end_session"):
        double.faults.append(Fault(route, times=2, status=status, headers={"Retry-After": "0"}))
    assert sandbox.id in [info.id for info in await provider.list()]
    sandbox = await provider.get(sandbox.id)
    await sandbox.write("/tmp/file", b"kept")
    assert await sandbox.read("/tmp/file") == b"kept"
    assert (await sandbox.run("echo said")).stdout == b"said\n"
    await eventually(lambda: not double.machines[sandbox.id].sessions)
    await provider.delete(sandbox.id)


@pytest.mark.parametrize(
    "status, message, kind",
    [
        (400, "bad request", SandboxUnsupported),
        (401, "Invalid credentials", SandboxRefused),
        (403, "Forbidden", SandboxRefused),
        (403, "Total CPU quota exceeded. Maximum allowed: 10.", SandboxBusy),
        (400, "Total memory limit exceeded", SandboxBusy),
        (404, "Sandbox not found", SandboxNotFound),
        (429, "Too Many Requests", SandboxBusy),
        (500, "Internal", SandboxUnavailable),
        (503, "Service Unavailable", SandboxUnavailable),
    ],
)
async def test_what_does_not_pass_is_told_in_our_words(status, message, kind, provider, double):
    double.faults.append(Fault("get", times=99, status=status, message=message, headers={"Retry-After": "0"}))
    with pytest.raises(SandboxError, match=message.split(".")[0]) as failed:
        await provider.get("some-id")
    assert type(failed.value) is kind
    assert double.seen.count("get") == (clients_module.TRIES if status in (429, 500, 503) else 1)


@pytest.mark.parametrize("fault", [{"lost": True}, {"dropped": True}, {"status": 502}, {"status": 429}])
async def test_a_creation_that_is_not_heard_of_makes_one_sandbox(fault, provider, double):
    double.faults.append(Fault("create", headers={"Retry-After": "0"}, **fault))
    sandbox = await provider.create(SandboxSpec(labels={"which": str(fault)}))
    assert [info.id for info in await provider.list({"which": str(fault)})] == [sandbox.id]
    assert (await sandbox.run("echo ready")).ok
    await provider.delete(sandbox.id)


async def test_a_creation_is_given_up_after_some_tries(provider, double):
    double.faults.append(Fault("create", times=99, status=503))
    with pytest.raises(SandboxUnavailable, match="could not make a sandbox"):
        await provider.create(SandboxSpec())
    assert double.seen.count("create") == provider_module.CREATE_TRIES


async def test_a_new_sandbox_is_waited_for(provider, double):
    double.creating_polls = 2
    sandbox = await provider.create(SandboxSpec())
    assert (await sandbox.info()).state == "running"
    await provider.delete(sandbox.id)


async def test_a_sandbox_that_fails_to_come_up_is_removed_and_its_reason_told(provider, double, monkeypatch):
    double.creating_polls = 1
    before = set(double.machines)

    def shown(machine):
        if machine.id not in before and machine.state != "destroyed":
            machine.state, machine.reason = "error", "no such image: nowhere/nothing"
        return Double.shown(double, machine)

    monkeypatch.setattr(double, "shown", shown)
    with pytest.raises(SandboxUnavailable, match="no such image"):
        await provider.create(SandboxSpec(image="nowhere/nothing"))
    (made,) = set(double.machines) - before
    assert double.machines[made].state == "destroyed"


async def test_a_creation_that_nobody_waits_for_leaves_no_sandbox(provider, double):
    double.faults.append(Fault("create", delay=0.3))
    before = set(double.machines)
    with anyio.move_on_after(0.1):
        await provider.create(SandboxSpec())
    await asyncio.sleep(0.4)
    await eventually(lambda: all(double.machines[made].state == "destroyed" for made in set(double.machines) - before))


@pytest.mark.parametrize("fault", [{"lost": True}, {"dropped": True}, {"status": 504}])
@pytest.mark.parametrize("route", ["make_session", "run"])
async def test_a_command_that_is_not_heard_of_runs_once(route, fault, sandbox, double):
    double.faults.append(Fault(route, **fault))
    done = await sandbox.run("echo once >>/tmp/ran-$X; cat /tmp/ran-$X", env={"X": sandbox.id})
    assert done.stdout == b"once\n"


@pytest.mark.parametrize("carrier", ["$p", "$p $(ps -o ppid= $p)"])
async def test_when_what_carries_a_command_is_killed_the_command_ends(carrier, sandbox, double, monkeypatch):
    monkeypatch.setattr(process, "GONE_AFTER", 0.5)
    done = await sandbox.run(
        f"echo partial; p=$(cat /tmp/.benchhost-$BENCHHOST_COMMAND/s); kill -9 {carrier}; sleep 4328"
    )
    assert done.stdout == b"partial\n"
    assert done.exited.code is None
    assert done.exited.reason == "sandbox_gone"
    assert not await running(double, sandbox, "sleep 4328")


async def test_a_command_is_heard_to_its_end_when_the_shell_of_its_session_is_killed(sandbox, double):
    line = "kill -9 $(ps -o ppid= $(cat /tmp/.benchhost-$BENCHHOST_COMMAND/s)); sleep 0.5; echo said; exit 7"
    done = await sandbox.run(line)
    assert (done.stdout, done.exited.code) == (b"said\n", 7)


@pytest.mark.parametrize("fault", [{"status": 403}, {"dropped": True}, {"close": 1011}])
async def test_a_log_that_cannot_be_followed_is_asked_for_whole(fault, sandbox, double, monkeypatch):
    monkeypatch.setattr(process, "LISTEN_TRIES", 2)
    double.faults.append(Fault("logs", times=999, **fault))
    done = await sandbox.run("seq 1 3000; sleep 0.5; seq 3001 3003; echo err >&2; exit 6")
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 3004)).encode()
    assert done.stderr == b"err\n"
    assert done.exited.code == 6


async def test_without_its_log_a_command_cannot_be_known_to_have_done_well(sandbox, double, monkeypatch):
    monkeypatch.setattr(process, "LISTEN_TRIES", 2)
    for route in ("logs", "whole_log"):
        double.faults.append(Fault(route, times=999, status=403))
    with pytest.raises(SandboxRefused, match="could not read what a command says"):
        await sandbox.run("echo said")


async def test_a_sandbox_that_goes_away_ends_its_commands(provider, double):
    sandbox = await provider.create(SandboxSpec())
    async with sandbox.start("echo partial; sleep 4327") as running:
        heard = []
        async for said in running:
            heard.append(said)
            if said == Stdout(b"partial\n"):
                await provider.delete(sandbox.id)
    assert heard[0] == Stdout(b"partial\n")
    assert heard[-1].reason == "sandbox_gone"
    with pytest.raises(SandboxNotFound):
        await sandbox.run("true")
    with pytest.raises(SandboxNotFound):
        await sandbox.info()


async def test_a_session_that_cannot_be_deleted_is_told_in_the_log(sandbox, double, caplog):
    double.faults.append(Fault("end_session", times=clients_module.TRIES, status=500))
    assert (await sandbox.run("true")).ok
    await eventually(lambda: "could not delete a session" in caplog.text)
    double.machines[sandbox.id].sessions.clear()


async def test_an_image_without_what_is_needed_is_told(sandbox, monkeypatch):
    monkeypatch.setattr(script, "_RUN", "no-such-tool-here; exit 1")
    with pytest.raises(SandboxUnavailable, match="no-such-tool-here"):
        await sandbox.run("true")


# Sandboxes, found again.


async def test_the_key_is_not_sent_to_a_sandbox_that_is_elsewhere(provider, double, monkeypatch):
    sandbox = await provider.create(SandboxSpec())
    made = set(double.machines)

    def shown(machine):
        return Double.shown(double, machine) | {"toolboxProxyUrl": "http://169.254.169.254/toolbox"}

    monkeypatch.setattr(double, "shown", shown)
    with pytest.raises(SandboxRefused, match=r"169\.254\.169\.254 for the sandbox, which is not near"):
        await provider.get(sandbox.id)
    with pytest.raises(SandboxRefused, match="not near"):
        await provider.create(SandboxSpec())
    (other,) = set(double.machines) - made
    assert double.machines[other].state == "destroyed"
    assert (await sandbox.info()).state == "running"
    assert (await sandbox.run("echo still there")).ok
    await provider.delete(sandbox.id)


async def test_a_sandbox_is_what_was_asked_for(provider, double):
    spec = SandboxSpec(
        image="debian:12",
        resources=Resources(vcpu=2, memory=4, disk=8),
        env={"A": "b"},
        labels={"run": "1"},
        network="open",
        idle_timeout=90,
        lifetime=None,
    )
    sandbox = await provider.create(spec)
    asked = double.machines[sandbox.id].body
    assert (asked["cpu"], asked["memory"], asked["disk"]) == (2, 4, 8)
    assert asked["buildInfo"]["dockerfileContent"].strip() == "FROM debian:12"
    assert asked["target"] == "eu"
    assert asked["env"] == {"A": "b"}
    assert asked["networkBlockAll"] is False
    assert (asked["autoStopInterval"], asked["autoDeleteInterval"], asked["ttlMinutes"]) == (2, 0, 0)
    info = await sandbox.info()
    assert info.labels == {"run": "1"}
    assert info.provider == "daytona"
    assert abs(info.created_at - time.time()) < 600
    await provider.delete(sandbox.id)
    closed = await provider.create(SandboxSpec())
    assert double.machines[closed.id].body["networkBlockAll"] is True
    await provider.delete(closed.id)


@pytest.mark.parametrize("image", ["host", "dir:/srv/root", "oci:/srv/image.tar"])
async def test_images_of_the_local_provider_are_refused(image, provider):
    with pytest.raises(SandboxUnsupported, match="local provider"):
        await provider.create(SandboxSpec(image=image))


@pytest.mark.parametrize("image", ["", " ", "debian:12\nRUN id", "debian:12 AS x", "--platform=x debian", "$IMAGE"])
async def test_what_is_no_name_of_an_image_gets_into_no_dockerfile(image, provider, double):
    with pytest.raises(SandboxUnsupported, match="cannot be the name of an image"):
        await provider.create(SandboxSpec(image=image))
    assert "create" not in double.seen


async def test_a_snapshot_that_is_not_there_is_told(provider):
    with pytest.raises(SandboxNotFound, match="Snapshot nowhere not found"):
        await provider.create(SandboxSpec(snapshot="nowhere"))


async def test_sandboxes_are_listed_by_label_over_pages_oldest_first(provider, double, monkeypatch):
    monkeypatch.setattr(double, "page", 2)
    made = [await provider.create(SandboxSpec(labels={"list": "me", "n": str(n)})) for n in range(5)]
    assert [info.id for info in await provider.list({"list": "me"})] == [sandbox.id for sandbox in made]
    assert [info.id for info in await provider.list({"list": "me", "n": "3"})] == [made[3].id]
    for sandbox in made:
        await provider.delete(sandbox.id)
    assert await provider.list({"list": "me"}) == []


async def test_a_stopped_sandbox_is_started_again(provider, double):
    sandbox = await provider.create(SandboxSpec())
    machine = double.machines[sandbox.id]
    machine.state = "stopped"
    with pytest.raises(SandboxUnavailable, match="is stopped"):
        await sandbox.read("/tmp/file")
    again = await provider.get(sandbox.id)
    assert (await again.run("echo up")).ok
    await provider.delete(sandbox.id)


@pytest.mark.parametrize("state", ["error", "build_failed"])
async def test_a_failed_sandbox_is_told(state, provider, double):
    sandbox = await provider.create(SandboxSpec())
    double.machines[sandbox.id].state = state
    double.machines[sandbox.id].reason = "the disk is full"
    with pytest.raises(SandboxUnavailable, match="the disk is full"):
        await provider.get(sandbox.id)
    await provider.delete(sandbox.id)


@pytest.mark.parametrize("id", ["", "..", "../x", "a/b", "a b", "x" * 200, "no-such"])
async def test_an_id_that_leads_nowhere_is_not_found(id, provider, double):
    with pytest.raises(SandboxNotFound):
        await provider.get(id)
    await provider.delete(id)


async def test_a_deleted_sandbox_is_not_found(provider):
    sandbox = await provider.create(SandboxSpec())
    await provider.delete(sandbox.id)
    await provider.delete(sandbox.id)
    with pytest.raises(SandboxNotFound):
        await provider.get(sandbox.id)


# Files.


async def test_files_are_written_and_read(sandbox):
    for data in (b"", b"text\n", bytes(range(256)) * 5000):
        await sandbox.write("/tmp/new/deep er/ü.bin", data, 0o750)
        assert await sandbox.read("/tmp/new/deep er/ü.bin") == data
    assert (await sandbox.run("stat -c %a '/tmp/new/deep er/ü.bin'")).stdout == b"750\n"
    await sandbox.write("beside", b"where commands start")
    assert (await sandbox.run("cat beside")).stdout == await sandbox.read("beside")


async def test_a_file_that_is_not_there_or_too_large_is_told(sandbox):
    with pytest.raises(SandboxFileError, match="/no/such"):
        await sandbox.read("/no/such")
    with pytest.raises(SandboxFileError, match="/tmp is not a file"):
        await sandbox.read("/tmp")
    await sandbox.write("/tmp/large", bytes(1001))
    with pytest.raises(SandboxFileError, match="larger than 1000 bytes"):
        await sandbox.read("/tmp/large", 1000)
    assert len(await sandbox.read("/tmp/large", 1001)) == 1001
    with pytest.raises(SandboxFileError, match="/dev/null/x"):
        await sandbox.write("/dev/null/x", b"data")


async def test_a_download_that_breaks_off_is_made_again(sandbox, double):
    await sandbox.write("/tmp/file", bytes(200_000))
    double.faults.append(Fault("download", cut=1))
    assert await sandbox.read("/tmp/file") == bytes(200_000)


async def test_an_upload_that_takes_too_long_is_given_up(sandbox, double, monkeypatch):
    monkeypatch.setattr(sandbox_module, "FILE_TIMEOUT", 0.1)
    double.faults.append(Fault("upload", times=99, delay=1))
    with pytest.raises(SandboxUnavailable, match="did not answer in time"):
        await sandbox.write("/tmp/file", b"data")


async def test_a_tree_goes_in_and_comes_out(sandbox, tmp_path):
    tree = tmp_path / "tree"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "run.sh").write_text("#!/bin/sh\necho run\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "sub" / "ü").write_bytes(b"\0\1")
    (tree / "link").symlink_to("sub/ü")
    (tree / "out").symlink_to("/etc/passwd")
    await sandbox.upload(tree, "/tmp/there")
    assert (await sandbox.run("/tmp/there/run.sh; readlink /tmp/there/out")).stdout == b"run\n/etc/passwd\n"
    await sandbox.run("mkfifo /tmp/there/fifo; ln -s ../.. /tmp/there/sub/up; ln -s up/.. /tmp/there/sub/upper")
    await sandbox.download("/tmp/there", tmp_path / "back")
    found = sorted(str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*"))
    assert found == ["link", "run.sh", "sub", "sub/empty", "sub/ü"]
    assert (tmp_path / "back" / "link").read_bytes() == b"\0\1"
    assert os.access(tmp_path / "back" / "run.sh", os.X_OK)
    with pytest.raises(SandboxFileError, match="already"):
        await sandbox.download("/tmp/there", tmp_path / "back")
    await sandbox.upload(tree / "run.sh", "/tmp/alone")
    assert (await sandbox.run("/tmp/alone")).stdout == b"run\n"
    await sandbox.download("/tmp/alone", tmp_path / "alone")
    assert (tmp_path / "alone").read_text() == "#!/bin/sh\necho run\n"
    await eventually(lambda: True)
    assert (await sandbox.run("ls -A /tmp | grep -c '[.]tar$'")).stdout in (b"0\n", b"1\n")


async def test_a_tree_that_is_too_large_or_not_there_is_told(sandbox, tmp_path):
    await sandbox.run("mkdir /tmp/many && head -c 3000 /dev/zero >/tmp/many/a && cp /tmp/many/a /tmp/many/b")
    with pytest.raises(SandboxFileError, match="larger than 5000 bytes"):
        await sandbox.download("/tmp/many", tmp_path / "many", 5000)
    assert not (tmp_path / "many").exists()
    with pytest.raises(SandboxFileError, match="/tmp/no-such"):
        await sandbox.download("/tmp/no-such", tmp_path / "none")
    with pytest.raises(SandboxFileError, match="cannot be read here"):
        await sandbox.upload(tmp_path / "no-such", "/tmp/x")


# Keys and connections.


@pytest.mark.parametrize("fault", [{"status": 401}, {"status": 500}, {"dropped": True}])
async def test_the_key_is_in_no_error_and_in_no_log(fault, provider, double, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(clients_module, "TRIES", 1)  # the SDK has tries of its own
    sandbox = await provider.create(SandboxSpec())
    said = []
    told = f"the key {KEY} is wrong"
    for route in ("get", "list", "download", "upload", "run", "snapshot", "delete"):
        double.faults[:] = [Fault(route, times=99, message=told, **fault)]
        for call in (
            lambda: provider.get(sandbox.id),
            provider.list,
            lambda: sandbox.read("/etc/passwd"),
            lambda: sandbox.write("/tmp/x", b""),
            lambda: sandbox.run("true"),
            lambda: provider.snapshot(sandbox.id, "name"),
            lambda: provider.delete(sandbox.id),
        ):
            try:
                await call()
            except SandboxError as error:
                said += [str(error), repr(error), repr(error.__cause__), *traceback.format_exception(error)]
            if double.machines[sandbox.id].state == "destroyed":
                break
    double.faults.clear()
    await provider.delete(sandbox.id)
    assert said
    assert KEY not in "".join(said)
    assert KEY not in caplog.text
    assert KEY not in repr(Access(api_key=KEY))


async def test_an_address_that_does_not_answer_is_told(config, double, monkeypatch):
    monkeypatch.setattr(clients_module, "TRIES", 2)
    provider = await DaytonaProvider.open(config | {"api_url": "http://127.0.0.1:9/api"})
    with pytest.raises(SandboxUnavailable, match="could not list sandboxes"):
        await provider.list()
    await provider.aclose()


async def test_nothing_is_read_from_a_file_in_the_working_directory(config, double, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("DAYTONA_API_KEY=other\nDAYTONA_TARGET=other\nDAYTONA_JWT_TOKEN=other\n")
    monkeypatch.chdir(tmp_path)
    provider = await DaytonaProvider.open(config | {"target": "eu2"})
    sandbox = await provider.create(SandboxSpec())
    assert double.machines[sandbox.id].body["target"] == "eu2"
    assert {headers["Authorization"] for headers in double.headers} == {f"Bearer {KEY}"}
    await provider.delete(sandbox.id)
    await provider.aclose()


async def test_one_client_serves_all_who_have_the_same_access_and_is_closed_when_idle(config, double):
    pool = clients_module.clients()
    access = Access.of(config | {"target": "shared"})
    one, other = await pool.lease(access), await pool.lease(access)
    assert one is other
    assert await pool.lease(Access.of(config | {"target": "another"})) is not one
    pool.give_back(one, idle=0.01)
    await asyncio.sleep(0.05)
    assert await pool.lease(access) is one  # somebody still used it
    pool.give_back(one, idle=0.01)
    pool.give_back(one, idle=0.01)
    assert await pool.lease(access) is one  # taken again in time
    pool.give_back(one, idle=0.01)
    await asyncio.sleep(0.1)
    assert await pool.lease(access) is not one


async def test_closing_waits_for_what_is_to_be_tidied_up(config, double):
    provider = await DaytonaProvider.open(config | {"target": "closing"})
    sandbox = await provider.create(SandboxSpec())
    double.faults.append(Fault("end_session", delay=0.2))
    await sandbox.run("true")
    await provider.aclose()
    assert not double.machines[sandbox.id].sessions
    await close_clients()


async def test_many_commands_at_once(sandbox):
    done = await asyncio.gather(*(sandbox.run(f"echo {n}; exit {n}") for n in range(12)))
    assert [(each.stdout, each.exited.code) for each in done] == [(f"{n}\n".encode(), n) for n in range(12)]


def test_a_machine_that_is_slow_to_send_what_was_said_loses_nothing_of_it(tmp_path):
    slow = tmp_path / "dd"
    slow.write_text(f'#!/bin/sh\nsleep 2\nexec {shutil.which("dd")} "$@"\n')
    slow.chmod(0o755)
    line = script.run(uuid.uuid4().hex, "echo out; echo err >&2; exit 3", cwd=None, env={}, stdin=False)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["/bin/sh", "-c", line], env=environ, capture_output=True, text=True, timeout=60, check=True)
    for text, said in ((done.stdout, b"out\n"), (done.stderr, b"err\n")):
        reading = script.Reading()
        assert b"".join(reading.feed(text)) == said
        assert reading.ended == "3"


async def test_without_the_sdk_it_is_told_how_to_get_it(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "daytona", None)
    monkeypatch.setitem(sys.modules, "daytona_sdk", None)
    with pytest.raises(SandboxUnavailable, match=r"pip install 'benchhost\[daytona\]'"):
        await DaytonaProvider.open(config)


def test_importing_the_provider_does_not_import_the_sdk():
    line = "import sys, benchhost.sandbox.daytona; print([m for m in sys.modules if m[:7] in ('daytona', 'aiohttp')])"
    found = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.skipif("DAYTONA_API_KEY" not in os.environ, reason="needs an account: set DAYTONA_API_KEY")
async def test_the_real_daytona():
    given = {name: os.environ.get(f"DAYTONA_{name.upper()}", "") for name in ("api_key", "api_url", "target")}
    provider = await DaytonaProvider.open(given)
    try:
        sandbox = await provider.create(SandboxSpec(labels={"benchhost": "test"}, idle_timeout=300, lifetime=900))
        try:
            done = await sandbox.run("printf 'a\\0b'; echo err >&2; exit 3", timeout=60)
            assert (done.stdout, done.stderr, done.exited.code) == (b"a\0b", b"err\n", 3)
            assert (await sandbox.run("cat", stdin=b"in")).stdout == b"in"
            assert (await sandbox.run("echo partial; sleep 60", timeout=3)).exited.reason == "timeout"
            await sandbox.write("/tmp/dir/file", b"data")
            assert await sandbox.read("/tmp/dir/file") == b"data"
            assert (await (await provider.get(sandbox.id)).info()).state == "running"
        finally:
            await provider.delete(sandbox.id)
    finally:
        await provider.aclose()
        with contextlib.suppress(SandboxError):
            await close_clients()
