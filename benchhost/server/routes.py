"""Every route of the server, but the one of the document that describes them all."""

from __future__ import annotations

from benchhost.server import evaluations, plugins, receipts, runs, sandbox_routes, tasks, upload_routes

BENCHMARK_ROUTES = [
    tasks.health,
    tasks.version,
    tasks.verify_task_ids,
    tasks.retrieve_task,
    tasks.tasks,
    tasks.resolve_dataset,
    evaluations.evaluate_response,
    evaluations.evaluate,
    evaluations.evaluate_batch,
    evaluations.evaluation,
    upload_routes.upload_url,
    evaluations.final_score,
    evaluations.score,
    runs.start_run,
    runs.runs,
    runs.run,
    runs.run_events,
    runs.cancel_run,
    receipts.seal,
]
"""What every benchmark offers, under ``/b/<name>``."""

HOST_ROUTES = [
    plugins.index,
    plugins.health,
    plugins.plugins,
    receipts.receipt_key,
    sandbox_routes.create_sandbox,
    sandbox_routes.sandboxes,
    sandbox_routes.sandbox,
    sandbox_routes.delete_sandbox,
    sandbox_routes.run_command,
    sandbox_routes.read_file,
    sandbox_routes.write_file,
    upload_routes.upload,
]
"""What the host itself offers."""
