"""Layers applied to a directory: what they make, and what they do not."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchhost.errors import ImageUnavailable
from benchhost.sandbox.local.layers import Tree


def apply(root: Path, *layers: bytes, **bounds) -> None:
    root.mkdir(exist_ok=True)
    tree = Tree(root, **bounds)
    for each in layers:
        tree.apply(io.BytesIO(each))


def seen(root: Path) -> dict[str, object]:
    """What lies below a directory: content of files, targets of links, ``None`` for directories."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "around" / "root"


@pytest.fixture(autouse=True)
def _nothing_around_the_root_is_changed(tmp_path):
    around = tmp_path / "around"
    around.mkdir()
    (around / "canary").write_bytes(b"untouched")
    yield
    assert sorted(path.name for path in around.iterdir()) in (["canary"], ["canary", "root"])
    assert (around / "canary").read_bytes() == b"untouched"


def test_a_file_lies_where_its_layer_puts_it_with_its_mode_and_time(root, make) -> None:
    apply(root, make.layer(make.directory("bin"), make.file("bin/tool", b"#!", mode=0o750)))
    assert seen(root) == {"bin": None, "bin/tool": b"#!"}
    about = (root / "bin/tool").stat()
    assert (stat.S_IMODE(about.st_mode), about.st_mtime) == (0o750, 1_700_000_000)


def test_an_upper_layer_replaces_what_a_lower_one_made(root, make) -> None:
    lower = make.layer(make.file("a", b"1"), make.directory("d"), make.file("d/e", b"2"), make.symlink("s", "a"))
    upper = make.layer(make.directory("a"), make.file("d", b"3"), make.file("s", b"4"))
    apply(root, lower, upper)
    assert seen(root) == {"a": None, "d": b"3", "s": b"4"}


def test_a_directory_over_a_directory_leaves_what_is_in_it(root, make) -> None:
    apply(
        root,
        make.layer(make.directory("d", mode=0o700), make.file("d/e", b"1")),
        make.layer(make.directory("d", mode=0o755)),
    )
    assert seen(root) == {"d": None, "d/e": b"1"}
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o755


def test_a_file_that_is_replaced_leaves_its_hard_links_as_they_were(root, make) -> None:
    apply(root, make.layer(make.file("a", b"old"), make.link("b", "a")), make.layer(make.file("a", b"new")))
    assert seen(root) == {"a": b"new", "b": b"old"}


def test_a_hard_link_is_the_same_file(root, make) -> None:
    apply(root, make.layer(make.file("d/a", b"1")), make.layer(make.link("b", "./d/a"), make.link("c", "/d/a")))
    assert len({(root / name).stat().st_ino for name in ("d/a", "b", "c")}) == 1


def test_a_whiteout_hides_what_lower_layers_made(root, make) -> None:
    lower = make.layer(make.file("a"), make.directory("d"), make.file("d/e"), make.file("d/f"))
    apply(root, lower, make.layer(make.file(".wh.a"), make.file("d/.wh.e")))
    assert seen(root) == {"d": None, "d/f": b""}


@pytest.mark.parametrize("opaque_first", [True, False])
def test_an_opaque_directory_hides_lower_layers_whatever_the_order(root, make, opaque_first: bool) -> None:
    lower = make.layer(make.file("d/old", b"1"), make.file("d/both", b"1"), make.file("d/sub/old", b"1"))
    entries = [make.file("d/.wh..wh..opq"), make.file("d/both", b"2"), make.file("d/sub/new", b"2")]
    apply(root, lower, make.layer(make.directory("d"), *(entries if opaque_first else entries[::-1])))
    assert seen(root) == {"d": None, "d/both": b"2", "d/sub": None, "d/sub/new": b"2"}


def test_a_whiteout_of_what_is_not_there_does_nothing(root, make) -> None:
    apply(root, make.layer(make.file("a", b"1"), make.file(".wh.b"), make.file("no/where/.wh.c"), make.file("a/.wh.x")))
    assert seen(root) == {"a": b"1"}


def test_notes_of_a_storage_driver_are_left_out(root, make) -> None:
    apply(root, make.layer(make.file(".wh..wh.plnk/1", b"1"), make.file(".wh..wh.aufs")))
    assert ".wh..wh.aufs" not in seen(root)


def test_what_is_put_below_a_link_lands_where_the_link_leads_in_the_image(root, make) -> None:
    lower = make.layer(make.directory("usr/lib"), make.symlink("lib", "usr/lib"), make.symlink("abs", "/usr/lib"))
    apply(root, lower, make.layer(make.file("lib/a", b"1"), make.file("abs/b", b"2")))
    assert (root / "usr/lib/a").read_bytes() + (root / "usr/lib/b").read_bytes() == b"12"
    assert (root / "lib").is_symlink()


@pytest.mark.parametrize("target", ["/", "..", "../..", "/..", "../../../../../..", "/../around"])
def test_a_link_that_leads_out_leads_to_the_root_of_the_image(root, make, target: str) -> None:
    apply(root, make.layer(make.directory("d"), make.symlink("d/out", target), make.file("d/out/canary", b"changed")))
    inside = [name for name in seen(root) if name.endswith("canary")]
    assert inside
    assert all(name in ("canary", "d/canary", "around/canary") for name in inside)


@pytest.mark.parametrize("target", ["/etc/hostname", "../canary", "no/where"])
def test_a_file_replaces_a_link_and_is_not_written_through_it(root, make, target: str) -> None:
    apply(root, make.layer(make.symlink("l", target)), make.layer(make.file("l", b"changed")))
    assert seen(root) == {"l": b"changed"}


def test_whiteouts_do_not_remove_what_a_link_leads_to_outside(root, make) -> None:
    layers = [
        make.layer(make.symlink("out", "..")),
        make.layer(make.file("out/.wh.canary"), make.file("out/.wh..wh..opq")),
    ]
    apply(root, *layers)
    assert seen(root) == {}  # the link led to the root of the image, which was made empty


@pytest.mark.parametrize(
    "name",
    ["../canary", "a/../../canary", "..", "/../canary", "./../x", ".wh...", "d/.wh...", ".wh.", ".wh../canary/.."],
)
def test_a_name_that_leads_out_is_refused(root, make, name: str) -> None:
    with pytest.raises(ImageUnavailable, match=r"leads out of the image|whiteout of nothing"):
        apply(root, make.layer(make.directory("d"), make.file(name, b"changed")))


@pytest.mark.parametrize("target", ["../canary", "/../canary", "/etc/hostname", "missing", "d", "", "."])
def test_a_hard_link_to_no_file_of_the_image_is_refused(root, make, target: str) -> None:
    with pytest.raises(ImageUnavailable, match=r"leads out of the image|where there is no file"):
        apply(root, make.layer(make.directory("d"), make.link("l", target)))


def test_a_hard_link_through_a_link_that_leads_out_is_refused(root, make) -> None:
    with pytest.raises(ImageUnavailable, match="where there is no file"):
        apply(root, make.layer(make.symlink("out", "/.."), make.link("l", "out/canary/")))


def test_a_hard_link_to_a_symbolic_link_links_the_link(root, make) -> None:
    apply(root, make.layer(make.symlink("a", "/etc/hostname"), make.link("b", "a")))
    assert seen(root) == {"a": "-> /etc/hostname", "b": "-> /etc/hostname"}


def test_links_in_a_circle_are_refused(root, make) -> None:
    with pytest.raises(ImageUnavailable, match="lead nowhere"):
        apply(root, make.layer(make.symlink("a", "b"), make.symlink("b", "a"), make.file("a/c")))


def test_links_that_multiply_are_refused(root, make) -> None:
    doubling = [make.symlink(f"l{n}", f"l{n - 1}/../l{n - 1}") for n in range(1, 60)]
    with pytest.raises(ImageUnavailable, match="lead nowhere"):
        apply(root, make.layer(make.directory("l0"), *doubling, make.file("l59/c")))


def test_a_file_in_a_file_is_refused(root, make) -> None:
    with pytest.raises(ImageUnavailable, match="no directory"):
        apply(root, make.layer(make.file("a"), make.file("a/b")))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_left_out(root, make, kind: bytes) -> None:
    device = make.entry("dev/sda", kind, devmajor=8, devminor=0)
    apply(root, make.layer(make.file("dev/sda", b"1")), make.layer(device))
    assert seen(root) == {"dev": None}


def test_setuid_and_setgid_bits_are_dropped(root, make) -> None:
    apply(root, make.layer(make.file("su", b"#!", mode=0o6755), make.directory("d", mode=0o7777)))
    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o1777


def test_owners_are_whoever_unpacks_and_may_use_everything(root, make) -> None:
    apply(root, make.layer(make.file("d/f", mode=0, uid=12345), make.directory("d", mode=0, uid=12345)))
    for path in (root / "d", root / "d/f"):
        about = path.stat()
        assert about.st_uid == os.getuid()
        assert about.st_mode & 0o600 == 0o600


def test_an_unknown_type_of_entry_is_refused(root, make) -> None:
    with pytest.raises(ImageUnavailable, match="unknown type"):
        apply(root, make.layer(make.entry("a", b"Z")))


def test_a_layer_that_is_cut_off_is_refused(root, make) -> None:
    whole = make.layer(make.file("a", b"x" * 3000), make.file("b", b"y" * 3000))
    for cut in (100, 700, 3700, 4000):
        with pytest.raises(ImageUnavailable):
            apply(root, whole[:cut])


def test_a_layer_with_a_broken_header_in_the_middle_is_refused(root, make) -> None:
    whole = bytearray(make.layer(make.file("a"), make.file("b")))
    whole[512 + 150] ^= 0xFF
    with pytest.raises(ImageUnavailable, match="part of one only"):
        apply(root, bytes(whole))


def test_what_is_no_layer_is_refused(root) -> None:
    with pytest.raises(ImageUnavailable, match="no tar archive"):
        apply(root, b"#!/bin/sh\n" * 100)


def test_more_bytes_than_an_image_may_have_are_refused_before_they_are_written(root, make) -> None:
    with pytest.raises(ImageUnavailable, match="larger"):
        apply(
            root,
            make.layer(make.file("a", b"x" * 50_000)),
            make.layer(make.file("b", b"x" * 60_000)),
            most_bytes=100_000,
        )
    assert not (root / "b").exists() or (root / "b").stat().st_size == 0


def test_a_sparse_file_counts_as_large_as_it_is(root, make) -> None:
    sparse = make.file("a", b"", pax_headers={"GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 60)})
    with pytest.raises(ImageUnavailable, match="larger"):
        apply(root, make.layer(sparse))
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) == 0


def test_more_files_than_an_image_may_have_are_refused(root, make) -> None:
    with pytest.raises(ImageUnavailable, match="more files"):
        apply(root, make.layer(*(make.file(f"{n}/f") for n in range(60))), most_files=100)


def test_headers_that_would_fill_the_memory_are_refused(root, make) -> None:
    header, _ = make.entry("pax", tarfile.XHDTYPE, size=1 << 40)
    with pytest.raises(ImageUnavailable, match="headers are too large"):
        apply(root, header.tobuf(tarfile.GNU_FORMAT) + bytes(10240))


def test_headers_in_one_another_are_refused(root, make) -> None:
    header, _ = make.entry("pax", tarfile.XHDTYPE, size=0)
    with pytest.raises(ImageUnavailable):
        apply(root, header.tobuf(tarfile.GNU_FORMAT) * 3000)


def test_a_negative_size_is_refused(root, make) -> None:
    evil = make.file("a", b"", pax_headers={"size": "-1024"})
    with pytest.raises(ImageUnavailable):
        apply(root, make.layer(make.file("x", b"1" * 2000), evil, make.file("b")))


@pytest.mark.parametrize("mtime", ["nan", "1e300", "-1e300", "inf"])
def test_a_time_that_is_none_is_not_kept(root, make, mtime: str) -> None:
    apply(root, make.layer(make.file("a", b"1", pax_headers={"mtime": mtime})))
    assert (root / "a").stat().st_mtime in (0, 1_700_000_000)


def test_a_name_with_a_zero_byte_is_refused(root, make) -> None:
    with pytest.raises(ImageUnavailable):
        apply(root, make.layer(make.file("a", b"1", pax_headers={"path": "a\0b"})))


def test_directories_in_one_another_without_end_are_refused(root, make) -> None:
    with pytest.raises(ImageUnavailable, match="too deeply"):
        apply(root, make.layer(make.file("d/" * 500 + "f")))


def test_directories_that_links_put_in_one_another_without_end_are_refused(root, make) -> None:
    deep = "/".join("d" * 300)
    entries = [make.symlink("l0", deep)]
    for number in range(4):
        entries += [make.file(f"l{number}/{deep}/f"), make.symlink(f"l{number + 1}", f"l{number}/{deep}")]
    with pytest.raises(ImageUnavailable, match="too deeply"):
        apply(root, make.layer(*entries))


# Layers in general, compared with a model: an image is a dictionary from paths to what lies there.

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
NODES = st.one_of(st.none(), st.binary(max_size=3))


def above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def is_below(path: str, other: str) -> bool:
    return path.startswith(f"{other}/")


@st.composite
def layers(draw):
    """A layer: what it makes, what it hides, which directories are opaque; and the order of its entries."""
    made: dict[str, bytes | None] = {}
    for path, node in draw(st.dictionaries(PATHS, NODES, max_size=6)).items():
        if all(made.get(each) is None for each in above(path)) and not (
            node is not None and any(is_below(each, path) for each in made)
        ):
            made[path] = node
    hidden = draw(st.lists(PATHS, max_size=3))
    opaque = draw(st.lists(st.one_of(st.just(""), PATHS), max_size=2))
    return made, hidden, opaque, draw(st.randoms(use_true_random=False))


def model_of(stack) -> dict[str, bytes | None]:
    """Apply layers as the specification says it: whiteouts first, since they concern lower layers only."""
    state: dict[str, bytes | None] = {}
    for made, hidden, opaque, _ in stack:
        for path in hidden:
            state = {each: node for each, node in state.items() if each != path and not is_below(each, path)}
        for path in opaque:
            state = {each: node for each, node in state.items() if path and not is_below(each, path)}
        for path in sorted(made):
            node = made[path]
            if node is not None or state.get(path, b"") is not None:
                state = {each: old for each, old in state.items() if not is_below(each, path)}
            state.update(dict.fromkeys(above(path)))
            state[path] = node
    return state


def is_well_formed(stack) -> bool:
    """Whether every layer puts its things into directories, as one that was made from a filesystem does."""
    for number, (made, *_) in enumerate(stack):
        below = model_of(stack[:number])
        for path in made:
            for each in above(path):
                if each not in made and below.get(each) is not None:
                    return False
    return True


@settings(max_examples=200)
@given(stack=st.lists(layers(), max_size=4).filter(is_well_formed))
def test_layers_make_what_the_specification_says_whatever_their_order(stack, make) -> None:
    archives = []
    for made, hidden, opaque, random in stack:
        entries = [make.directory(path) if made[path] is None else make.file(path, made[path]) for path in sorted(made)]
        marks = [make.file("/".join([*path.split("/")[:-1], f".wh.{path.split('/')[-1]}"])) for path in hidden]
        marks += [make.file(f"{path}/.wh..wh..opq".lstrip("/")) for path in opaque]
        for mark in marks:
            entries.insert(random.randrange(len(entries) + 1), mark)
        archives.append(make.layer(*entries))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        apply(root, *archives)
        assert seen(root) == model_of(stack)
