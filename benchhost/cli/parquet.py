"""A run as a Parquet file, for whoever looks at results with data frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from benchhost.errors import UsageError
from benchhost.runner.artifacts import attempt_line, replacing
from benchhost.store import AttemptRecord, Store

COLUMNS = {
    "run": "string", "task": "string", "epoch": "int32", "number": "int32", "latest": "bool", "status": "string",
    "kind": "string", "message": "string", "retriable": "bool", "response": "string", "response_digest": "string",
    "evaluation_status": "string", "evaluator_version": "string", "score": "double", "started_at": "double",
    "generated_at": "double", "evaluated_at": "double", "facets": "string", "spend": "string", "evaluation": "string",
}  # fmt: skip
"""The columns and their types in Arrow. ``facets``, ``spend`` and ``evaluation`` are JSON."""

_generation = msgspec.json.Decoder(dict[str, Any])


async def export_parquet(store: Store, run_id: str, file: Path) -> int:
    """Write every attempt of a run, superseded ones included, as rows; return how many there are.

    Raises :class:`~benchhost.errors.UsageError` when pyarrow is not installed, and ``OSError``.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError:
        raise UsageError(
            "the layout parquet takes pyarrow. Install it with: pip install 'benchhost[parquet]'"
        ) from None
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    written = 0
    with replacing(file) as out, pq.ParquetWriter(out, schema) as writer:
        async for page in store.attempts(run_id, latest=False, generation=True):
            writer.write_table(pa.Table.from_pylist([_row(attempt) for attempt in page], schema=schema))
            written += len(page)
    return written


def _row(attempt: AttemptRecord) -> dict[str, Any]:
    line = attempt_line(attempt)
    generation = line.pop("generation")
    line["response"] = None if generation is None else _generation.decode(generation).get("data")
    return {name: bytes(value).decode() if isinstance(value, msgspec.Raw) else value for name, value in line.items()}
