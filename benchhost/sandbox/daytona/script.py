"""The shell scripts that carry a command through a Daytona session, and how what they print is read.

A session's log is made of lines of text: NUL bytes and a missing last newline do not survive it, a command that
ends the session's shell leaves no exit code, and what a command starts holds the log open. So a script of ours
runs the command apart from the session, sends both its outputs as lines of base64, and closes each with
``:CODE``. It needs what every image with a shell has: ``dd``, ``base64``, ``mkfifo``.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Iterator, Mapping

from benchhost.contract import Command

MARK = "BENCHHOST_COMMAND"
"""The variable by which every process that a command has started is found."""

NO_SUCH_DIRECTORY = "cwd"
"""What stands in place of the exit code when the directory to start in is not there."""

_RUN = r"""
d=$1 w=$2 i=$3; shift 3
mkdir -m 700 "$d" && mkfifo "$d/o" "$d/e" || exit 1
echo $$ >"$d/s"
end() { rm -rf "$d" "$d.in" "$d.sh"; printf ':%s\n' "$1"; printf ':%s\n' "$1" >&3; exit 0; }
relay() {
  while b=$(dd bs=65536 count=1 2>/dev/null | base64 2>/dev/null) && [ -n "$b" ]; do
    printf '%s\n' "$b"; printf . >>"$d/n"
  done
}
exec 3>&2 2>/dev/null
[ -z "$w" ] || cd -- "$w" >/dev/null || end cwd
: >"$d/n"
(exec <"$d/o" 3>&-; relay) & o=$!
(exec <"$d/e" >&3 3>&-; relay) & e=$!
(exec "$@" <"$i" >"$d/o" 2>"$d/e" 3>&-)
s=$?
held() {
  [ ! -e "/proc/$$/fd" ] || ls -l /proc/[0-9]*/fd/[1-9]* 2>/dev/null | grep -qF -e "${d##*/}/o" -e "${d##*/}/e"
}
(exec >/dev/null 3>&-; k=0 n= q=0
  while [ "$k" -lt 40 ] && [ "$q" -lt 2 ]; do
    sleep 0.5 || sleep 1
    m=$(wc -c <"$d/n"); q=$((q+1)); [ "$m" = "$n" ] && held || q=0
    n=$m k=$((k+1))
  done
  kill "$o" "$e"
) & t=$!
wait "$o"; wait "$e"; kill "$t"
end "$s"
"""
"""Arguments: a folder to make, where to start, what to read, and the command. When something in the background
still holds an output after the command, what it says is waited for while it says something, and then no more. When
nothing does, what is still in the pipes is waited for, however slow the machine is: a relay reads from descriptor 0."""

_APART = r"""
command -v setsid >/dev/null 2>&1 || { shift; exec "$@"; }
exec setsid /bin/sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$@"
"""
"""Arguments: where to leave the number of the process group, and the command."""

_KILL = r"""
p=$(cat "$1/p" 2>/dev/null) n=0
while [ "$n" -lt 100 ]; do
  [ -z "$p" ] || kill -9 "-$p" 2>/dev/null
  f=$(grep -lsF -e "$2" /proc/[0-9]*/environ 2>/dev/null)
  [ -n "$f" ] || exit 0
  for x in $f; do x=${x#/proc/}; kill -9 "${x%/environ}" 2>/dev/null; done
  n=$((n+1))
done
exit 1
"""
"""Arguments: the folder of the command, and its mark. Again and again, since what is killed may be forking."""


_ALIVE = r"""
p=$(cat "$1/s" 2>/dev/null) && kill -0 "$p" 2>/dev/null
"""
"""Argument: the folder of the command."""

_CLEAR = '/bin/sh -c "$1" sh "$2" "$3"; rm -rf -- "$2" "$2.in" "$2.sh"'
"""Arguments: the script that kills, and its arguments."""

LONGEST_LINE = 100_000
"""Bytes that a command may have in a line; a longer one goes in a file. Linux takes 128 KiB in one argument."""


def folder(name: str) -> str:
    """Where the script of the command ``name`` keeps its pipes; its input lies beside it."""
    return f"/tmp/.benchhost-{name}"  # noqa: S108 - in the sandbox, made with the mode 700, and the name cannot be guessed


def input_file(name: str) -> str:
    """Where what the command ``name`` reads is to be; the script removes it."""
    return f"{folder(name)}.in"


def command_file(name: str) -> str:
    """Where a command that is too long for a line is to be; the script removes it."""
    return f"{folder(name)}.sh"


def run(name: str, command: Command, *, cwd: str | None, env: Mapping[str, str], stdin: bool) -> str:
    """Say the line for a session's shell that runs a command; with ``stdin`` it reads its input file.

    Raises ``ValueError`` when a variable's name cannot be one, and for a NUL anywhere.
    """
    for variable in env:
        if not variable or "=" in variable or variable.startswith("-"):
            raise ValueError(f"{variable!r} cannot be the name of a variable")
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    if isinstance(command, str) and too_long(command):
        argv = ["/bin/sh", command_file(name)]
    at = folder(name)
    variables = [f"{variable}={value}" for variable, value in {**env, MARK: name}.items()]
    apart = ["env", *variables, "/bin/sh", "-c", _APART, "sh", f"{at}/p", *argv]
    reads = input_file(name) if stdin else "/dev/null"
    line = shlex.join(["/bin/sh", "-c", _RUN, "sh", at, cwd or "", reads, *apart])
    if "\0" in line:
        raise ValueError("a command, its directory and its environment cannot have a NUL in them")
    return line


def too_long(command: str) -> bool:
    """Say whether a command has to go in a file."""
    return len(command.encode()) > LONGEST_LINE


def alive(name: str) -> str:
    """Say the line that succeeds while the script of a command runs."""
    return shlex.join(["/bin/sh", "-c", _ALIVE, "sh", folder(name)])


def kill(name: str) -> str:
    """Say the line that ends a command and all that it has started."""
    return shlex.join(["/bin/sh", "-c", _KILL, "sh", folder(name), f"{MARK}={name}"])


def clear(name: str) -> str:
    """Say the line that ends a command that may have begun after all, and removes what it has left."""
    return shlex.join(["/bin/sh", "-c", _CLEAR, "sh", _KILL, folder(name), f"{MARK}={name}"])


_END = re.compile(rf":(\d{{1,3}}|{NO_SUCH_DIRECTORY})\r?")


class Reading:
    """One of the two outputs, as the script sends it: bytes come out, and in the end the code."""

    def __init__(self) -> None:
        self.ended: str | None = None
        """What stands behind the colon, once it has come."""
        self.spoke = False
        """Whether anything of the command has come."""
        self.noise = ""
        """What was said by others than the script, such as a shell that lacks something."""
        self.lines = 0
        """How many lines have been read."""
        self._rest = ""
        self._at = 0

    def again(self) -> None:
        """Begin anew with a log that is sent from its beginning: what has been read is left out."""
        self._at, self._rest = 0, ""

    def feed(self, text: str) -> Iterator[bytes]:
        """Take what has come, in whatever pieces, and yield what it says."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._at += 1
            if self._at <= self.lines or self.ended is not None:
                continue
            self.lines = self._at
            if end := _END.fullmatch(line):
                self.ended = end[1]
                continue
            try:
                data = base64.b64decode(line, validate=True)
            except (binascii.Error, ValueError):  # which it says of letters beyond ASCII
                self.noise = f"{self.noise}{line}\n"[:4096]
                continue
            if data:
                self.spoke = True
                yield data
