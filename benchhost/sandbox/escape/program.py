"""What every program of an attack begins with, and how it says what became of it.

A program says ``began``, then whatever it found, and ``refused`` with the reason for each thing that was not
allowed. It ends with ``done``, or with ``broken`` when something else went wrong.
"""

from __future__ import annotations

_BEGINNING = r'''
import ctypes, fcntl, glob, mmap, os, platform, resource, select, signal, socket, stat, struct, sys, time

E = os.environ
TMP = E.get("TMPDIR", "/tmp")  # what the host calls /tmp of the sandbox
ARM = platform.machine() in ("aarch64", "arm64")
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def say(word, what=""):
    os.write(1, f"{word} {what}\n".encode(errors="replace"))

def call(x86_64, aarch64, *arguments):
    """Make a system call by its number."""
    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = libc.syscall(ctypes.c_long(aarch64 if ARM else x86_64), *converted)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def attempt(do, *arguments):
    """Do something that may be refused; say so, and go on."""
    try:
        return do(*arguments)
    except (OSError, MemoryError) as error:
        say("refused", error)
        return None

def tell(path):
    """Say what is in a file."""
    with open(path, "rb", buffering=0) as file:
        say("found", file.read(65536).replace(b"\n", b" ").decode("latin-1"))

def openable(path, how=os.O_WRONLY):
    """Say whether a file can be opened, without doing anything to it."""
    os.close(os.open(path, how | os.O_NONBLOCK))
    say("reached", path)

say("began")
'''

_END = r"""
try:
    exec(compile(PROGRAM, "attack", "exec"), globals())
except (OSError, MemoryError) as error:
    say("refused", error)
except Exception as error:
    say("broken", repr(error))
else:
    say("done")
"""


def whole(program: str) -> str:
    """Put a program together with its beginning and its end."""
    return f"{_BEGINNING}\nPROGRAM = {program!r}\n{_END}"
