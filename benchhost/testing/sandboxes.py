"""What every provider of sandboxes must do: a suite for its author, and for ours.

A test module of a provider has a class of its own that says what is tested::

    class TestMine(ProviderSuite):
        @pytest.fixture
        def place(self, tmp_path):
            return MyProvider, {"folder": str(tmp_path)}

The sandboxes need a shell and the usual small programs (``cat``, ``ls``, ``sleep``, ``seq``). pytest and anyio run it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from benchhost.contract import Exited, Output, Provider, Sandbox, SandboxSpec, Stderr, Stdout
from benchhost.errors import SandboxError, SandboxFileError, SandboxNotFound, SandboxUnsupported

BEATS = "while :; do date +%s%N >> beat; sleep 0.05; done"
"""A command that never ends, and shows that it goes on."""

HERE = "/tmp"
"""Where commands begin. They name files from there: not every sandbox has the same absolute names inside."""

ENDS_SOON = 60.0
"""Seconds within which whatever is ended has ended, however busy the machine is."""

Place = tuple[type[Provider], dict[str, str]]


async def beats(sandbox: Sandbox) -> bool:
    """Say whether :data:`BEATS` still goes on."""
    first = await sandbox.run("wc -c < beat")
    await anyio.sleep(0.3)
    return (await sandbox.run("wc -c < beat")).text != first.text


async def begin_to_beat(sandbox: Sandbox, how: str) -> None:
    """Run a command that has begun to beat when this returns, and is not waited for."""
    assert (await sandbox.run(how)).ok
    await sandbox.run("until [ -s beat ]; do sleep 0.02; done", timeout=ENDS_SOON)


@pytest.mark.anyio
class ProviderSuite:
    """The suite. ``place`` is the provider's class and what it is opened with."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError("a suite says which provider is tested, and with which config")

    @pytest.fixture
    async def provider(self, place: Place) -> AsyncIterator[Provider]:
        kind, config = place
        provider = await kind.open(config)
        yield provider
        for info in await provider.list():
            await provider.delete(info.id)
        await provider.aclose()

    @pytest.fixture
    async def sandbox(self, provider: Provider) -> Sandbox:
        return await provider.create(SandboxSpec(cwd=HERE))

    # --- what is lent to a sandbox

    async def test_what_is_inside_reaches_who_listens_there(self, provider: Provider, sandbox: Sandbox) -> None:
        try:
            listener = await sandbox.listen(4321)
        except SandboxUnsupported:
            return  # it says so, which is all that is asked
        with listener:

            async def serve() -> bytes:
                loop = asyncio.get_running_loop()
                connection, _ = await loop.sock_accept(listener)
                with connection:
                    heard = await loop.sock_recv(connection, 100)
                    await loop.sock_sendall(connection, b"heard you\n")
                return heard

            serving = asyncio.create_task(serve())
            call = "exec 3<>/dev/tcp/127.0.0.1/4321; echo from inside >&3; cat <&3"
            done = await sandbox.run(["bash", "-c", call])
            assert done.text == "heard you\n", done.stderr
            assert await serving == b"from inside\n"

    async def test_only_the_sandbox_itself_reaches_who_listens_there(
        self, provider: Provider, sandbox: Sandbox
    ) -> None:
        neighbour = await provider.create(SandboxSpec())
        try:
            listener = await sandbox.listen(4321)
        except SandboxUnsupported:
            return
        with listener:
            knock = await neighbour.run(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4321"])
            assert not knock.ok

    async def test_a_port_that_is_free_is_found_for_who_names_none(self, sandbox: Sandbox) -> None:
        try:
            listeners = [await sandbox.listen(0), await sandbox.listen(0)]
        except SandboxUnsupported:
            return
        ports = [listener.getsockname()[1] for listener in listeners]
        for listener in listeners:
            listener.close()
        assert len({0, *ports}) == 3

    # --- sandboxes come, are found, and go

    async def test_a_sandbox_is_found_by_its_id(self, provider: Provider, sandbox: Sandbox) -> None:
        found = await provider.get(sandbox.id)
        info = await found.info()
        assert found.id == info.id == sandbox.id
        assert found.provider == info.provider == provider.name
        assert info.state == "running"

    async def test_whoever_opens_the_provider_finds_the_same_sandboxes(self, place: Place, sandbox: Sandbox) -> None:
        await sandbox.write("/tmp/note", b"left here")
        kind, config = place
        other = await kind.open(config)
        try:
            assert await (await other.get(sandbox.id)).read("/tmp/note") == b"left here"
        finally:
            await other.aclose()

    async def test_sandboxes_stay_when_a_provider_is_closed_elsewhere(self, place: Place, sandbox: Sandbox) -> None:
        kind, config = place
        await (await kind.open(config)).aclose()
        assert (await sandbox.run("true")).ok

    @pytest.mark.parametrize("unknown", ["", "no-such-sandbox", "../../etc", "0" * 32, "a\0b"])
    async def test_an_unknown_id_is_told(self, provider: Provider, unknown: str) -> None:
        with pytest.raises(SandboxNotFound):
            await provider.get(unknown)

    async def test_a_deleted_sandbox_is_gone(self, provider: Provider, sandbox: Sandbox) -> None:
        await provider.delete(sandbox.id)
        with pytest.raises(SandboxNotFound):
            await provider.get(sandbox.id)
        with pytest.raises(SandboxError):
            await sandbox.run("true")
        assert sandbox.id not in [info.id for info in await provider.list()]

    async def test_deleting_twice_is_no_error(self, provider: Provider, sandbox: Sandbox) -> None:
        await provider.delete(sandbox.id)
        await provider.delete(sandbox.id)

    async def test_sandboxes_are_listed_by_their_labels_oldest_first(self, provider: Provider) -> None:
        first = await provider.create(SandboxSpec(cwd=HERE, labels={"kind": "a", "n": "1"}))
        await anyio.sleep(0.02)
        second = await provider.create(SandboxSpec(cwd=HERE, labels={"kind": "a", "n": "2"}))
        await provider.create(SandboxSpec(cwd=HERE, labels={"kind": "b"}))
        listed = await provider.list({"kind": "a"})
        assert [info.id for info in listed] == [first.id, second.id]
        assert listed[0].labels.items() >= {"kind": "a", "n": "1"}.items()
        assert [info.id for info in await provider.list({"kind": "a", "n": "2"})] == [second.id]
        assert await provider.list({"kind": "c"}) == []

    async def test_sandboxes_do_not_see_each_other(self, provider: Provider) -> None:
        one, other = await provider.create(SandboxSpec(cwd=HERE)), await provider.create(SandboxSpec(cwd=HERE))
        await one.write("/tmp/mine", b"mine")
        assert not (await other.run("cat mine")).ok
        await begin_to_beat(one, f"({BEATS}) > /dev/null 2>&1 &")
        await other.run("kill -9 -1")
        assert await beats(one)

    async def test_what_a_sandbox_is_made_of_holds_for_its_commands(self, provider: Provider) -> None:
        spec = SandboxSpec(env={"GIVEN": "by the spec", "ALSO": "this"}, cwd="/usr")
        sandbox = await provider.create(spec)
        said = await sandbox.run('echo "$GIVEN, $ALSO"; pwd', env={"ALSO": "that"})
        assert said.text == "by the spec, that\n/usr\n"

    async def test_nothing_of_the_hosts_environment_is_there(
        self, provider: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_OF_THE_HOST", "s3cret-of-the-host")
        sandbox = await provider.create(SandboxSpec(cwd=HERE))
        said = await sandbox.run("env; cat /proc/*/environ 2>/dev/null")
        assert b"s3cret-of-the-host" not in said.stdout

    async def test_what_the_provider_cannot_do_is_told(self, provider: Provider) -> None:
        can = await provider.capabilities()
        assert can.isolation
        if "open" not in can.networks:
            with pytest.raises(SandboxUnsupported, match="network"):
                await provider.create(SandboxSpec(network="open"))

    # --- commands

    async def test_a_command_is_a_line_for_a_shell(self, sandbox: Sandbox) -> None:
        said = await sandbox.run("echo out; echo err >&2; exit 3")
        assert (said.stdout, said.stderr) == (b"out\n", b"err\n")
        assert (said.exited.code, said.exited.reason, said.ok) == (3, "exited", False)
        assert said.exited.seconds > 0

    async def test_a_command_is_a_program_with_arguments(self, sandbox: Sandbox) -> None:
        said = await sandbox.run(["printf", "%s|", "a b", "$HOME", "'\"", "", "é"])
        assert said.text == "a b|$HOME|'\"||é|"

    async def test_a_program_that_is_not_there_is_no_error_of_the_sandbox(self, sandbox: Sandbox) -> None:
        said = await sandbox.run(["no-such-program"])
        assert said.exited.code == 127
        assert b"no-such-program" in said.stdout + said.stderr

    async def test_a_directory_to_begin_in_that_is_not_there_is_told(self, sandbox: Sandbox) -> None:
        said = await sandbox.run("pwd", cwd="/no/such/directory")
        assert not said.ok
        assert said.stdout == b""

    async def test_a_command_begins_where_it_is_told_to(self, sandbox: Sandbox) -> None:
        assert (await sandbox.run("pwd", cwd="/usr/bin")).text == "/usr/bin\n"

    async def test_variables_are_what_was_given(self, sandbox: Sandbox) -> None:
        given = {"PLAIN": "x", "ODD": "a'b\"c $HOME `id`\nnext", "EMPTY": ""}
        said = await sandbox.run('printf "%s|%s|%s" "$PLAIN" "$ODD" "${EMPTY-unset}"', env=given)
        assert said.text == "|".join(given.values())

    @pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
    async def test_the_standard_input_is_read_to_its_end(self, sandbox: Sandbox, size: int) -> None:
        assert int((await sandbox.run("wc -c", stdin=b"x" * size)).text) == size

    async def test_output_of_any_length_comes_whole(self, sandbox: Sandbox) -> None:
        said = await sandbox.run("seq 1 300000")
        assert said.stdout == b"".join(b"%d\n" % number for number in range(1, 300_001))

    async def test_a_long_command_is_run(self, sandbox: Sandbox) -> None:
        assert (await sandbox.run(f"echo {'x' * 100_000} | wc -c")).text.strip() == "100001"

    async def test_what_is_said_is_heard_while_it_is_said(self, sandbox: Sandbox) -> None:
        async with sandbox.start("echo first; while [ ! -e go ]; do sleep 0.02; done; echo second") as process:
            heard: list[Output] = []
            async for said in process:
                heard.append(said)
                if isinstance(said, Stdout) and b"first" in said.data:
                    await sandbox.write("/tmp/go", b"")
        assert b"".join(each.data for each in heard if isinstance(each, (Stdout, Stderr))) == b"first\nsecond\n"
        assert isinstance(heard[-1], Exited)
        assert heard[-1].ok

    async def test_what_has_ended_by_a_signal_says_so(self, sandbox: Sandbox) -> None:
        exited = (await sandbox.run("kill -TERM $$")).exited
        assert not exited.ok
        assert exited.code in (-15, 143)

    async def test_files_stay_from_one_command_to_the_next(self, sandbox: Sandbox) -> None:
        await sandbox.run("echo kept > kept")
        assert (await sandbox.run("cat kept")).text == "kept\n"

    async def test_commands_run_side_by_side(self, sandbox: Sandbox) -> None:
        async def meet(mine: str, others: str) -> bool:
            return (await sandbox.run(f"touch {mine}; until [ -e {others} ]; do sleep 0.02; done")).ok

        assert all(await asyncio.gather(meet("a", "b"), meet("b", "a")))

    async def test_a_hundred_commands_leave_nothing_open(self, sandbox: Sandbox) -> None:
        await sandbox.run("true")
        before = len(os.listdir("/proc/self/fd"))
        for number in range(100):
            assert (await sandbox.run(f"echo {number}")).text == f"{number}\n"
        assert len(os.listdir("/proc/self/fd")) <= before + 2

    # --- what is ended

    async def test_a_command_that_overruns_is_ended_and_what_it_said_is_kept(self, sandbox: Sandbox) -> None:
        began = time.monotonic()
        said = await sandbox.run("echo before; sleep 300", timeout=0.5)
        assert time.monotonic() - began < ENDS_SOON
        assert (said.text, said.exited.reason, said.ok) == ("before\n", "timeout", False)

    async def test_what_an_overrunning_command_has_started_is_ended_with_it(self, sandbox: Sandbox) -> None:
        start = f"({BEATS}) > /dev/null 2>&1 & until [ -s beat ]; do sleep 0.02; done; sleep 300"
        said = await sandbox.run(start, timeout=3)
        assert said.exited.reason == "timeout"
        assert not await beats(sandbox)

    async def test_a_flood_of_output_is_stopped(self, sandbox: Sandbox) -> None:
        said = await sandbox.run("yes", max_output=100_000)
        assert said.exited.reason == "output_limit"
        assert len(said.stdout) + len(said.stderr) == 100_000

    async def test_output_up_to_the_limit_is_no_flood(self, sandbox: Sandbox) -> None:
        said = await sandbox.run("printf 1234567890", max_output=10)
        assert (said.text, said.exited.reason, said.exited.dropped) == ("1234567890", "exited", 0)

    async def test_a_command_can_be_ended(self, sandbox: Sandbox) -> None:
        last = None
        async with sandbox.start("echo begun; sleep 300") as process:
            async for last in process:
                if isinstance(last, Stdout):
                    await process.kill()
        assert isinstance(last, Exited)
        assert last.reason == "cancelled"

    async def test_leaving_a_command_ends_it(self, sandbox: Sandbox) -> None:
        async with sandbox.start(BEATS):
            await sandbox.run("until [ -s beat ]; do sleep 0.02; done", timeout=ENDS_SOON)
        assert not await beats(sandbox)

    async def test_cancelling_whoever_waits_for_a_command_ends_it(self, sandbox: Sandbox) -> None:
        waiting = asyncio.create_task(sandbox.run(BEATS))
        await sandbox.run("until [ -s beat ]; do sleep 0.02; done", timeout=ENDS_SOON)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not await beats(sandbox)

    async def test_whoever_is_cancelled_in_a_hurry_ends_no_other_command(self, sandbox: Sandbox) -> None:
        await begin_to_beat(sandbox, f"({BEATS}) > /dev/null 2>&1 &")
        waiting = asyncio.create_task(sandbox.run("touch begun; sleep 300"))
        await sandbox.run("until [ -e begun ]; do sleep 0.02; done", timeout=ENDS_SOON)
        waiting.cancel()
        await asyncio.sleep(0)
        waiting.cancel()  # so that there is no time to hear how it ends
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await beats(sandbox)

    async def test_what_a_command_has_left_in_the_background_goes_on(self, sandbox: Sandbox) -> None:
        await begin_to_beat(sandbox, f"({BEATS}) > /dev/null 2>&1 &")
        assert await beats(sandbox)

    async def test_what_is_left_in_the_background_does_not_hold_up_the_command(self, sandbox: Sandbox) -> None:
        began = time.monotonic()
        said = await sandbox.run("echo now; sleep 300 &")
        assert time.monotonic() - began < ENDS_SOON
        assert (said.text, said.ok) == ("now\n", True)

    async def test_deleting_a_sandbox_ends_its_commands(self, provider: Provider, sandbox: Sandbox) -> None:
        async with sandbox.start("echo begun; sleep 300") as process:
            async for said in process:
                if isinstance(said, Stdout):
                    await provider.delete(sandbox.id)
                elif isinstance(said, Exited):
                    assert not said.ok
                    assert said.reason == "sandbox_gone"

    # --- files

    @pytest.mark.parametrize("data", [b"", b"text\n", bytes(range(256)) * 10, b"x" * 5_000_000])
    async def test_what_is_written_is_read(self, sandbox: Sandbox, data: bytes) -> None:
        await sandbox.write("/tmp/deep/er/file", data)
        assert await sandbox.read("/tmp/deep/er/file") == data
        assert int((await sandbox.run("wc -c < deep/er/file")).text) == len(data)

    async def test_a_file_can_be_written_over(self, sandbox: Sandbox) -> None:
        await sandbox.write("/tmp/file", b"a long text")
        await sandbox.write("/tmp/file", b"short")
        assert await sandbox.read("/tmp/file") == b"short"

    async def test_a_file_has_the_mode_it_is_given(self, sandbox: Sandbox) -> None:
        await sandbox.write("/tmp/run", b"#!/bin/sh\necho ran\n", mode=0o755)
        assert (await sandbox.run("./run")).text == "ran\n"

    @pytest.mark.parametrize("path", ["/tmp/é ü/'q\" $x", "/tmp/-n", "/tmp/new\nline"])
    async def test_odd_names_are_names(self, sandbox: Sandbox, path: str) -> None:
        await sandbox.write(path, b"odd")
        assert await sandbox.read(path) == b"odd"

    @pytest.mark.parametrize("path", ["/no/such/file", "/tmp", "/etc/passwd/below", "/tmp/pipe"])
    async def test_what_is_no_file_is_told(self, sandbox: Sandbox, path: str) -> None:
        await sandbox.run("mkfifo pipe")
        with pytest.raises(SandboxFileError):
            await sandbox.read(path)

    async def test_what_cannot_be_written_is_told(self, sandbox: Sandbox) -> None:
        with pytest.raises(SandboxFileError):
            await sandbox.write("/proc/version", b"x")
        with pytest.raises(SandboxFileError):
            await sandbox.write("/etc/passwd/below", b"x")

    async def test_a_file_that_is_larger_than_the_limit_is_told(self, sandbox: Sandbox) -> None:
        await sandbox.write("/tmp/large", b"x" * 1001)
        assert len(await sandbox.read("/tmp/large", limit=1001)) == 1001
        with pytest.raises(SandboxFileError, match="1000"):
            await sandbox.read("/tmp/large", limit=1000)

    async def test_a_directory_goes_in_and_comes_out(self, sandbox: Sandbox, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        (tree / "sub" / "empty").mkdir(parents=True)
        (tree / "run").write_bytes(b"#!/bin/sh\necho ran\n")
        (tree / "run").chmod(0o755)
        (tree / "sub" / "data").write_bytes(bytes(range(256)))
        (tree / "link").symlink_to("sub/data")
        await sandbox.upload(tree, "/tmp/tree")
        assert (await sandbox.run("./tree/run; readlink ./tree/link; ls ./tree")).text == (
            "ran\nsub/data\nlink\nrun\nsub\n"
        )
        await sandbox.download("/tmp/tree", tmp_path / "back")
        found = sorted(str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*"))
        assert found == ["link", "run", "sub", "sub/data", "sub/empty"]
        assert (tmp_path / "back" / "sub" / "data").read_bytes() == bytes(range(256))
        assert os.access(tmp_path / "back" / "run", os.X_OK)

    async def test_a_file_goes_in_and_comes_out(self, sandbox: Sandbox, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"content")
        await sandbox.upload(tmp_path / "file", "/tmp/up/file")
        await sandbox.download("/tmp/up/file", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"content"

    async def test_nothing_that_comes_out_leads_out(self, sandbox: Sandbox, tmp_path: Path) -> None:
        await sandbox.run("mkdir -p d/s && cd d && ln -s /etc/passwd a && ln -s ../../x s/b && mkfifo p && echo f > f")
        await sandbox.download("/tmp/d", tmp_path / "out")
        assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["f", "s"]

    async def test_what_is_too_large_to_come_out_is_told(self, sandbox: Sandbox, tmp_path: Path) -> None:
        await sandbox.run("mkdir d && head -c 3000 /dev/zero > d/a && head -c 3000 /dev/zero > d/b")
        with pytest.raises(SandboxFileError, match="5000"):
            await sandbox.download("/tmp/d", tmp_path / "out", limit=5000)
        assert not (tmp_path / "out").exists()

    async def test_nothing_is_written_over_what_is_here(self, sandbox: Sandbox, tmp_path: Path) -> None:
        await sandbox.write("/tmp/file", b"x")
        (tmp_path / "here").write_bytes(b"mine")
        with pytest.raises(SandboxFileError):
            await sandbox.download("/tmp/file", tmp_path / "here")
        assert (tmp_path / "here").read_bytes() == b"mine"

    # --- snapshots

    async def test_a_snapshot_has_the_files_of_a_sandbox(self, provider: Provider, sandbox: Sandbox) -> None:
        if not (await provider.capabilities()).snapshots:
            with pytest.raises(SandboxUnsupported):
                await provider.snapshot(sandbox.id, "kept")
            return
        await sandbox.run("mkdir -p d && echo kept > d/f && ln -s f d/l && chmod 750 d/f")
        name = await provider.snapshot(sandbox.id, "kept")
        await sandbox.run("echo changed > d/f")
        restored = await provider.create(SandboxSpec(snapshot=name, cwd=HERE))
        assert (await restored.run("cat d/l; stat -c %a d/f")).text == "kept\n750\n"
        with pytest.raises(SandboxError):
            await provider.create(SandboxSpec(snapshot="no such snapshot"))
