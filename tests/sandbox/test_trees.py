"""Directories as archives: what is packed comes out again, and what was made to do harm does none."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.errors import SandboxFileError
from benchhost.sandbox import trees
from benchhost.sandbox.trees import pack, unpack

LIMIT = 10_000


def archive(*entries):
    """A tar archive of `(name, kind, content or where it leads)`, as no honest tar would write it."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, said in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if kind == tarfile.REGTYPE:
                entry.size = len(said)
                tar.addfile(entry, io.BytesIO(said))
            else:
                entry.linkname = said
                tar.addfile(entry)
    whole.seek(0)
    return whole


def found(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def inside(folder):
    return [path.name for path in folder.iterdir()]


def file(name, content=b"content"):
    return (name, tarfile.REGTYPE, content)


def link(name, to):
    return (name, tarfile.SYMTYPE, to)


def hard_link(name, to):
    return (name, tarfile.LNKTYPE, to)


def folder(name):
    return (name, tarfile.DIRTYPE, "")


def test_what_is_packed_comes_out_again(tmp_path):
    tree = tmp_path / "tree"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "run").write_bytes(b"#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    os.link(tree / "run", tree / "sub" / "same")
    (tree / "link").symlink_to("sub/../run")
    (tree / "dangling").symlink_to("sub/not-there")
    os.mkfifo(tree / "fifo")
    (tmp_path / "short").symlink_to(tree)
    whole = io.BytesIO()
    pack(tmp_path / "short", whole)
    whole.seek(0)
    unpack(whole, tmp_path / "back", LIMIT)
    back = tmp_path / "back"
    assert found(back) == ["dangling", "link", "run", "sub", "sub/empty", "sub/same"]
    assert (back / "run").read_bytes() == (back / "sub" / "same").read_bytes() == b"#!/bin/sh\n"
    assert stat.S_IMODE((back / "run").stat().st_mode) == 0o755
    assert (back / "link").readlink() == Path("sub/../run")


@pytest.mark.parametrize(
    "entries, left",
    [
        ([file("/abs"), file("ok")], ["ok"]),
        ([file("../out"), file("a/../../out"), file("ok")], ["ok"]),
        ([link("l", "/etc/passwd"), link("m", "../../etc"), link("ok", "x")], ["ok"]),
        ([link("l", ".."), file("l/x")], ["l", "l/x"]),  # a directory by now, not the link
        ([link("d", ".."), link("d/e", "..")], ["d", "d/e"]),
        ([link("b", "."), link("a", "b/../..")], ["b"]),
        ([folder("x"), link("x/up", ".."), link("out", "x/up/..")], ["x", "x/up"]),
        ([link("a", "b"), link("b", "a"), link("c", "c")], []),
        ([hard_link("h", "/etc/passwd"), hard_link("i", "../x"), hard_link("j", "no")], []),
        ([file("f"), hard_link("h", "f")], ["f", "h"]),
        ([("n", tarfile.CHRTYPE, ""), ("p", tarfile.FIFOTYPE, ""), ("b", tarfile.BLKTYPE, "")], []),
        ([file("."), folder("."), file("ok")], ["ok"]),
    ],
)
def test_what_would_be_outside_or_is_no_file_is_left_out(entries, left, tmp_path):
    unpack(archive(*entries), tmp_path / "target", LIMIT)
    assert found(tmp_path / "target") == left
    assert inside(tmp_path) == ["target"]


@pytest.mark.parametrize(
    "entries, said",
    [
        ([file("a", bytes(6000)), file("b", bytes(6000))], "larger than 10000 bytes"),
        ([file("a", bytes(6000)), hard_link("b", "a")], "larger than 10000 bytes"),
        ([file("a"), file("a")], "File exists"),
        ([file("a"), file("a/b")], "exists|directory"),
        ([file("x" * 300)], "too long"),
        ([file("/".join("d" * 60))], "more than 50 entries"),
        ([link(str(n), "x") for n in range(51)], "more than 50 entries"),
    ],
)
def test_what_cannot_be_taken_out_is_told_and_nothing_stays(entries, said, tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "MOST_ENTRIES", 50)
    with pytest.raises(SandboxFileError, match=said) as failed:
        unpack(archive(*entries), tmp_path / "target", LIMIT)
    assert str(tmp_path) not in str(failed.value)
    assert inside(tmp_path) == []


@pytest.mark.parametrize("name", ["/".join("d" * 1900), "/".join("d" * (trees.DEEPEST + 2))])
def test_directories_in_one_another_without_end_are_refused(name, tmp_path):
    with pytest.raises(SandboxFileError, match="directories within each other"):
        unpack(archive(file("ok"), file(name)), tmp_path / "target", LIMIT)
    assert inside(tmp_path) == []


def test_entries_that_are_left_out_count_too(tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "MOST_ENTRIES", 50)
    with pytest.raises(SandboxFileError, match="more than 50 entries"):
        unpack(archive(*[file("/out") for _ in range(60)]), tmp_path / "target", LIMIT)


@pytest.mark.parametrize("cut", [100, 600, 1500])
def test_an_archive_that_breaks_off_or_is_none_is_told(cut, tmp_path):
    whole = archive(file("a", bytes(1000)), file("b", bytes(1000))).getvalue()
    with pytest.raises(SandboxFileError, match="cannot be unpacked"):
        unpack(io.BytesIO(whole[:cut]), tmp_path / "target", LIMIT)
    with pytest.raises(SandboxFileError, match="cannot be unpacked"):
        unpack(io.BytesIO(b"no archive" * 100), tmp_path / "target", LIMIT)
    assert inside(tmp_path) == []


def test_nothing_is_taken_out_over_what_is_there(tmp_path):
    (tmp_path / "target").mkdir()
    with pytest.raises(SandboxFileError, match="there already"):
        unpack(archive(file("a")), tmp_path / "target", LIMIT)


names = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=4).map("/".join)
kinds = st.sampled_from([tarfile.SYMTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
anything = st.one_of(st.tuples(names, kinds, names), st.builds(file, names))


@given(entries=st.lists(anything, max_size=12))
def test_whatever_an_archive_says_nothing_leads_out_of_the_target(entries, tmp_path_factory):
    around = tmp_path_factory.mktemp("around")
    try:
        unpack(archive(*entries), around / "target", LIMIT)
    except SandboxFileError:
        assert inside(around) == []
        return
    assert inside(around) == ["target"]
    root = os.path.realpath(around / "target")
    for path in (around / "target").rglob("*"):
        assert os.path.realpath(path) == root or os.path.realpath(path).startswith(root + os.sep)
