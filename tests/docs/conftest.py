"""The pages of the documentation, taken apart: what their fences, tables, headings and links say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


class Block(NamedTuple):
    """A fenced block: its language, the ``file=`` it is the content of, its text, and the line where it begins."""

    language: str
    file: str | None
    text: str
    line: int


class Page:
    """A page of the documentation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text("utf-8")

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def blocks(self) -> list[Block]:
        found = []
        fence = re.compile(
            r"^```(?P<language>\w*)(?: file=(?P<file>\S+))?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
        )
        for match in fence.finditer(self.text):
            line = self.text.count("\n", 0, match.start()) + 1
            found.append(Block(match["language"], match["file"], match["text"], line))
        fences = len(re.findall(r"^ *```", self.text, re.MULTILINE))
        assert fences == 2 * len(found), f"{self} has a fence that cannot be read"
        return found

    @property
    def prose(self) -> str:
        """The page with dots in the place of what is fenced, whose lines may look like headings and links."""
        fence = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
        return fence.sub(lambda block: "." * len(block[0]), self.text)

    @property
    def headings(self) -> list[str]:
        return re.findall(r"^#{1,6} (.+)$", self.prose, re.MULTILINE)

    @property
    def anchors(self) -> set[str]:
        """The names by which a link may point at a heading."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in self.headings}

    @property
    def links(self) -> list[str]:
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    def section(self, heading: str) -> str:
        """What stands under a heading, as far as the next one that is as high."""
        found = re.search(rf"^(#+) {re.escape(heading)}\n", self.prose, re.MULTILINE)
        assert found, f"{self} has no heading {heading!r}"
        following = re.compile(rf"^#{{1,{len(found[1])}}} ", re.MULTILINE).search(self.prose, found.end())
        return self.text[found.end() : following.start() if following else None]


def rows_of(text: str) -> list[list[str]]:
    """The cells of the first table of a text, without its head."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("|")), None)
    assert first is not None, f"there is no table in:\n{text[:200]}"
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
    return rows


@pytest.fixture(scope="session")
def page():
    """A page by its name."""
    return {path.name: Page(path) for path in PAGES}.__getitem__


@pytest.fixture(scope="session")
def rows():
    """The cells of a text's first table."""
    return rows_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each page by itself."""
    if "each_page" in metafunc.fixturenames:
        metafunc.parametrize("each_page", [Page(path) for path in PAGES], ids=[path.name for path in PAGES])
