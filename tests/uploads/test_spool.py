"""Uploads in a folder of this machine."""

import hashlib
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
import pytest

from benchhost.errors import Malformed, TooLarge, UploadRefused, UploadsFailed, UploadSpaceFull
from benchhost.uploads import Announced, Permit, Place, Received, Spool
from benchhost.uploads import spool as module

pytestmark = pytest.mark.anyio

SECRET = b"s" * 32
KB = 1024


def spool_in(folder, **changed):
    return Spool(folder / "uploads", SECRET, **{"largest": 300 * KB, "per_tenant": 400 * KB, "kept": 60.0} | changed)


@pytest.fixture
def spool(tmp_path):
    return spool_in(tmp_path)


def key_of(name="a", tenant="acme"):
    return Place(tenant, "default", "r", "t").key(name)


def permit(name="a", tenant="acme", **fields):
    return Permit("bench", key_of(name, tenant), 2_000_000_000, 300 * KB, **fields)


async def pieces(*parts):
    for part in parts:
        yield part


async def put(spool, content, name="a", tenant="acme"):
    return await spool.receive(permit(name, tenant), len(content), pieces(content))


async def read(spool, name="a", tenant="acme", benchmark="bench"):
    return await spool.read(benchmark, key_of(name, tenant))


def files(spool):
    return [path for path in spool._folder.rglob("*") if path.is_file() and path.name != "lock"]


async def test_what_is_received_is_read_whoever_reads_it(spool, tmp_path):
    received = await spool.receive(permit(), 6, pieces(b"abc", b"", b"def"))
    assert received == Received(6, hashlib.sha256(b"abcdef").hexdigest())
    assert await spool_in(tmp_path).read("bench", key_of()) == b"abcdef"
    assert await spool_in(tmp_path).digest("bench", key_of()) == received.sha256
    assert await read(spool, "b") is None
    assert await read(spool, tenant="rival") is None
    assert await read(spool, benchmark="another") is None


async def test_nothing_of_what_a_caller_says_becomes_a_path_and_nobody_else_may_look(spool):
    await put(spool, b"x", "work.zip", "../../a tenant")
    [path] = files(spool)
    assert len(path.relative_to(spool._folder).parts) == 2
    assert all(len(part) == 64 for part in path.relative_to(spool._folder).parts)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (spool._folder, path.parent, path)] == [0o700, 0o700, 0o600]


async def test_what_is_put_again_takes_the_place_of_the_first(spool):
    await put(spool, b"the first, which is longer")
    await put(spool, b"second")
    assert await read(spool) == b"second"
    assert len(files(spool)) == 1


@pytest.mark.parametrize(
    "parts, said", [((b"abc",), "ended early"), ((b"abcdefg",), "longer than its content-length"), ((), "ended early")]
)
async def test_what_is_not_whole_is_not_there_and_leaves_what_was(spool, parts, said):
    await put(spool, b"before")
    with pytest.raises(Malformed, match=said):
        await spool.receive(permit(), 6, pieces(*parts))
    assert await read(spool) == b"before"
    assert len(files(spool)) == 1


async def test_a_client_that_hangs_up_leaves_nothing(spool):
    async def hangs_up():
        yield b"a" * 100
        raise Malformed("the body ended early")

    with pytest.raises(Malformed, match="ended early"):
        await spool.receive(permit(), 200, hangs_up())
    assert files(spool) == []


async def test_a_request_that_is_cancelled_leaves_nothing(spool):
    async def never():
        yield b"a"
        await anyio.sleep_forever()

    with anyio.move_on_after(0.05):
        await spool.receive(permit(), 200, never())
    assert files(spool) == []


async def test_what_is_large_is_written_as_it_comes(tmp_path):
    spool = spool_in(tmp_path, largest=2**30, per_tenant=2**30)
    part = os.urandom(700 * KB)
    received = await spool.receive(permit(), 5 * len(part), pieces(*[part] * 5))
    assert received.sha256 == hashlib.sha256(part * 5).hexdigest()
    assert await read(spool) == part * 5


async def test_a_digest_that_was_announced_is_held_to(spool):
    good = hashlib.sha256(b"good").hexdigest()
    with pytest.raises(Malformed, match="SHA-256"):
        await spool.receive(permit(sha256=good), 4, pieces(b"evil"))
    assert await read(spool) is None
    assert (await spool.receive(permit(sha256=good), 4, pieces(b"good"))).sha256 == good


async def test_a_url_allows_what_was_announced_and_no_more(spool):
    async def allowed(length, **announced):
        url = urlsplit(await spool.url(Announced("bench", key_of(), **announced), "http://host/base"))
        assert f"{url.scheme}://{url.netloc}{url.path}" == "http://host/base/v1/uploads"
        said = {name: value for name, [value] in parse_qs(url.query).items()}
        assert 3590 < int(said["expires"]) - time.time() <= 3600
        signed = Permit(said["benchmark"], said["key"], int(said["expires"]), int(said["limit"]), announced.get("size"))
        spool.check(signed, said["signature"], length)

    await allowed(300 * KB)
    await allowed(5, size=5)
    with pytest.raises(TooLarge, match="may have 307200 bytes at most, and this one has 307201"):
        await allowed(300 * KB + 1)
    with pytest.raises(Malformed, match="5 bytes were announced"):
        await allowed(6, size=5)
    with pytest.raises(TooLarge):
        await allowed(0, size=300 * KB + 1)


async def test_a_url_of_a_time_when_more_was_allowed_allows_no_more_than_now(spool, tmp_path):
    less = spool_in(tmp_path, largest=10)
    with pytest.raises(TooLarge, match="10 bytes at most"):
        less.check(permit(), permit().signature(SECRET), 11)
    with pytest.raises(UploadRefused):
        spool.check(permit(), permit().signature(b"another host's"), 11)


async def test_a_tenant_has_its_part_and_no_more_and_others_have_theirs(spool):
    await put(spool, b"x" * (300 * KB), "a")
    with pytest.raises(UploadSpaceFull, match="more than 409600 bytes together"):
        await put(spool, b"x" * (101 * KB), "b")
    await put(spool, b"x" * (100 * KB), "b")
    await put(spool, b"x" * (300 * KB), "a", tenant="rival")
    with pytest.raises(UploadSpaceFull):
        await put(spool, b"", "c")
    assert len(files(spool)) == 3


async def test_many_small_ones_are_not_free(spool):
    for n in range(6):
        await put(spool, b"", str(n))
    with pytest.raises(UploadSpaceFull):
        await put(spool, b"", "one more")


async def test_what_is_arriving_counts_in_full(spool):
    begun, arrived = anyio.Event(), anyio.Event()

    async def slowly():
        yield b"x"
        begun.set()
        await arrived.wait()
        yield b"x" * (300 * KB - 1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.receive, permit("slow"), 300 * KB, slowly())
        await begun.wait()
        with pytest.raises(UploadSpaceFull):
            await put(spool, b"x" * (101 * KB), "b")
        assert await spool.sweep() == 0
        arrived.set()
    assert len(await read(spool, "slow")) == 300 * KB


def _fill(folder, n):
    async def fill():
        try:
            await put(spool_in(folder), b"x" * (100 * KB), f"{n}")
        except UploadSpaceFull:
            return 0
        return 1

    return anyio.run(fill)


async def test_the_part_of_a_tenant_is_exact_however_many_put_at_once(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        kept = [threads.submit(_fill, tmp_path, n) for n in range(16)]
        assert sum(each.result() for each in kept) == 4
    assert len(files(spool_in(tmp_path))) == 4


async def test_a_disk_that_is_nearly_full_is_left_to_others(spool, monkeypatch):
    monkeypatch.setattr(module, "SPARE", 2**62)
    with pytest.raises(UploadSpaceFull, match="The host has no room"):
        await put(spool, b"x")
    assert files(spool) == []


async def test_however_many_wait_for_a_tenant_s_turn_the_threads_of_others_are_free(tmp_path):
    spool = spool_in(tmp_path, per_tenant=2**30)
    await put(spool, b"x")
    [path] = files(spool)
    async with anyio.create_task_group() as tasks:
        with module._alone(path.parent):
            for n in range(50):
                tasks.start_soon(put, spool, b"x", f"{n}")
            await anyio.wait_all_tasks_blocked()
            assert spool._threads.borrowed_tokens == module.THREADS
            assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    assert len(files(spool)) == 51


async def test_the_disk_has_room_for_what_is_arriving_before_it_comes(spool):
    async def nothing_yet():
        [path] = files(spool)
        assert path.stat().st_blocks * 512 >= 300 * KB
        yield b"x" * (300 * KB)

    await spool.receive(permit(), 300 * KB, nothing_yet())


async def test_two_that_saw_the_same_room_do_not_both_take_it(spool, monkeypatch):
    seen = iter([module.SPARE + KB, module.SPARE - 1])
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=next(seen)))
    with pytest.raises(UploadSpaceFull, match="The host has no room"):
        await put(spool, b"x")
    assert files(spool) == []


async def test_what_was_kept_long_enough_is_gone_also_before_it_is_swept(spool):
    await put(spool, b"old")
    await put(spool, b"new", "b")
    [old] = [path for path in files(spool) if path.read_bytes() == b"old"]
    os.utime(old, (0, time.time() - 61))
    assert await read(spool) is None
    assert await spool.sweep() == 1
    assert not old.exists()
    assert await read(spool, "b") == b"new"
    assert await spool.sweep() == 0


WRITER = """
import sys
from pathlib import Path
from benchhost.uploads.spool import _Arriving

arriving = _Arriving(Path(sys.argv[1]), 1000, 10**9)
arriving.write(bytearray(b"x" * 500))
print("writing", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_was_writing_is_swept_and_not_before(spool):
    anyio.run(put, spool, b"x")
    folder = files(spool)[0].parent
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"writing\n"
        assert anyio.run(spool.sweep) == 0
        writer.kill()
        writer.wait()
        assert anyio.run(spool.sweep) == 1
    assert len(files(spool)) == 1


async def test_what_is_larger_than_is_read_now_is_too_large(spool, tmp_path):
    await put(spool, b"x" * 11)
    with pytest.raises(TooLarge):
        await read(spool_in(tmp_path, largest=10))
    with pytest.raises(TooLarge):
        await spool_in(tmp_path, largest=10).digest("bench", key_of())


async def test_a_folder_that_cannot_be_used_is_a_failure_that_is_told(tmp_path):
    (tmp_path / "uploads").write_text("a file")
    with pytest.raises(UploadsFailed, match="the folder of uploads cannot be used"):
        await put(spool_in(tmp_path), b"x")
