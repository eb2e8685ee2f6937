"""What a benchmark without a runner of its own gets."""

from __future__ import annotations

from benchhost.contract import Context, Model, Runner, Task


class DefaultRunner(Runner[Task]):
    """Asks the model once; what it answers is the response."""

    version = "1"

    async def generate(self, task: Task, model: Model, context: Context) -> str:
        """Put the benchmark's prompt to the model."""
        completion = await model.complete(await context.prompt())
        return completion.text
