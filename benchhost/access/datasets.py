"""Which datasets are meant: written ``benchmark/dataset``, where a star in the place of either means any."""

from __future__ import annotations

import re

import msgspec

from benchhost.errors import UsageError

ANY = "*"

_BENCHMARK = re.compile(r"[A-Za-z0-9._-]{1,48}")


class Datasets(msgspec.Struct, frozen=True):
    """A set of datasets of benchmarks, by their patterns."""

    patterns: frozenset[str] = frozenset()

    def has(self, benchmark: str, dataset: str) -> bool:
        """Whether a dataset of a benchmark is among them, whether it exists or not."""
        patterns = self.patterns
        return (
            f"{benchmark}/{dataset}" in patterns
            or f"{benchmark}/{ANY}" in patterns
            or f"{ANY}/{dataset}" in patterns
            or f"{ANY}/{ANY}" in patterns
        )

    def names(self, benchmark: str) -> bool:
        """Whether a dataset of a benchmark may be among them."""
        return any(each.startswith((f"{benchmark}/", f"{ANY}/")) for each in self.patterns)


EVERY = Datasets(frozenset([f"{ANY}/{ANY}"]))


def is_benchmark(name: str) -> bool:
    """Say whether this can be the name of a benchmark."""
    return _BENCHMARK.fullmatch(name) is not None


def pattern(text: str) -> str:
    """Check a pattern as it is given on the command line.

    Raises :class:`~benchhost.errors.UsageError`.
    """
    benchmark, slash, dataset = text.partition("/")
    if not slash:
        raise UsageError(
            f"{text!r} is no dataset of a benchmark: write BENCHMARK/DATASET, such as {text or 'my-bench'}/default, "
            f"or {text or 'my-bench'}/* for all of its datasets"
        )
    if not (benchmark == ANY or is_benchmark(benchmark)):
        raise UsageError(f"{text!r}: {benchmark!r} can be no name of a benchmark")
    if not (dataset and dataset.isprintable() and dataset == dataset.strip()):
        raise UsageError(f"{text!r}: {dataset!r} can be no name of a dataset")
    return text


def of_service(name: str) -> str:
    """Make a pattern of the name of a dataset as services of the Vals contract write it.

    A service there has one benchmark, so a bare name is meant of whichever benchmark has it.

    Raises :class:`~benchhost.errors.UsageError`.
    """
    return pattern(name if "/" in name else f"{ANY}/{name}")
