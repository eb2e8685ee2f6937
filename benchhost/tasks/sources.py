"""Reading tasks from files: JSON lines, CSV, members of archives.

Each may be compressed with gzip. What is wrong with a file is said with its name, the line and the field,
but without a word of its content, which may hold hidden answers.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import msgspec

from benchhost.errors import DatasetError

T = TypeVar("T")
StructT = TypeVar("StructT", bound=msgspec.Struct)

Source = str | os.PathLike[str] | io.BufferedIOBase
"""A path, or an open file such as :func:`read_archive` returns. It is closed when it has been read."""

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"

# What msgspec may say of a value, where it is sure to name only types, fields and bounds of the struct. Its
# other texts, and those of an author's own __post_init__, may quote the value.
_QUOTES_NOTHING = re.compile(
    r"Expected `[^`]+`, got `[^`]+`|Expected `\w+` (?:[<>]=?|of length|that's a multiple of|matching regex) .+"
    r"|Object missing required field `[^`]+`|Invalid (?:UUID|RFC3339|base64|ISO8601|decimal)\b[\w -]*"
    r"|Integer value out of range|JSON is malformed: [^`]+ \(byte \d+\)|Input data was truncated"
)
_AT = re.compile(r"(?P<what>.*) - at `(?P<path>[^`]+)`\Z", re.DOTALL)


def read_jsonl(source: Source, row_type: type[T]) -> Iterator[T]:
    """Read a file of JSON lines, one ``row_type`` (usually a task) on each; blank lines are passed over.

    The file is opened when the first row is asked for, and rows are read as they are asked for.
    Raises :class:`~benchhost.errors.DatasetError`.
    """
    decode = msgspec.json.Decoder(row_type).decode
    with _opened(source) as (file, name):
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = decode(line.removeprefix(_BOM) if number == 1 else line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise _wrong_row(name, number, row_type, error) from None
            yield row


def read_csv(source: Source, row_type: type[StructT], *, delimiter: str = ",") -> Iterator[StructT]:
    """Read a CSV file in UTF-8 whose first line names the columns, one ``row_type`` (usually a task) a row.

    Cells become what their field is: ``"3"`` an int, ``"true"`` a bool. An empty cell counts as absent
    when its field has a default, and so takes it. Columns of which ``row_type`` knows nothing are left out.

    Opens and raises like :func:`read_jsonl`.
    """
    optional = {field.encode_name for field in msgspec.structs.fields(row_type) if not field.required}
    with _opened(source) as (file, name):
        text = io.TextIOWrapper(cast(IO[bytes], file), "utf-8-sig", newline="")
        rows = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            header = next(rows, None)
            if header is None:
                raise DatasetError(f"{name} is empty: expected a first line that names the columns")
            if len(set(header)) < len(header):
                raise DatasetError(f"{name}, line 1: two columns have the same name")
            for cells in rows:
                if not cells:  # a blank line
                    continue
                if len(cells) != len(header):
                    expected = f"{len(header)} cells, as in the first line"
                    raise DatasetError(f"{name}, line {rows.line_num}: expected {expected}, got {len(cells)}")
                known = {
                    column: cell for column, cell in zip(header, cells, strict=True) if cell or column not in optional
                }
                try:
                    row = msgspec.convert(known, row_type, strict=False)
                except msgspec.ValidationError as error:
                    raise _wrong_row(name, rows.line_num, row_type, error) from None
                yield row
        except csv.Error as error:
            raise DatasetError(f"{name}, line {rows.line_num}: not CSV: {error}") from None
        except UnicodeDecodeError:
            raise DatasetError(f"{name}, after line {rows.line_num}: not UTF-8") from None


class _Verified(io.BytesIO):
    """Content whose digest was as expected, with the name that errors call it by."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def read_archive(path: str | os.PathLike[str], member: str | None = None, *, sha256: str) -> io.BufferedIOBase:
    """Read a file, or one member of a zip or tar archive, if its content has this ``sha256``, in hex.

    The digest is that of what is returned: of the member when one is named, which an archive packed
    anew leaves as it was, otherwise of the file. It is read into memory, so that what was verified is
    what is used.

    Raises :class:`~benchhost.errors.DatasetError`.
    """
    name = f"{path}" if member is None else f"{member} in {path}"
    with _explained(name):
        content = Path(path).read_bytes() if member is None else _member(Path(path), member)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        raise DatasetError(f"{name} is not the expected file: expected the sha256 {sha256}, got {found}")
    return _Verified(content, name)


def _member(path: Path, member: str) -> bytes:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            if member in names:
                try:
                    return archive.read(member)
                except RuntimeError as error:  # it has a password, or is packed in a way that Python cannot unpack
                    raise DatasetError(f"{member} in {path} cannot be unpacked: {error}") from None
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            files = {info.name: info for info in tar if info.isfile()}
            file = tar.extractfile(files[member]) if member in files else None
            if file is not None:
                return file.read()
        names = list(files)
    else:
        raise DatasetError(f"{path} is neither a zip nor a tar archive")
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    raise DatasetError(f"{path} has no file {member!r} in it; it has {shown or 'nothing'}")


@contextmanager
def _opened(source: Source) -> Iterator[tuple[io.BufferedIOBase, str]]:
    """Open a source for reading, unpacked when it is compressed, and give it with its name for errors."""
    path = None if isinstance(source, io.BufferedIOBase) else Path(source)
    name = str(getattr(source, "name", "an open file") if path is None else path)
    with _explained(name), path.open("rb") if path else cast(io.BufferedIOBase, source) as raw:
        compressed = raw.read(2) == _GZIP
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw) if compressed else raw as file:
            yield file, name


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what the system and the decompressors say of a file into a :class:`DatasetError`."""
    try:
        yield
    except OSError as error:
        hint = f"; the working directory is {Path.cwd()}" if isinstance(error, FileNotFoundError) else ""
        raise DatasetError(f"{name} cannot be read: {error.strerror or error}{hint}") from error
    except (EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise DatasetError(f"{name} is damaged: {error}") from error


def _wrong_row(name: str, line: int, row_type: Any, error: Exception) -> DatasetError:
    """Say what is wrong with a row, as far as that can be said without quoting it."""
    found = _AT.match(str(error))
    what, path = (found["what"], found["path"]) if found else (str(error), "")
    if isinstance(error, UnicodeDecodeError):
        what = "it is not UTF-8"
    elif isinstance(error, RecursionError):
        what = "it is nested too deeply"
    elif error.__cause__ is not None or not _QUOTES_NOTHING.fullmatch(what):
        what = f"its value does not fit {getattr(row_type, '__name__', row_type)}"
    field = path.removeprefix("$").removeprefix(".")
    return DatasetError(f"{name}, line {line}{f', field {field}' if field else ''}: {what}")
