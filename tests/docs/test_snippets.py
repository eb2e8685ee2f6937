"""What the pages show is done: programs are run, commands are given, answers are compared with those shown."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchhost.settings import load
from benchhost.testing import RunningServer, serving

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.path.relpath(Path(sys.executable).with_name("benchhost"), ROOT)

NOT_RUN = {
    "git clone": "the tests are in the clone already",
    "cd": "a reader changes to the clone",
    "docker": "tests/workshop/test_container.py does what the Containerfile says",
    "python3 -m venv": "the tests run in a virtual environment",
    ".": "likewise",
    ".venv/bin/pytest": "the tests run already",
}
"""Commands that a reader gives and the tests do not, and why."""

WITHIN = 15.0
"""Seconds until a server that was asked to reload has done so."""


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    with contextlib.ExitStack() as stack:
        reader = Reader(tmp_path, stack)
        monkeypatch.chdir(reader.folder)
        yield reader
        if reader.demo_port is not None:
            reader.demo("stop")


def until_loaded(url: str) -> None:
    """Wait as long as a reader would, who is not as fast as a test."""
    with contextlib.suppress(urllib.error.HTTPError):  # a host with a key says it to none but its holders
        while b'"loading"' in urllib.request.urlopen(f"{url}/v1/plugins", timeout=60).read():
            time.sleep(0.02)


class Reader:
    """Somebody who does what a page says, from its top to its end, in a folder of their own."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder / "here"
        self.folder.mkdir()
        self.installed = folder / "installed"
        self.installed.mkdir()
        self.demo_port: int | None = None
        self._stack = stack
        self._state = folder / "state"
        self._server: RunningServer | None = None
        self._names: dict[str, object] = {"__name__": "page"}
        self._reloading = False
        self._printed: str | None = None
        self._path = [str(Path(sys.executable).parent)]
        if shutil.which("curl") is None:
            self._path.append(str(_curl(folder)))

    def read(self, block) -> None:
        """Do what one block says."""
        if block.file is not None:
            file = self.folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, "utf-8")
            if file.name == "benchhost.toml":
                load(file, {}, {})
        elif block.language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(self._here(block.text), f"line {block.line}", "exec"), self._names)
            self._printed = printed.getvalue()
        elif block.language == "text" and self._printed is not None:
            assert_shown(self._printed, block.text)
            self._printed = None
        elif block.language == "console":
            for command, shown in commands_of(block.text):
                self.give(command, self._here(shown))
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)

    def give(self, command: str, shown: str) -> None:
        """Give one command, and compare what it says with what is shown."""
        words = shlex.split(command)
        environ = {}
        while words and (assignment := re.fullmatch(r"([A-Z_]+)=(.*)", words[0])):
            environ[assignment[1]] = assignment[2]
            del words[0]
        if words[:2] == ["make", "demo"]:
            assert_shown(self.demo("start"), self._here(shown).replace(".venv/bin/benchhost", PROGRAM))
        elif words[:2] == ["make", "demo-stop"]:
            assert_shown(self.demo("stop"), shown)
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target: {command}"
        elif words[:2] == ["pip", "install"]:
            for what in words[2:]:
                self.install(what)
        elif words[:2] == ["benchhost", "serve"]:
            self.serve(words[2:], environ)
        elif not any(command.startswith(f"{start} ") for start in NOT_RUN):
            self.run(self._here(command), shown)
            self._reloading = self._reloading or words[:2] == ["benchhost", "reload"]

    def run(self, command: str, shown: str) -> None:
        """Have a shell run a command; after a reload, as often as it takes for the new plugins to be there."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("BENCHHOST_")}
        environ |= {"PATH": os.pathsep.join([*self._path, os.environ["PATH"]]), "PYTHONPATH": str(self.installed)}
        environ |= {"BENCHHOST_STATE": str(self._state), "NO_COLOR": "1"}
        end = time.monotonic() + (WITHIN if self._reloading else 0)
        while True:
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=self.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
            )
            failed = done.returncode != 0
            try:
                assert failed == ("Error: " in shown), f"{command}\nended with {done.returncode}:\n{done.stdout}"
                assert_shown(done.stdout, shown)
            except AssertionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                return

    def serve(self, flags: list[str], environ: dict[str, str]) -> None:
        """Start the server that the page starts, in the place of the one before."""
        if self._server is not None:
            self._server.stop()
        running = serving(self._state, *flags, plugins=[self.installed], environ=environ)
        self._server = self._stack.enter_context(running)
        until_loaded(self._server.url)

    def install(self, what: str) -> None:
        """Install what the page has made, as pip would; what the tests have installed must only be there."""
        folder = self.folder / what
        if (folder / "pyproject.toml").is_file():
            build = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
            done = subprocess.run(
                [sys.executable, "-c", build, str(folder.parent)],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
            with zipfile.ZipFile(folder.parent / done.stdout.strip().splitlines()[-1]) as wheel:
                wheel.extractall(self.installed)
        elif not what.startswith("-") and not (ROOT / what / "pyproject.toml").is_file():
            assert importlib.metadata.version(what), f"{what} is not a folder, and the tests have no such package"

    def demo(self, action: str) -> str:
        """Do what `make demo` and `make demo-stop` do, on a port of our own."""
        if self.demo_port is None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.demo_port = probe.getsockname()[1]
        command = [sys.executable, str(ROOT / "docs" / "demo.py"), action, "--port", str(self.demo_port)]
        done = subprocess.run(
            [*command, "--folder", str(self.folder / ".demo")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _here(self, text: str) -> str:
        """Say of a text where the servers are that it means."""
        if self._server is not None:
            text = re.sub(r"\b(localhost|127\.0\.0\.1):8000\b", self._server.url.removeprefix("http://"), text)
        if self.demo_port is not None:
            text = re.sub(r"\b(localhost|127\.0\.0\.1):8765\b", f"127.0.0.1:{self.demo_port}", text)
        return text


def commands_of(console: str) -> Iterator[tuple[str, str]]:
    """Every command of a console, with what is shown of its output."""
    lines = console.splitlines()
    while lines:
        line = lines.pop(0)
        assert line.startswith("$ "), f"expected a command, found {line!r}"
        command = line[2:]
        while command.endswith("\\") or not is_whole(command):
            command = f"{command}\n{lines.pop(0)}"
        shown = []
        while lines and not lines[0].startswith("$ "):
            shown.append(lines.pop(0))
        yield re.sub(r"\s+# .*$", "", command), "\n".join(shown)


def is_whole(command: str) -> bool:
    """Whether every quotation of a command is closed."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def assert_shown(said: str, shown: str) -> None:
    """Compare an output with what a page shows, where `…` may stand for anything, and line ends for nothing."""
    if not shown.strip():
        return
    pattern = ".*".join(re.escape(re.sub(r"\s", "", part)) for part in shown.split("…"))
    assert re.fullmatch(pattern, re.sub(r"\s", "", said), re.DOTALL), f"the page shows:\n{shown}\n\nand it is:\n{said}"


def _curl(folder: Path) -> Path:
    """Put a stand-in for curl into a folder, where there is none: with the options that the pages use."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "curl"
    program.write_text(f"#!{sys.executable}\n{(Path(__file__).parent / 'curl.py').read_text('utf-8')}")
    program.chmod(0o755)
    return folder / "bin"


def test_a_reader_who_does_what_a_page_says_sees_what_it_shows(each_page, reader: Reader) -> None:
    for block in each_page.blocks:
        try:
            reader.read(block)
        except Exception as error:
            error.add_note(f"in {each_page}, the block at line {block.line}")
            raise


@pytest.mark.parametrize(
    "said, shown",
    [
        ('{"a":1,\n "b":2}', '{"a": 1, "b": 2}'),
        ("score 0.25 of 7", "score … of 7"),
        ("anything", ""),
        ("{}\n", "{}"),
    ],
)
def test_an_output_is_what_is_shown(said: str, shown: str) -> None:
    assert_shown(said, shown)


@pytest.mark.parametrize("said, shown", [('{"a":1}', '{"a":2}'), ("score 0.25", "score … of 7"), ("ab", "a.")])
def test_an_output_is_not_what_is_shown(said: str, shown: str) -> None:
    with pytest.raises(AssertionError):
        assert_shown(said, shown)


def test_commands_and_what_they_say_are_told_apart() -> None:
    console = "$ first 'a\nb' \\\n  c\nsaid\nmore\n$ second   # why\n"
    assert list(commands_of(console)) == [("first 'a\nb' \\\n  c", "said\nmore"), ("second", "")]
