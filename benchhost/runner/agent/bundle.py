"""The files of an agent: what lies beside its contract, as it is put into each sandbox."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

LEFT_OUT = (
    "__pycache__", ".git", ".venv", "venv", ".env", ".DS_Store", "contract.py", "contract.yaml",
    "*.pyc", "*.pyo", "*.pyd", "*.so", "*.dll", "*.dylib", "*.egg-info",
)  # fmt: skip
"""Names that are never bundled, as in Valkyrie: what is no part of the agent, or only works where it was made."""


def copy_bundle(folder: Path, copy: Path) -> bool:
    """Copy an agent's files, so that all attempts of a run have the same; ``False`` if there are none."""
    shutil.copytree(folder, copy, symlinks=True, ignore=_ignored)
    return any(copy.iterdir())


def digest_of_bundle(folder: Path) -> str:
    """Digest the names and the contents of an agent's files, to 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder)):
        if path.is_symlink():
            content = b"-> " + str(path.readlink()).encode()
        else:
            content = b"%o " % (path.stat().st_mode & 0o111) + hashlib.sha256(path.read_bytes()).digest()
        name = path.relative_to(folder).as_posix().encode()
        digest.update(b"%d %b %d %b" % (len(name), name, len(content), content))
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if _ignored("", [path.name]):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _ignored(_: str, names: list[str]) -> list[str]:
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in LEFT_OUT)]
