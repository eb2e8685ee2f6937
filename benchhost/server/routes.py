"""Every route of the server, but the one of the document that describes them all."""

from __future__ import annotations

from benchhost.server import evaluations, plugins, runs, tasks

BENCHMARK_ROUTES = [
    tasks.health,
    tasks.version,
    tasks.verify_task_ids,
    tasks.retrieve_task,
    tasks.tasks,
    evaluations.evaluate_response,
    evaluations.evaluate,
    evaluations.evaluate_batch,
    evaluations.evaluation,
    evaluations.final_score,
    evaluations.score,
    runs.start_run,
    runs.runs,
    runs.run,
    runs.run_events,
    runs.cancel_run,
]
"""What every benchmark offers, under ``/b/<name>``."""

HOST_ROUTES = [plugins.index, plugins.health, plugins.plugins]
"""What the host itself offers."""
