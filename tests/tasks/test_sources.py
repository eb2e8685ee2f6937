"""Reading tasks from files."""

from __future__ import annotations

import bz2
import enum
import gzip
import hashlib
import io
import tarfile
import zipfile
from typing import Annotated, Literal

import msgspec
import pytest

from benchhost import Public, Task
from benchhost.errors import DatasetError
from benchhost.tasks import index, read_archive, read_csv, read_jsonl


class Problem(Task, kw_only=True):
    subject: Public[str] = "none"
    answer: int


ROWS = b'{"id":"a","question":"1+1?","answer":2}\n\n{"id":"b","question":"2+2?","answer":4,"subject":"sums"}\n'
TASKS = [
    Problem(id="a", question="1+1?", answer=2),
    Problem(id="b", question="2+2?", answer=4, subject="sums"),
]


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def sha256(content):
    return hashlib.sha256(content).hexdigest()


# JSON lines


@pytest.mark.parametrize("content", [ROWS, b"\xef\xbb\xbf" + ROWS, ROWS.replace(b"\n", b"\r\n"), ROWS[:-1]])
def test_json_lines_are_read(tmp_path, content):
    assert list(read_jsonl(written(tmp_path, "rows.jsonl", content), Problem)) == TASKS
    assert list(read_jsonl(str(tmp_path / "rows.jsonl"), Problem)) == TASKS


def test_compressed_json_lines_are_read_whatever_the_file_is_called(tmp_path):
    assert list(read_jsonl(written(tmp_path, "rows.jsonl.gz", gzip.compress(ROWS)), Problem)) == TASKS
    assert list(read_jsonl(written(tmp_path, "rows.jsonl", gzip.compress(ROWS)), Problem)) == TASKS


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    rows = read_jsonl(written(tmp_path, "rows.jsonl", ROWS + b"nonsense"), Problem)
    assert [next(rows), next(rows)] == TASKS
    with pytest.raises(DatasetError, match="line 4"):
        next(rows)


def test_an_empty_file_has_no_rows(tmp_path):
    assert list(read_jsonl(written(tmp_path, "rows.jsonl", b""), Problem)) == []


def test_a_file_that_is_left_early_is_closed(tmp_path):
    file = io.BytesIO(ROWS)
    rows = read_jsonl(file, Problem)
    next(rows)
    rows.close()
    assert file.closed


class Checked(Task, kw_only=True):
    answer: int

    def __post_init__(self):
        raise ValueError(f"Expected `int`, got `SECRET-{self.answer}`")


class Colour(enum.Enum):
    RED = "red"


class Strict(Task, kw_only=True, forbid_unknown_fields=True):
    choice: Literal["A", "B"] = "A"
    colour: Colour = Colour.RED
    level: Annotated[int, msgspec.Meta(le=5)] = 0
    parts: list[int] = []
    table: dict[str, int] = {}


@pytest.mark.parametrize(
    "cls,line,words",
    [
        (Problem, b'{"id":"a","question":"?","answer":"SECRET"}', ", field answer: Expected `int`, got `str`"),
        (Problem, b'{"id":"a","question":"SECRET"}', ": Object missing required field `answer`"),
        (Problem, b'["SECRET"]', ": Expected `object`, got `array`"),
        (Problem, b'{"id":"SECRET', ": Input data was truncated"),
        (Problem, b'{"id":SECRET}', ": JSON is malformed: invalid character (byte 6)"),
        (Problem, b'{"id":"SECRET\xff"}', ": it is not UTF-8"),
        (Strict, b'{"id":"a","question":"?","SECRET":1}', ": its value does not fit Strict"),
        (Strict, b'{"id":"a","question":"?","choice":"SECRET"}', ", field choice: its value does not fit Strict"),
        (Strict, b'{"id":"a","question":"?","colour":"SECRET"}', ", field colour: its value does not fit Strict"),
        (Strict, b'{"id":"a","question":"?","level":734}', ", field level: Expected `int` <= 5"),
        (Strict, b'{"id":"a","question":"?","parts":[1,"SECRET"]}', ", field parts[1]: Expected `int`, got `str`"),
        (Strict, b'{"id":"a","question":"?","table":{"SECRET":"1"}}', ", field table[...]: Expected `int`, got `str`"),
        (Checked, b'{"id":"a","question":"?","answer":734}', ": its value does not fit Checked"),
    ],
)
def test_a_wrong_row_is_named_by_file_line_and_field_and_not_quoted(tmp_path, cls, line, words):
    path = written(tmp_path, "rows.jsonl", b"\n" + line)
    with pytest.raises(DatasetError) as caught:
        list(read_jsonl(path, cls))
    assert str(caught.value) == f"{path}, line 2{words}"
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert caught.value.reason == "datasets-failed"


def test_a_row_nested_too_deeply_is_a_wrong_row(tmp_path):
    with pytest.raises(DatasetError, match="line 1: it is nested too deeply"):
        list(read_jsonl(written(tmp_path, "rows.jsonl", b"[" * 100_000), list))


def test_a_missing_file_is_named_with_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError) as caught:
        list(read_jsonl("rows.jsonl", Problem))
    expected = f"rows.jsonl cannot be read: No such file or directory; the working directory is {tmp_path}"
    assert str(caught.value) == expected


def test_a_folder_is_not_read(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read: Is a directory"):
        list(read_jsonl(tmp_path, Problem))


def test_a_damaged_compressed_file_is_named(tmp_path):
    packed = gzip.compress(ROWS)
    with pytest.raises(DatasetError, match=r"rows.gz is damaged"):
        list(read_jsonl(written(tmp_path, "rows.gz", packed[:-12]), Problem))


def test_the_real_gsm8k_file_is_read_and_indexed(data):
    class Row(msgspec.Struct):
        question: str
        answer: str

    class Solved(Task, kw_only=True):
        answer: str

    rows = read_jsonl(data / "gsm8k" / "test.jsonl", Row)
    tasks = (Solved(id=str(n), question=row.question, answer=row.answer) for n, row in enumerate(rows))
    assert len(index("default", tasks).tasks) == 1319


# CSV


def test_csv_cells_become_what_their_fields_are(tmp_path):
    path = written(tmp_path, "rows.csv", b"id,question,answer,subject,notes\na,1+1?,2,,x\n\nb,2+2?,4,sums,y\n")
    assert list(read_csv(path, Problem)) == TASKS


def test_csv_may_be_compressed_have_a_byte_order_mark_and_other_delimiters(tmp_path):
    content = gzip.compress('\ufeffid\tquestion\tanswer\r\na\t"1+\n1?"\t2\r\n'.encode())
    [task] = read_csv(written(tmp_path, "rows.tsv", content), Problem, delimiter="\t")
    assert task == Problem(id="a", question="1+\n1?", answer=2)


def test_csv_columns_have_the_names_of_the_wire(tmp_path):
    class Renamed(Task, kw_only=True, rename="camel"):
        right_answer: int
        best_of: int = 3

    [task] = read_csv(written(tmp_path, "rows.csv", b"id,question,rightAnswer,bestOf\na,?,7,\n"), Renamed)
    assert (task.right_answer, task.best_of) == (7, 3)


@pytest.mark.parametrize(
    "content,words",
    [
        (b"", " is empty: expected a first line that names the columns"),
        (b"id,question,answer\na,?,SECRET\n", ", line 2, field answer: Expected `int`, got `str`"),
        (b"id,question,answer\na,?,\n", ", line 2, field answer: Expected `int`, got `str`"),
        (b"id,question\nSECRET,?\n", ", line 2: Object missing required field `answer`"),
        (b"id,question,answer\na,SECRET\n", ", line 2: expected 3 cells, as in the first line, got 2"),
        (b"id,question,id\na,SECRET,b\n", ", line 1: two columns have the same name"),
        (b'id,question,answer\na,"SECRET', ", line 2: not CSV: unexpected end of data"),
        (b"id,question,answer\na,SECRET\xff,2\n", ", after line 0: not UTF-8"),
        (
            b"id,question,answer\na," + b"S" * 200_000 + b",2\n",
            ", line 2: not CSV: field larger than field limit (131072)",
        ),
    ],
)
def test_wrong_csv_is_named_by_file_line_and_field_and_not_quoted(tmp_path, content, words):
    path = written(tmp_path, "rows.csv", content)
    with pytest.raises(DatasetError) as caught:
        list(read_csv(path, Problem))
    assert str(caught.value) == f"{path}{words}"


# Archives


def packed_in_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", "")
        archive.writestr("folder/rows.jsonl", ROWS)
    return tmp_path / "data.zip"


def packed_in_tar(tmp_path):
    with tarfile.open(tmp_path / "data.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("folder/rows.jsonl")
        info.size = len(ROWS)
        archive.addfile(info, io.BytesIO(ROWS))
        link = tarfile.TarInfo("folder/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return tmp_path / "data.tar.gz"


@pytest.mark.parametrize("pack", [packed_in_zip, packed_in_tar])
def test_a_member_of_an_archive_is_read_when_its_digest_is_right(tmp_path, pack):
    file = read_archive(pack(tmp_path), "folder/rows.jsonl", sha256=sha256(ROWS).upper())
    assert list(read_jsonl(file, Problem)) == TASKS


def test_a_plain_file_is_read_when_its_digest_is_right(tmp_path):
    content = gzip.compress(ROWS)
    file = read_archive(written(tmp_path, "rows.gz", content), sha256=sha256(content))
    assert list(read_jsonl(file, Problem)) == TASKS


@pytest.mark.parametrize("pack", [packed_in_zip, packed_in_tar])
def test_a_member_with_another_digest_is_not_used(tmp_path, pack):
    path = pack(tmp_path)
    with pytest.raises(DatasetError) as caught:
        read_archive(path, "folder/rows.jsonl", sha256="0" * 64)
    assert str(caught.value) == (
        f"folder/rows.jsonl in {path} is not the expected file: expected the sha256 {'0' * 64}, got {sha256(ROWS)}"
    )


@pytest.mark.parametrize("pack", [packed_in_zip, packed_in_tar])
@pytest.mark.parametrize("member", ["rows.jsonl", "folder/", "folder/link"])
def test_a_member_that_is_no_file_is_named_with_those_that_are(tmp_path, pack, member):
    with pytest.raises(DatasetError, match=f"has no file '{member}' in it; it has folder/rows.jsonl"):
        read_archive(pack(tmp_path), member, sha256="0" * 64)


def test_what_is_no_archive_is_named(tmp_path):
    with pytest.raises(DatasetError, match="is neither a zip nor a tar archive"):
        read_archive(written(tmp_path, "data.zip", ROWS), "rows.jsonl", sha256="0" * 64)


def test_a_damaged_archive_is_named(tmp_path):
    path = packed_in_zip(tmp_path)
    content = path.read_bytes()
    start = content.index(b"rows.jsonl") + len(b"rows.jsonl")
    path.write_bytes(content[:start] + bytes(20) + content[start + 20 :])
    with pytest.raises(DatasetError, match="is damaged"):
        read_archive(path, "folder/rows.jsonl", sha256=sha256(ROWS))


def test_a_wrong_row_of_a_member_is_named_by_member_and_archive(tmp_path):
    path = packed_in_zip(tmp_path)
    rows = read_jsonl(read_archive(path, "folder/rows.jsonl", sha256=sha256(ROWS)), dict[str, int])
    with pytest.raises(DatasetError) as caught:
        next(rows)
    assert str(caught.value).startswith(f"folder/rows.jsonl in {path}, line 1")


def test_what_is_compressed_with_something_else_is_a_wrong_row(tmp_path):
    with pytest.raises(DatasetError, match="line 1: JSON is malformed"):
        list(read_jsonl(written(tmp_path, "rows.bz2", bz2.compress(ROWS)), Problem))
