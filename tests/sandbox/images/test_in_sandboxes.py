"""Sandboxes that are made of images: what they see, what they may change, and what they leave as it was."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchhost.contract import SandboxSpec
from benchhost.errors import ImageUnavailable
from benchhost.sandbox.local.provider import LocalProvider

pytestmark = pytest.mark.anyio

PROGRAMS = ("/bin/sh", "/bin/cat", "/bin/ls", "/usr/bin/env")


def parts_of(program: str) -> set[str]:
    """A program, and the libraries that it needs."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return {program, *re.findall(r"(/\S+) \(0x", told)}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def programs(make) -> bytes:
    """A layer that is enough to run a shell: from this machine, but in places where that has none."""
    paths = sorted(set().union(*map(parts_of, PROGRAMS)))
    return make.layer(*(make.file(path, Path(path).read_bytes(), mode=0o755) for path in paths))


@pytest.fixture
async def provider(tmp_path):
    opened = await LocalProvider.open({"folder": str(tmp_path / "sandboxes"), "images": str(tmp_path / "images")})
    yield opened
    await opened.aclose()


@pytest.fixture
def loaded(store, make, programs, tmp_path) -> str:
    own = make.layer(make.directory("srv"), make.file("srv/motd", b"of the image"), make.file("etc/own", b"1"))
    files = make.docker(programs, own, Env=["GREETING=hello", "PATH=/usr/bin:/bin"], WorkingDir="/srv")
    store.load(files.as_archive(tmp_path / "image.tar"), "small:1")
    return "small:1"


async def test_a_sandbox_begins_as_its_image_says(provider, loaded) -> None:
    sandbox = await provider.create(SandboxSpec(image=loaded))
    ran = await sandbox.run("cat motd; echo; echo $GREETING; ls /usr/share /etc/own; echo end")
    assert "of the image\nhello" in ran.text, ran
    assert "/etc/own" in ran.text
    assert b"/usr/share" in ran.stderr, "nothing of this machine's programs is in an image"


async def test_what_is_asked_for_goes_before_what_the_image_says(provider, loaded) -> None:
    sandbox = await provider.create(SandboxSpec(image=loaded, cwd="/etc", env={"GREETING": "goodbye"}))
    assert (await sandbox.run("cat own; echo $GREETING")).text == "1goodbye\n"


async def test_what_a_sandbox_changes_is_its_own(provider, loaded, store) -> None:
    first = await provider.create(SandboxSpec(image=loaded))
    second = await provider.create(SandboxSpec(image=loaded))
    await first.write("/srv/motd", b"changed")
    await first.run("echo new > /srv/new")
    assert await first.read("/srv/motd") == b"changed"
    assert await second.read("/srv/motd") == b"of the image"
    assert names_in(store.find(loaded).root / "srv") == ["motd"]


async def test_a_folder_is_an_image_too(provider, loaded, store) -> None:
    stored = store.find(loaded)
    sandbox = await provider.create(SandboxSpec(image=f"dir:{stored.root}"))
    assert (await sandbox.run("cat /srv/motd")).text == "of the image"


async def test_no_sandbox_is_made_of_an_image_that_is_not_there(provider) -> None:
    with pytest.raises(ImageUnavailable, match="small:2"):
        await provider.create(SandboxSpec(image="small:2"))
    assert await provider.list() == []
