"""What a person sees of a run that goes on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchhost.cli import words
from benchhost.cli.display import line_of, tell_lines
from benchhost.cli.live import picture, show
from benchhost.models import Limiter
from benchhost.runner.progress import Progress
from benchhost.scoring import wilson_interval

pytestmark = pytest.mark.anyio


@pytest.fixture
def progress() -> Progress:
    """A run that has gone half its way."""
    progress = Progress("run-1", Limiter(8))
    progress.phase = "running"
    progress.total, progress.generated, progress.evaluated = 10, 6, 5
    progress.spend.cost, progress.spend.usage.input_tokens, progress.spend.usage.output_tokens = 0.0123, 1200, 340
    progress.judge_spend.cost = 2.5
    for score in (1.0, 1.0, 0.0, 1.0, 1.0):
        progress.finished(score)
    for task in ("t1", "t2"):
        progress.failed("throttled", "throttled", task, "429 Too \x1b[31mMany\nRequests")
    progress.warn("the budget is nearly spent")
    return progress


def drawn(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=120, markup=False)
    console.print(picture(progress.snapshot()))
    return console.file.getvalue()


async def test_a_person_sees_phases_score_cost_errors_and_concurrency(progress) -> None:
    shown = drawn(progress)
    for each in (
        "run-1 · running",
        "6 of 10",
        "5 of 10",
        "80.00% (95% interval",
        "1,200 in; 340 out",
        "$0.0123, judge $2.50",
        "throttled × 2",
        "0 of 8 at once",
        "the budget is nearly spent",
    ):
        assert each in shown


async def test_a_terminal_obeys_nothing_that_an_error_says(progress) -> None:
    assert "t1: 429 Too �[31mMany Requests" in drawn(progress)
    assert "\x1b" not in drawn(progress)


async def test_one_line_says_the_same_elsewhere(progress) -> None:
    line = line_of(progress.snapshot())
    assert line.startswith("5 of 10 done · 6 generated, 5 evaluated · score 80.00%")
    assert "1,540 tokens, $0.0123, judge $2.50 · errors: throttled 2 · 0 of 8 calls at once" in line


async def test_a_line_is_said_only_when_something_has_changed_and_a_warning_once(progress, capfd) -> None:
    async def watch(every):
        for _ in range(3):
            yield progress.snapshot()

    progress.watch = watch
    await tell_lines(progress)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["Warning: the budget is nearly spent", line_of(progress.snapshot())]


async def test_the_live_display_ends_with_the_run_and_leaves_its_last_state(progress) -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, markup=False)
    progress.ended()
    await show(progress, console)
    assert "run-1 · ended" in console.file.getvalue()


@pytest.mark.parametrize(
    "said, shown",
    [
        (words.score(0.5, wilson_interval(5, 10)), "50.00% (95% interval 23.66% to 76.34%)"),
        (words.score(None), "none yet"),
        (words.score(12.34567), "12.35"),
        (words.duration(59.6), "1:00"),
        (words.duration(3725), "1:02:05"),
        (words.dollars(0), "$0.00"),
        (words.dollars(0.00123), "$0.0012"),
        (words.dollars(1234.5), "$1234.50"),
        (words.line("a\n b\x07", 10), "a b�"),
        (words.line("x" * 20, 10), "x" * 9 + "…"),
    ],
)
def test_numbers_and_texts_are_said_as_people_read_them(said: str, shown: str) -> None:
    assert said == shown
