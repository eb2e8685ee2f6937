"""Containerfile and compose.yaml, kept true without an engine: they are parsed, and their commands are run."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from benchhost.settings import describe

ROOT = Path(__file__).resolve().parents[2]
VENV = "/opt/benchhost"
STATE = "/var/lib/benchhost"


class Instruction(NamedTuple):
    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """The words of a value, which is a JSON array or is written as for a shell."""
        return json.loads(self.value) if self.value.startswith("[") else shlex.split(self.value)


class Stage(NamedTuple):
    base: str
    name: str | None
    instructions: list[Instruction]

    def all(self, name: str) -> list[Instruction]:
        return [one for one in self.instructions if one.name == name]

    def one(self, name: str) -> Instruction:
        (only,) = self.all(name)
        return only


def parse_containerfile(text: str) -> list[Stage]:
    without_comments = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    lines = without_comments.replace("\\\n", " ").splitlines()
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, lines)):
        name, value = line.split(maxsplit=1)
        if name == "FROM":
            base, *alias = value.split()
            stages.append(Stage(base, alias[1] if alias else None, []))
        else:
            stages[-1].instructions.append(Instruction(name, value))
    return stages


STAGES = parse_containerfile((ROOT / "Containerfile").read_text("utf-8"))
BUILD, FINAL = STAGES[0], STAGES[-1]
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICE: dict[str, Any] = COMPOSE["services"]["benchhost"]


def flag(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


# The image


def test_what_builds_the_image_is_not_in_it() -> None:
    assert len(STAGES) == 2
    assert [copy.words for copy in FINAL.all("COPY")] == [[f"--from={BUILD.name}", VENV, VENV]]


def test_both_stages_stand_on_one_slim_python_that_is_tested() -> None:
    assert BUILD.base == FINAL.base
    version = re.fullmatch(r"python:(3\.\d+)-slim", FINAL.base)
    assert version
    assert f"Python :: {version[1]}" in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    assert int(FINAL.one("USER").value) > 0
    assert FINAL.instructions.index(FINAL.one("USER")) > FINAL.instructions.index(FINAL.all("RUN")[-1])


def test_the_state_lies_in_a_volume_that_the_user_owns() -> None:
    assert FINAL.one("VOLUME").value == STATE
    assert f"BENCHHOST_STATE={STATE}" in FINAL.one("ENV").words, "every command in the container is about this host"
    user = FINAL.one("USER").value
    assert f"--owner={user} --group={user} --mode=0700 {STATE}" in FINAL.one("RUN").value


def test_the_port_is_one_and_the_same_everywhere() -> None:
    port = FINAL.one("EXPOSE").value
    assert flag(FINAL.one("CMD").words, "--port") == port
    assert f"'127.0.0.1', {port}," in FINAL.one("HEALTHCHECK").value


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").split()
    let_through = {line[1:] for line in lines if line.startswith("!")}
    copied = {source for copy in BUILD.all("COPY") for source in copy.words[:-1]}
    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)


def test_of_the_packages_nothing_but_caches_is_ignored() -> None:
    packages = [ROOT / "benchhost", *ROOT.glob("plugins/*/benchhost_*")]
    left_out = {
        path
        for package in packages
        for folder, names, files in os.walk(package)
        for path in ignored(folder, names + files)
    }
    assert left_out <= {"__pycache__"}
    assert ignored(str(ROOT / "plugins" / "arithmetic"), ["tests", "benchhost_arithmetic"]) == ["tests"]


# compose.yaml


def test_compose_builds_this_image_with_plugins_of_the_tree() -> None:
    build = SERVICE["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    arguments = {argument.value.partition("=")[0] for argument in BUILD.all("ARG")}
    assert build["args"].keys() <= arguments
    for plugin in [*build["args"]["PLUGINS"].split(), *shlex.split(BUILD.one("ARG").value.partition("=")[2])]:
        assert (ROOT / plugin / "pyproject.toml").is_file()


def test_compose_keeps_the_state_in_a_named_volume() -> None:
    assert SERVICE["volumes"] == [f"state:{STATE}"]
    assert "state" in COMPOSE["volumes"]


def test_compose_publishes_the_port_of_the_image_on_loopback() -> None:
    address, _, inner = SERVICE["ports"][0].rpartition(":")
    assert inner == FINAL.one("EXPOSE").value
    assert address.startswith("127.0.0.1:")


def test_compose_sets_what_is_a_setting_and_waits_for_the_host_to_drain() -> None:
    known = {setting.variable for setting in describe()}
    assert SERVICE["environment"].keys() <= known
    assert SERVICE["environment"]["BENCHHOST_API_KEY"] is None, "the key comes from the shell, not from this file"
    assert SERVICE["environment"]["BENCHHOST_DRAIN_TIMEOUT"] < int(SERVICE["stop_grace_period"].removesuffix("s"))


def test_compose_takes_away_what_the_host_does_not_need() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit"} <= SERVICE.keys()
    assert "privileged" not in SERVICE


def test_the_options_for_sandboxes_are_ready_to_be_taken_out_of_their_comments() -> None:
    with_sandboxes = yaml.safe_load(re.sub(r"^( +)# - ", r"\1- ", COMPOSE_TEXT, flags=re.MULTILINE))
    options = with_sandboxes["services"]["benchhost"].pop("security_opt")
    assert options == [
        "no-new-privileges:true",
        "seccomp=unconfined",
        "systempaths=unconfined",
        "apparmor=unconfined",
    ]
    assert with_sandboxes["services"]["benchhost"] == {k: v for k, v in SERVICE.items() if k != "security_opt"}


# The commands


def ignored(folder: str, names: list[str]) -> list[str]:
    """What .dockerignore keeps out of what it lets through: a name wherever it is (`**/name`), or a path."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    patterns = [line.split("/") for line in lines if line and line[0] not in "#!" and line != "*"]
    found = []
    for name in names:
        path = (Path(folder, name)).relative_to(ROOT).parts
        for pattern in patterns:
            tail = path[-1:] if pattern[0] == "**" else path
            words = pattern[1:] if pattern[0] == "**" else pattern
            if len(tail) == len(words) and all(map(fnmatch.fnmatch, tail, words)):
                found.append(name)
    return found


def build_in(folder: Path) -> Path:
    """Do what the first stage says, in a folder, and return the virtual environment that it made.

    What the host depends on is taken from the environment of these tests, so that nothing is downloaded;
    pip still finds out whether it is all there and fits the lock.
    """
    source, venv = folder / "src", folder / "venv"
    for copy in BUILD.all("COPY"):
        *names, target = copy.words
        for name in names:
            to = source / (name if target == "./" else target)
            to.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, to, ignore=ignored)
            else:
                shutil.copy(ROOT / name, to)
    offline = os.environ | {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    (argument,) = (shlex.split(one.value)[0].partition("=") for one in BUILD.all("ARG"))
    for run in BUILD.all("RUN"):
        subprocess.run(
            ["sh", "-euc", run.value.replace(VENV, str(venv))],
            cwd=source,
            env=offline | {"PATH": path, argument[0]: argument[2]},
            check=True,
            capture_output=True,
            timeout=120,
        )
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(venv)}))
        (packages / "of_the_tests.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return venv


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_image_builds_serves_and_is_found_healthy(tmp_path: Path) -> None:
    venv = build_in(tmp_path)
    port, state = str(free_port()), str(tmp_path / "state")
    replaced = {"0.0.0.0": "127.0.0.1", FINAL.one("EXPOSE").value: port}
    command = [replaced.get(word, word) for word in FINAL.one("CMD").words]
    check = json.loads(FINAL.one("HEALTHCHECK").value.partition("CMD ")[2])
    check[-1] = check[-1].replace(FINAL.one("EXPOSE").value, port)
    environment = dict(word.split("=", 1) for word in FINAL.one("ENV").words)
    environment |= {"PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}", "BENCHHOST_STATE": state}

    def is_healthy() -> bool:
        return subprocess.run(check, env=environment, capture_output=True, timeout=30).returncode == 0

    assert Path(shutil.which("benchhost", path=environment["PATH"]) or "").parent == venv / "bin"
    assert not is_healthy()
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as host:
        try:
            deadline = time.monotonic() + 30
            while not is_healthy():
                if host.poll() is not None or time.monotonic() > deadline:
                    host.kill()
                    pytest.fail(f"the host did not become healthy:\n{host.communicate()[0].decode()}")
                time.sleep(0.1)
        finally:
            host.send_signal(signal.SIGTERM)
        output, _ = host.communicate(timeout=30)
    assert host.returncode == 0, output.decode()
    assert list(Path(state).iterdir()), "the host kept nothing in its state folder"
