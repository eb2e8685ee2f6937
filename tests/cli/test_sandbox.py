"""Sandboxes from the command line: made, used, listed, deleted; their images; attacks on them; and the doctor."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from s3_double import BUCKET, ENVIRON, REGION, s3

from benchhost.sandbox.escape.attack import Finding


@pytest.fixture
def sandbox(benchhost):
    """The id of a sandbox, which is deleted at the end."""
    made = benchhost("sandbox", "create", "--label", "for=tests", "--env", "COLOUR=red", "--memory", "1", "--disk", "1")
    assert (made.code, made.err) == (0, "")
    yield made.out.strip()
    benchhost("sandbox", "rm", made.out.strip())


@pytest.fixture
def image(tmp_path) -> Path:
    """An image with one file, as `docker save` writes it."""
    import hashlib
    import platform

    def tar(**files: bytes) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return buffer.getvalue()

    layer = tar(motd=b"hello")
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    config = json.dumps({"architecture": architecture, "os": "linux", "rootfs": {"diff_ids": diff_ids}}).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": ["small:1"], "Layers": ["layer.tar"]}]).encode()
    path = tmp_path / "small.tar"
    path.write_bytes(tar(**{"manifest.json": manifest, name: config, "layer.tar": layer}))
    return path


def test_a_command_in_a_sandbox_says_what_it_says_and_ends_as_it_ends(sandbox, benchhost) -> None:
    said = benchhost("sandbox", "exec", sandbox, "echo $COLOUR; echo wrong >&2; exit 3")
    assert said == (3, "red\n", "wrong\n")


def test_several_words_are_a_program_and_its_arguments(sandbox, benchhost) -> None:
    said = benchhost("sandbox", "exec", "--cwd", "/tmp", sandbox, "ls", "-d", "..", "$COLOUR ;")
    assert said.out == "..\n"
    assert "$COLOUR ;" in said.err
    assert benchhost("sandbox", "exec", sandbox, "sh", "-c", "exit 5").code == 5
    assert benchhost("sandbox", "exec", sandbox, "--", "echo $((2 + 2))").out == "4\n"


def test_an_option_behind_the_id_of_a_sandbox_is_no_program(benchhost) -> None:
    said = benchhost("sandbox", "exec", "any", "--cwd", "/tmp", "ls")
    assert said.code == 2
    assert "--cwd stands behind the ID, and options stand before it" in said.err
    assert benchhost("sandbox", "exec", "any", "--").code == 2


def test_a_command_in_a_sandbox_is_told_of_as_json(sandbox, benchhost) -> None:
    said = benchhost("sandbox", "exec", "--json", "--env", "COLOUR=blue", sandbox, "echo $COLOUR; exit 4")
    assert said.code == 4
    assert (said.json["stdout"], said.json["stderr"], said.json["code"], said.json["reason"]) == (
        "blue\n",
        "",
        4,
        "exited",
    )


@pytest.mark.parametrize(
    "command, options, code, reason",
    [
        ("sleep 30", ["--timeout", "0.3"], 124, "timeout"),
        ("kill -9 $$", [], 137, None),
        ("yes", ["--max-output", "1"], 125, "output_limit"),
    ],
)
def test_a_command_that_is_ended_says_why_with_its_code(sandbox, benchhost, command, options, code, reason) -> None:
    said = benchhost("sandbox", "exec", *options, sandbox, command)
    assert said.code == code
    assert said.err == ("" if reason is None else f"Error: the command was ended: {reason}\n")


def test_a_command_is_given_what_comes_from_standard_input(sandbox, state) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchhost", "sandbox", "exec", "-i", sandbox, "cat"],
        input=b"\0binary\xff",
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (0, b"\0binary\xff")


def test_a_reader_that_has_had_enough_ends_the_command(sandbox, state) -> None:
    command = f"{sys.executable} -m benchhost sandbox exec {sandbox} 'while echo again; do :; done' | head -n 2"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("again\nagain\n", "")


def test_sandboxes_are_listed_by_their_labels_until_they_are_deleted(sandbox, benchhost) -> None:
    assert sandbox in benchhost("sandbox", "ls", "--label", "for=tests").out
    assert benchhost("sandbox", "ls", "--label", "for=others").out == ""
    [told] = benchhost("sandbox", "ls", "--json").json["sandboxes"]
    assert (told["id"], told["labels"], told["state"]) == (sandbox, {"for": "tests"}, "running")
    assert benchhost("sandbox", "rm", sandbox).out == "1 deleted\n"
    assert benchhost("sandbox", "rm", sandbox).out == f"0 deleted; not there: {sandbox}\n"
    assert benchhost("sandbox", "ls", "--json").json == {"sandboxes": []}
    assert "no sandbox" in benchhost("sandbox", "exec", sandbox, "true").err


def test_a_new_sandbox_is_told_of_as_json(benchhost) -> None:
    made = benchhost("sandbox", "create", "--json", "--memory", "1").json
    assert (made["state"], made["resources"]["memory"]) == ("running", 1)
    assert benchhost("sandbox", "rm", "--all").out == "1 deleted\n"


def test_a_label_is_shown_so_that_a_terminal_obeys_none_of_it(benchhost) -> None:
    benchhost("sandbox", "create", "--label", "who=\x1b[2Jme")
    assert "  who=\ufffd[2Jme\n" in benchhost("sandbox", "ls").out
    benchhost("sandbox", "rm", "--all")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["create", "--env", "COLOUR"], "--env: expected NAME=VALUE"),
        (["create", "--image", "a", "--snapshot", "b"], "at most one"),
        (["create", "--sandbox", "none"], "no sandboxes"),
        (["create", "--lifetime", "inf"], "inf is no number of seconds"),
        (["create", "--idle-timeout", "nan"], "nan is no number of seconds"),
        (["create", "--memory", str(2**63)], "is not in the range 1<=x<=1000000"),
        (["exec", "--timeout", "nan", "x", "true"], "nan is no number of seconds"),
        (["create", "--sandbox", "magic"], "installed are: daytona, local"),
        (["rm"], "say which"),
        (["rm", "x", "--all"], "say which"),
        (["escape-suite", "--only", "magic"], "no attack is called 'magic'"),
    ],
)
def test_a_command_that_is_called_wrongly_says_how(benchhost, arguments, message) -> None:
    said = benchhost("sandbox", *arguments)
    assert said.code == 2
    assert message in said.err


def test_an_image_that_is_not_here_is_answered_with_what_to_do(benchhost) -> None:
    said = benchhost("sandbox", "create", "--image", "python:3.12")
    assert (said.code, said.out) == (1, "")
    assert "benchhost sandbox image load FILE --as 'python:3.12'" in said.err


def test_an_image_is_loaded_listed_and_removed(benchhost, image) -> None:
    loaded = benchhost("sandbox", "image", "load", image, "--as", "mine", "--json").json
    assert loaded["names"] == ["mine:latest"]
    assert benchhost("sandbox", "image", "load", image).out.startswith("small:1  sha256:")
    [told] = benchhost("sandbox", "image", "ls", "--json").json["images"]
    assert (told["names"], told["digest"]) == (["mine:latest", "small:1"], loaded["digest"])
    assert "mine:latest, small:1" in benchhost("sandbox", "image", "ls").out
    assert benchhost("sandbox", "image", "rm", "mine", "small:1").code == 0
    assert benchhost("sandbox", "image", "ls").out == ""
    assert "no image is called" in benchhost("sandbox", "image", "rm", "mine").err


def test_a_file_that_holds_no_image_says_so(benchhost, tmp_path) -> None:
    (tmp_path / "no-image").write_bytes(b"no image" * 1000)
    said = benchhost("sandbox", "image", "load", tmp_path / "no-image", "--as", "x")
    assert said.code == 1
    assert "no-image cannot be loaded: it is no archive" in said.err


def test_an_image_in_use_is_not_removed(benchhost, image, state) -> None:
    benchhost("sandbox", "image", "load", image)
    used = state / "sandboxes" / "sandboxes" / ("0" * 32)
    used.mkdir(parents=True)
    label = {"id": "0" * 32, "labels": {}, "image": "small:1", "created_at": 0.0}
    (used / "label.json").write_text(json.dumps(label))
    said = benchhost("sandbox", "image", "rm", "small:1")
    assert said.code == 1
    assert f"in use by {'0' * 32}" in said.err
    assert benchhost("sandbox", "image", "rm", "--force", "small:1").code == 0


def test_attacks_are_shown_as_a_table_with_their_verdicts(benchhost) -> None:
    said = benchhost("sandbox", "escape-suite", "--only", "host-file", "--only", "own-environment")
    assert said.code == 0, said
    assert "Attacks on local, isolation " in said.out
    assert "reads a file of the host" in said.out
    assert said.out.rstrip().endswith("2 stopped")


@pytest.mark.parametrize("verdict, code", [("stopped", 0), ("not applicable", 0), ("escaped", 1), ("unclear", 1)])
def test_an_attack_that_got_out_or_broke_makes_the_command_fail(benchhost, monkeypatch, verdict, code) -> None:
    async def found(opening, *_, **__):
        await (await opening()).aclose()
        yield Finding(name="host-file", tries="reads", verdict=verdict, why="evidence [of] it")

    monkeypatch.setattr("benchhost.sandbox.escape.suite.attack_provider", found)
    said = benchhost("sandbox", "escape-suite", "--json")
    assert said.code == code
    assert said.json["attacks"][0]["verdict"] == verdict
    assert "evidence [of] it" in benchhost("sandbox", "escape-suite").out


@pytest.fixture
def checks(benchhost):
    def look(*arguments):
        said = benchhost("doctor", "--json", "--only", "arithmetic", *arguments)
        return said.code, {each["name"]: each for each in said.json["checks"]}

    return look


def test_the_doctor_says_what_is_enforced_here(checks, state) -> None:
    code, found = checks()
    assert code == 0
    assert list(found) == [
        "python",
        "sandboxes",
        "judge",
        "access",
        "probing",
        "uploads",
        "secrets",
        "store",
        "plugins",
    ]
    sandboxes = "\n".join(found["sandboxes"]["said"])
    assert "isolation " in sandboxes
    assert "limit of memory: " in sandboxes
    assert "cgroups keep" in sandboxes
    assert found["judge"] == {
        "name": "judge", "outcome": "ok", "said": ["code is judged, proved with right, wrong and hostile answers"]
    }  # fmt: skip
    assert found["access"]["outcome"] == "warning", "everybody is let in, and that is to be said"
    assert not state.exists(), "looking changes nothing"


def test_the_doctor_tells_of_less_than_the_settings_ask_for(checks, monkeypatch) -> None:
    monkeypatch.setenv("BENCHHOST_AUTH", "bearer")
    code, found = checks("--sandbox", "magic")
    assert code == 1
    assert found["sandboxes"]["outcome"] == "problem"
    assert "magic" in found["sandboxes"]["said"][0]
    assert found["access"]["outcome"] == "problem"
    assert "BENCHHOST_API_KEY" in found["access"]["said"][0]


def test_the_doctor_warns_of_policies_that_bound_little_and_says_what_others_tell(checks, tmp_path) -> None:
    policies = tmp_path / "probing.toml"
    policies.write_text('["arithmetic/default"]\nfeedback = "sum"\nsums = 5\n["*/test"]\nattempts = 3\npooled = true\n')
    code, found = checks("--probing", policies)
    assert (code, found["probing"]) == (0, {"name": "probing", "outcome": "ok", "said": [
        "arithmetic/default: sums tell a tenant up to 33 bits of all answers, for scores from 0 to 1",
        "*/test: all tenants together may guess at each answer 3 times",
    ]})  # fmt: skip
    policies.write_text('["arithmetic/default"]\nfold = true\n')
    code, found = checks("--probing", policies)
    assert (code, found["probing"]["outcome"]) == (0, "warning")
    assert "arithmetic/default: responses may be tried without end" in found["probing"]["said"][0]
    policies.write_text('["arithmetic/default"]\nsums = 3\n')
    code, found = checks("--probing", policies)
    assert (code, found["probing"]["outcome"]) == (1, "problem")
    assert "leave sums out" in found["probing"]["said"][0]


def test_the_doctor_asks_the_bucket_of_uploads(checks, monkeypatch) -> None:
    assert checks()[1]["uploads"]["said"] == [
        "kept here for 86400 s, up to 67108864 bytes each and 1024 MB of a tenant"
    ]
    monkeypatch.setenv("SUBMISSION_ARTIFACT_BUCKET", BUCKET)
    monkeypatch.setenv("AWS_REGION", "")
    assert "set AWS_REGION" in checks()[1]["uploads"]["said"][0]
    monkeypatch.setenv("AWS_REGION", REGION)
    with s3() as double:
        monkeypatch.setenv("BENCHHOST_UPLOAD_ENDPOINT", double.url)
        for name, value in {**ENVIRON, "AWS_SECRET_ACCESS_KEY": "another"}.items():
            monkeypatch.setenv(name, value)
        code, found = checks()
        assert (code, found["uploads"]["outcome"]) == (1, "problem")
        assert "the bucket submissions cannot be read" in found["uploads"]["said"][0]
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ENVIRON["AWS_SECRET_ACCESS_KEY"])
        assert checks()[1]["uploads"]["said"][0] == "kept in the bucket submissions, which answers"


def test_the_doctor_finds_secrets_that_lie_open(checks, tmp_path, state) -> None:
    Path("benchhost.toml").write_text('api_key = "very secret"\n')
    Path("benchhost.toml").chmod(0o600)
    assert checks()[1]["secrets"]["outcome"] == "ok"
    state.mkdir()
    (state / "benchhost.pid").write_text("1")
    (state / "benchhost.pid").chmod(0o644)
    assert checks()[1]["secrets"]["outcome"] == "ok", "a process id is no secret"
    Path("benchhost.toml").chmod(0o644)
    (state / "benchhost.db").touch(0o644)
    (state / "benchhost.db").chmod(0o644)
    code, found = checks()
    assert code == 1
    assert "api_key" in found["secrets"]["said"][0]
    assert "very secret" not in json.dumps(found)
    assert "benchhost.db" in found["secrets"]["said"][1]


def test_the_doctor_finds_a_store_that_cannot_be_used(checks, state) -> None:
    state.mkdir()
    (state / "benchhost.db").write_bytes(b"this is no database, although it is long enough to be one" * 100)
    (state / "benchhost.db").chmod(0o600)
    code, found = checks()
    assert code == 1
    assert found["store"]["outcome"] == "problem"


def test_the_doctor_tells_of_a_plugin_that_is_to_be_served_and_is_not_installed(benchhost) -> None:
    said = benchhost("doctor", "--json", "--sandbox", "none", "--only", "nothing")
    [plugins] = [each for each in said.json["checks"] if each["name"] == "plugins"]
    assert (said.code, plugins["outcome"]) == (1, "problem")
    assert plugins["said"][0].startswith("no installed plugin is called nothing; installed are: ")


def test_the_doctor_tells_of_faulty_plugins_and_fails_where_they_are_fatal(benchhost, monkeypatch) -> None:
    for variable in [name for name in os.environ if "GSM8K" in name]:
        monkeypatch.delenv(variable)
    said = benchhost("doctor", "--only", "gsm8k")
    assert said.code == 0
    assert "gsm8k is faulty: wrong-settings" in said.out
    assert benchhost("doctor", "--only", "gsm8k", "--strict").code == 1
