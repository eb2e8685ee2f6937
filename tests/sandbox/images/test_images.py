"""What the name of an image means, and images in files: with digests that are right, and with those that are not."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading

import pytest

from benchhost.errors import ImageUnavailable
from benchhost.sandbox.local import archives, image_store
from benchhost.sandbox.local.image_store import ImageStore
from benchhost.sandbox.local.images import Image, is_path, resolve_image
from benchhost.server.problems import answer_to


@pytest.fixture
def lower(make) -> bytes:
    return make.layer(make.directory("etc"), make.file("etc/motd", b"lower"), make.file("gone", b"1"))


@pytest.fixture
def upper(make) -> bytes:
    return make.layer(make.directory("etc"), make.file("etc/motd", b"upper"), make.file(".wh.gone"))


def content(image: Image) -> dict[str, bytes]:
    assert image.root is not None
    return {
        str(path.relative_to(image.root)): path.read_bytes() for path in sorted(image.root.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("name", [None, "", "host"])
def test_without_a_name_the_programs_of_the_machine_are_meant(store, name) -> None:
    assert resolve_image(name, store) == Image(name="host")


def test_a_folder_is_used_as_it_is(store, tmp_path) -> None:
    (tmp_path / "rootfs").mkdir()
    assert resolve_image(f"dir:{tmp_path}/rootfs", store).root == tmp_path / "rootfs"


@pytest.mark.parametrize(
    "name", ["dir:relative", "oci:relative", "dir:/no/where", "oci:/no/where", "dir:/etc/hostname"]
)
def test_a_path_that_leads_to_nothing_is_named_in_the_error(store, name: str) -> None:
    with pytest.raises(ImageUnavailable, match=name):
        resolve_image(name, store)


@pytest.mark.parametrize(
    "name", ["python:3.12", "ghcr.io/a/b@sha256:0", "dir", "x" * 5000, "../../etc", "a\0b", "\udcff"]
)
def test_a_name_that_is_not_in_the_store_is_answered_with_what_to_do(store, name: str) -> None:
    with pytest.raises(ImageUnavailable, match=r"not in the local image store\. Load it") as caught:
        resolve_image(name, store)
    answer = answer_to(caught.value)
    assert answer.status == 422
    assert json.loads(answer.body)["type"].endswith("image-unavailable")


@pytest.mark.parametrize("compress", [gzip.compress, bytes])
@pytest.mark.parametrize("how", ["folder", "archive", "compressed archive"])
def test_an_oci_layout_is_unpacked(store, make, tmp_path, lower, upper, how: str, compress) -> None:
    files = make.oci(lower, upper, compress=compress, Env=["A=1=2", "broken"], WorkingDir="/srv", User="app:staff")
    path = files.as_folder(tmp_path / "layout") if how == "folder" else files.as_archive(tmp_path / "image.tar")
    if how == "compressed archive":
        path.write_bytes(gzip.compress(path.read_bytes()))
    image = resolve_image(f"oci:{path}", store)
    assert content(image) == {"etc/motd": b"upper"}
    assert (image.env, image.cwd, image.user) == ({"A": "1=2"}, "/srv", "app:staff")
    assert image.digest == json.loads(files["index.json"])["manifests"][0]["digest"]


@pytest.mark.parametrize("how", ["folder", "archive"])
def test_what_docker_saves_is_unpacked(store, make, tmp_path, lower, upper, how: str) -> None:
    files = make.docker(lower, upper, Env=["PATH=/bin"])
    path = files.as_folder(tmp_path / "saved") if how == "folder" else files.as_archive(tmp_path / "image.tar")
    image = resolve_image(f"oci:{path}", store)
    assert content(image) == {"etc/motd": b"upper"}
    assert (image.env, image.cwd, image.user) == ({"PATH": "/bin"}, None, None)


def test_a_layer_that_an_archive_links_to_another_is_found(store, make, tmp_path, lower) -> None:
    files = make.docker(lower, lower)
    saved = json.loads(files["manifest.json"])
    first = saved[0]["Layers"][0]
    saved[0]["Layers"][1] = "second/layer.tar"
    files["manifest.json"] = json.dumps(saved).encode()
    entries = [make.file(name, data) for name, data in files.items()]
    path = tmp_path / "image.tar"
    path.write_bytes(make.layer(*entries, make.symlink("second/layer.tar", f"../{first}")))
    assert content(resolve_image(f"oci:{path}", store))["etc/motd"] == b"lower"


def test_an_image_without_layers_is_empty(store, make, tmp_path) -> None:
    files = make.docker(config={"rootfs": {"type": "layers", "diff_ids": None}})
    assert content(resolve_image(f"oci:{files.as_archive(tmp_path / 'image.tar')}", store)) == {}


def test_the_manifest_for_this_machine_is_chosen(store, make, tmp_path, lower, upper) -> None:
    ours, other = make.oci(lower), make.oci(upper, config={"architecture": "s390x"})
    [mine], [theirs] = (json.loads(each["index.json"])["manifests"] for each in (ours, other))
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[image_machine()]
    index = [
        {**theirs, "platform": {"os": "linux", "architecture": "s390x"}},
        {**mine, "platform": {"os": "linux", "architecture": architecture}},
        {**theirs, "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
    nested = json.dumps({"manifests": index}).encode()
    digest = make.digest_of(nested)
    outer = json.dumps({"manifests": [{"digest": digest}]}).encode()
    files = make.Files({**other, **ours, f"blobs/{digest.replace(':', '/')}": nested, "index.json": outer})
    image = resolve_image(f"oci:{files.as_folder(tmp_path / 'layout')}", store)
    assert content(image)["etc/motd"] == b"lower"


def image_machine() -> str:
    from benchhost.sandbox.local.kernel import MACHINE

    return MACHINE


def test_an_image_for_another_machine_is_refused_with_its_name(store, make, tmp_path, lower) -> None:
    path = make.docker(lower, config={"architecture": "s390x"}).as_archive(tmp_path / "image.tar")
    with pytest.raises(ImageUnavailable, match="linux/s390x"):
        resolve_image(f"oci:{path}", store)


def flip(data: bytes) -> bytes:
    """Change what a layer says without changing how long it is."""
    changed = data.replace(b"lower", b"hower")
    assert changed != data
    return changed


def test_a_layer_that_is_not_what_its_digest_says_is_refused(store, make, tmp_path, lower) -> None:
    files = make.oci(lower, compress=bytes)
    for name, data in files.items():
        if b"lower" in data and name.startswith("blobs"):
            files[name] = flip(data)
    with pytest.raises(ImageUnavailable, match="not what its digest says"):
        resolve_image(f"oci:{files.as_folder(tmp_path / 'layout')}", store)
    assert store.all() == []


def test_a_layer_that_unpacks_to_something_else_is_refused(store, make, tmp_path, lower) -> None:
    files = make.oci(lower, config={"rootfs": {"diff_ids": [make.digest_of(b"other")]}})
    with pytest.raises(ImageUnavailable, match="not what its digest says"):
        resolve_image(f"oci:{files.as_folder(tmp_path / 'layout')}", store)


def test_a_saved_layer_that_is_not_what_the_configuration_says_is_refused(store, make, tmp_path, lower) -> None:
    files = make.docker(lower)
    [place] = json.loads(files["manifest.json"])[0]["Layers"]
    files[place] = flip(lower)
    with pytest.raises(ImageUnavailable, match="not what its digest says"):
        resolve_image(f"oci:{files.as_archive(tmp_path / 'image.tar')}", store)


@pytest.mark.parametrize("part", ["config", "manifest"])
def test_a_configuration_or_manifest_that_was_changed_is_refused(store, make, tmp_path, lower, part: str) -> None:
    files = make.oci(lower)
    mark = b"architecture" if part == "config" else b"schemaVersion"
    for name, data in files.items():
        if mark in data and name.startswith("blobs"):
            files[name] = data + b" "
    with pytest.raises(ImageUnavailable, match="not what its digest says"):
        resolve_image(f"oci:{files.as_folder(tmp_path / 'layout')}", store)


def test_a_configuration_whose_name_is_not_its_digest_is_refused(store, make, tmp_path, lower) -> None:
    files = make.docker(lower)
    [name] = [name for name in files if name.endswith(".json") and name != "manifest.json"]
    files[name] += b" "
    with pytest.raises(ImageUnavailable, match="not what its name says"):
        resolve_image(f"oci:{files.as_archive(tmp_path / 'image.tar')}", store)


@pytest.mark.parametrize("digest", ["sha256:../../../etc/passwd", "../x", "sha256:" + "0" * 63, "md5:" + "0" * 64])
def test_a_digest_that_is_a_path_is_refused(store, make, tmp_path, lower, digest: str) -> None:
    files = make.oci(lower, descriptor={"digest": digest})
    with pytest.raises(ImageUnavailable, match="no digest"):
        resolve_image(f"oci:{files.as_folder(tmp_path / 'layout')}", store)


@pytest.mark.parametrize("place", ["../secret", "/etc/hostname"])
def test_a_saved_image_cannot_name_a_file_outside_of_its_folder(store, make, tmp_path, lower, place: str) -> None:
    (tmp_path / "secret").write_bytes(lower)
    files = make.docker(lower)
    saved = json.loads(files["manifest.json"])
    saved[0]["Layers"] = [place]
    files["manifest.json"] = json.dumps(saved).encode()
    with pytest.raises(ImageUnavailable, match="does not have"):
        resolve_image(f"oci:{files.as_folder(tmp_path / 'saved')}", store)


def test_a_folder_cannot_link_to_a_file_outside_of_it(store, make, tmp_path, lower) -> None:
    (tmp_path / "secret").write_bytes(lower)
    files = make.docker(lower)
    folder = files.as_folder(tmp_path / "saved")
    [place] = json.loads(files["manifest.json"])[0]["Layers"]
    (folder / place).unlink()
    (folder / place).symlink_to(tmp_path / "secret")
    with pytest.raises(ImageUnavailable, match="does not have"):
        resolve_image(f"oci:{folder}", store)


def test_a_hostile_layer_leaves_nothing_behind(store, make, tmp_path, lower) -> None:
    evil = make.layer(make.file("../../../../../evil", b"1"))
    path = make.oci(lower, evil).as_archive(tmp_path / "image.tar")
    with pytest.raises(ImageUnavailable, match="leads out of the image"):
        resolve_image(f"oci:{path}", store)
    assert not [found for found in tmp_path.rglob("*") if found.name in ("evil", "motd")]


def test_what_decompresses_to_more_than_an_image_may_be_is_refused(make, tmp_path) -> None:
    store = ImageStore(tmp_path / "images", most_bytes=1_000_000)
    bomb = make.layer(make.file("zeros", bytes(3_000_000)))
    path = make.oci(bomb).as_archive(tmp_path / "image.tar")
    assert path.stat().st_size < 50_000
    with pytest.raises(ImageUnavailable, match="larger"):
        resolve_image(f"oci:{path}", store)
    path.write_bytes(gzip.compress(make.oci(bomb, compress=bytes).as_archive(path).read_bytes()))
    with pytest.raises(ImageUnavailable, match="larger"):
        resolve_image(f"oci:{path}", store)


def test_an_archive_of_more_entries_than_an_image_needs_is_refused(store, make, tmp_path, lower, monkeypatch) -> None:
    monkeypatch.setattr(archives, "MOST_ENTRIES", 50)
    files = make.oci(lower)
    assert resolve_image(f"oci:{files.as_archive(tmp_path / 'image.tar')}", store)
    files.update({f"blobs/sha256/{number}": b"" for number in range(50)})
    with pytest.raises(ImageUnavailable, match="more than 50 entries"):
        resolve_image(f"oci:{files.as_archive(tmp_path / 'larger.tar')}", store)


def test_what_follows_the_end_of_a_layer_counts_too(make, tmp_path, lower) -> None:
    store = ImageStore(tmp_path / "images", most_bytes=1_000_000)
    path = make.oci(lower + bytes(3_000_000)).as_archive(tmp_path / "image.tar")
    with pytest.raises(ImageUnavailable, match="larger"):
        resolve_image(f"oci:{path}", store)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:30] + bytes(10) + data[40:],
        lambda data: b"\x28\xb5\x2f\xfd" + data,
    ],
    ids=["cut off", "damaged", "zstd"],
)
def test_a_compressed_layer_that_cannot_be_read_is_refused(store, make, tmp_path, lower, damage) -> None:
    compressed = damage(gzip.compress(lower))
    files = make.oci(lower, compress=lambda _: compressed)
    with pytest.raises(ImageUnavailable):
        resolve_image(f"oci:{files.as_folder(tmp_path / 'layout')}", store)


@pytest.mark.parametrize(
    "files",
    [
        {"hello": b"1"},
        {"manifest.json": b"{}"},
        {"manifest.json": b"[" * 100_000},
        {"oci-layout": b"{}", "index.json": b'{"manifests": []}'},
        {"oci-layout": b"{}"},
        {"manifest.json": b'[{"Config": "a.json"}]'},
        {"manifest.json": b'[{"Config": "../a"}, {"Config": "b", "RepoTags": ["x:1"]}]'},
    ],
)
def test_a_file_that_holds_no_image_is_refused(store, make, tmp_path, files) -> None:
    with pytest.raises(ImageUnavailable, match="cannot be used"):
        resolve_image(f"oci:{make.Files(files).as_archive(tmp_path / 'image.tar')}", store)


def test_a_file_that_is_no_archive_is_refused(store, tmp_path) -> None:
    (tmp_path / "image.tar").write_bytes(b"no archive at all" * 100)
    with pytest.raises(ImageUnavailable, match="no archive"):
        resolve_image(f"oci:{tmp_path}/image.tar", store)


def test_an_image_is_unpacked_once(store, make, tmp_path, lower) -> None:
    path = make.oci(lower).as_archive(tmp_path / "image.tar")
    first = resolve_image(f"oci:{path}", store)
    (first.root / "etc/motd").write_bytes(b"it is the same folder")
    again = resolve_image(f"oci:{path}", ImageStore(tmp_path / "images"))
    assert again == first
    assert content(again)["etc/motd"] == b"it is the same folder"


def test_what_a_killed_process_left_half_unpacked_is_made_anew(store, make, tmp_path, lower) -> None:
    path = make.oci(lower).as_archive(tmp_path / "image.tar")
    image = resolve_image(f"oci:{path}", store)
    place = image.root.parent
    unfinished = place.rename(place.with_suffix(".unfinished"))
    (unfinished / "image.json").unlink()
    (unfinished / "rootfs/half").write_bytes(b"")
    assert store.all() == []
    assert content(resolve_image(f"oci:{path}", store)) == {"etc/motd": b"lower", "gone": b"1"}


def test_two_processes_that_want_the_same_image_unpack_it_once(make, tmp_path) -> None:
    many = make.layer(*(make.file(f"d/{n}", b"x" * 100) for n in range(1500)))
    path = make.oci(many).as_archive(tmp_path / "image.tar")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from benchhost.sandbox.local.image_store import ImageStore\n"
        "from benchhost.sandbox.local.images import resolve_image\n"
        "image = resolve_image(sys.argv[1], ImageStore(Path(sys.argv[2])))\n"
        "print(image.root.stat().st_ino, len(list(image.root.rglob('*'))))\n"
    )
    command = [sys.executable, "-c", code, f"oci:{path}", str(tmp_path / "images")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate(timeout=60)[0] for process in running}
    assert len(said) == 1
    assert said.pop().split()[1] == "1501"


def test_threads_of_one_process_wait_for_each_other_too(store, make, tmp_path, lower, monkeypatch) -> None:
    path = make.oci(lower).as_archive(tmp_path / "image.tar")
    made = []
    original = ImageStore._make

    def counted(self, archive, packed):
        made.append(packed.digest)
        return original(self, archive, packed)

    monkeypatch.setattr(image_store.ImageStore, "_make", counted)
    threads = [threading.Thread(target=resolve_image, args=(f"oci:{path}", store)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == 1


def test_an_image_is_found_by_the_name_it_was_loaded_under(store, make, tmp_path, lower) -> None:
    loaded = store.load(make.docker(lower, tags=["theirs:1"]).as_archive(tmp_path / "image.tar"), "ours:2")
    assert loaded.names == ("ours:2",)
    assert content(resolve_image("ours:2", store))["etc/motd"] == b"lower"
    with pytest.raises(ImageUnavailable):
        resolve_image("theirs:1", store)


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_an_image_is_loaded_under_its_own_names_when_none_is_given(store, make, tmp_path, lower, kind: str) -> None:
    files = make.docker(lower, tags=["app:1", "app:2"]) if kind == "docker" else make.oci(lower, name="app:1")
    store.load(files.as_archive(tmp_path / "image.tar"))
    assert resolve_image("app:1", store).digest is not None


def test_an_image_without_a_name_of_its_own_wants_one(store, make, tmp_path, lower) -> None:
    with pytest.raises(ImageUnavailable, match="--as NAME"):
        store.load(make.docker(lower).as_archive(tmp_path / "image.tar"))


@pytest.mark.parametrize(
    "loaded, asked",
    [
        ("python", "python:latest"),
        ("python:latest", "python"),
        ("docker.io/library/python:3", "python:3"),
        ("a/b:1", "docker.io/a/b:1"),
        ("host:5000/a", "host:5000/a:latest"),
    ],
)
def test_a_name_may_be_said_in_its_short_and_its_long_form(store, make, tmp_path, lower, loaded, asked) -> None:
    store.load(make.docker(lower).as_archive(tmp_path / "image.tar"), loaded)
    assert store.find(asked) is not None


def test_a_name_that_is_loaded_again_means_the_new_image(store, make, tmp_path, lower, upper) -> None:
    store.load(make.docker(lower).as_archive(tmp_path / "1.tar"), "app")
    store.load(make.docker(upper).as_archive(tmp_path / "2.tar"), "app")
    assert content(resolve_image("app", store))["etc/motd"] == b"upper"
    assert [stored.names for stored in store.all()] == [(), ("app:latest",)]


def test_removing_a_name_keeps_the_image_for_its_other_names(store, make, tmp_path, lower) -> None:
    path = make.docker(lower).as_archive(tmp_path / "image.tar")
    store.load(path, "one")
    store.load(path, "two")
    store.remove("one")
    assert [stored.names for stored in store.all()] == [("two:latest",)]
    store.remove("two")
    assert store.all() == []
    assert not list(tmp_path.rglob("motd"))


def test_an_image_is_removed_by_its_digest_with_all_its_names(store, make, tmp_path, lower) -> None:
    path = make.docker(lower).as_archive(tmp_path / "image.tar")
    store.load(path, "one")
    store.remove(store.load(path, "two").digest)
    assert store.all() == []
    with pytest.raises(ImageUnavailable, match="no image is called"):
        store.remove("one")


def test_a_name_that_was_removed_can_be_loaded_again(store, make, tmp_path, lower) -> None:
    path = make.docker(lower).as_archive(tmp_path / "image.tar")
    store.load(path, "one")
    store.remove("one")
    store.load(path, "one")
    assert content(resolve_image("one", store))["etc/motd"] == b"lower"


def test_what_only_who_runs_the_host_may_name_is_told_apart() -> None:
    assert [is_path(name) for name in (None, "host", "python:3", "dir:/x", "oci:/x")] == [False] * 3 + [True] * 2
