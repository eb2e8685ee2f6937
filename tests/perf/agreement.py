"""Shows that the contenders answer the same, so that comparing their costs means something."""

from __future__ import annotations

from typing import Any

from servers import Server
from sums import sum_at


def same_answers(servers: list[Server]) -> None:
    """Ask every server the same things. Raises ``RuntimeError`` when two give different answers."""
    for question in (evaluations, unknown_task, listings, final_scores):
        first, *others = ((server.name, question(server)) for server in servers if question.__name__ in offers(server))
        for name, answer in others:
            if answer != first[1]:
                raise RuntimeError(f"{question.__name__}: {first[0]} says {first[1]}\nbut {name} says {answer}")


def offers(server: Server) -> tuple[str, ...]:
    """Name the questions that a server can answer: the bare limit only evaluates and scores."""
    known = ("evaluations", "final_scores")
    return known if server.name == "bare limit" else (*known, "unknown_task", "listings")


def submission(index: int, answer: int | None = None) -> dict[str, Any]:
    """Make the body of an evaluate request for the task at a position, right unless an answer is given."""
    task = sum_at(index)
    text = f"I think that it is\n{task.answer if answer is None else answer}"
    return {"run_id": "agreement", "task_id": task.id, "payload": {"type": "text", "schema": "text", "data": text}}


def evaluations(server: Server) -> object:
    """A right and a wrong response, as far as all answers have the same fields."""
    answers: list[object] = []
    for body in (submission(3), submission(4, answer=-1)):
        status, answer = server.call(f"{server.base}/v1/evaluate", body)
        if not isinstance(answer, dict) or not isinstance(answer.get("result"), dict):
            raise RuntimeError(f"{server.name} answered an evaluation with {status} {answer!r}")
        result = {name: answer["result"].get(name) for name in ("score", "passed")}
        answers.append((status, {**answer, "result": result, "evaluation_id": None}))
    return answers


def unknown_task(server: Server) -> object:
    """The status for a task that there is not."""
    return server.call(f"{server.base}/v1/evaluate", {**submission(0), "task_id": "t999999"})[0]


def listings(server: Server) -> object:
    """Ids by slice and by name, and the public parts of two tasks."""
    ids = [server.call(f"{server.base}/verify-task-ids{query}") for query in ("?slice=5:50:7", "?task_ids=t000002", "")]
    status, answer = server.call(f"{server.base}/v1/datasets/default/tasks")
    if not isinstance(answer, dict):
        raise RuntimeError(f"{server.name} answered the list of tasks with {status} {answer!r}")
    return ids, status, [answer["tasks"][index] for index in (0, -1)]


def final_scores(server: Server) -> object:
    """The score of four results."""
    results = {sum_at(index).id: {"score": score, "passed": score == 1} for index, score in enumerate((1, 0, 1, 1))}
    status, answer = server.call(f"{server.base}/final-score/", {"evaluation_results": results})
    if not isinstance(answer, dict):
        raise RuntimeError(f"{server.name} answered a final score with {status} {answer!r}")
    return status, answer["tasks_evaluated"], answer["final_score"]
