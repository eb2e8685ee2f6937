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


@pytest.fixture
def of_a_user(store, make, programs, tmp_path):
    """Loads an image that names a user."""

    def load(named: str, passwd: str = "me:x:123:456:Me:/srv:/bin/sh\n") -> str:
        own = make.layer(
            make.directory("srv"),
            make.directory("root"),
            make.file("etc/passwd", passwd.encode()),
            make.file("etc/group", b"us:x:456:\nthem:x:789:\n"),
        )
        store.load(make.docker(programs, own, User=named).as_archive(tmp_path / "user.tar"), "user:1")
        return "user:1"

    return load


WHO = "cat /proc/self/status; echo $USER $HOME; echo hello > $HOME/mine && cat $HOME/mine && ls -ldn $HOME /bin"


@pytest.mark.parametrize(
    "named, user, group, told",
    [
        ("me", 123, 456, "me /srv"),
        ("123", 123, 456, "me /srv"),
        ("me:them", 123, 789, "me /srv"),
        ("me:77", 123, 77, "me /srv"),
        ("4321", 4321, 0, "4321 /"),
        ("", 0, 0, "root /root"),
    ],
)
async def test_commands_are_of_the_user_that_the_image_names(provider, of_a_user, named, user, group, told) -> None:
    sandbox = await provider.create(SandboxSpec(image=of_a_user(named)))
    ran = await sandbox.run(WHO)
    assert f"Uid:\t{user}\t{user}\t{user}\t{user}\n" in ran.text
    assert f"Gid:\t{group}\t{group}\t{group}\t{group}\n" in ran.text
    assert f"\n{told}\nhello\n" in ran.text, ran.stderr
    assert {tuple(line.split()[2:4]) for line in ran.text.splitlines()[-2:]} == {(str(user), str(group))}
    await sandbox.write("/new/file", b"from outside")
    assert (await sandbox.run("cat /new/file")).text == "from outside"


@pytest.mark.parametrize(
    "named, passwd, said",
    [
        ("you", "me:x:1:1::/:\n", "'you', whom its /etc/passwd does not name"),
        ("me:those", "me:x:1:1::/:\n", "'those', which its /etc/group does not name"),
        ("me", "me:x:99999999999:1::/:\n", "none that a user or group may have"),
        ("4294967295", "", "none that a user or group may have"),
    ],
)
async def test_a_user_whom_the_image_does_not_know_is_told(provider, of_a_user, named, passwd, said) -> None:
    with pytest.raises(ImageUnavailable, match=said):
        await provider.create(SandboxSpec(image=of_a_user(named, passwd)))
    assert await provider.list() == []


async def test_a_table_of_users_that_is_a_link_is_not_followed(provider, store, make, programs, tmp_path) -> None:
    linked = make.layer(make.symlink("etc/passwd", "/etc/passwd"))
    store.load(make.docker(programs, linked, User="daemon").as_archive(tmp_path / "link.tar"), "link:1")
    with pytest.raises(ImageUnavailable, match="does not name"):
        await provider.create(SandboxSpec(image="link:1"))


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
