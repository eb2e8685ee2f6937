"""Hidden by default: whatever a benchmark hides occurs in no byte that leaves the host.

Benchmarks are generated: the fields of their tasks, which of these are public, what the values look
like, and how their hooks and their loading fail with a hidden value in the exception. Every hidden
value holds a token that occurs nowhere else; every answer of every route is searched for all of them.
"""

from __future__ import annotations

import itertools
import json
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchhost.testing import install_plugin, serving

BENCHMARKS = 30
"""Generated benchmarks that one server hosts: enough for every failure to be one's."""

wild = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', "'", "\\", "</script>", "\n", "\u2028", "ü😀", "%s", "{}", "\x00", "&amp;"]
)

HIDDEN_TYPES = {
    "str": "VALUE",
    "bytes": "VALUE.encode()",
    "list[str]": "[VALUE, VALUE]",
    "dict[str, str]": "{VALUE: VALUE}",
    "dict[str, list[Inner]]": '{"k": [Inner(VALUE)]}',
    "Inner": "Inner(VALUE)",
    "Inner | None": "Inner(VALUE)",
    "object": "VALUE",
    "set[str]": "{VALUE}",
    "tuple[str, int]": "(VALUE, 1)",
    "Annotated[str, 'Public']": "VALUE",
    "int": "NUMBER",
    "float": "NUMBER + 0.5",
}
"""How a hidden field may be annotated, and how its value is made."""

FAILURES = {
    "evaluate_response": [
        "return Result(score=0.5, private={'gold': SECRET, 'task': repr(task)})",
        "raise ValueError(SECRET)",
        "raise SystemExit(SECRET)",
        "raise Chatty(task)",
        "raise UnknownTask(SECRET)",
        "raise Malformed(SECRET, ('body', SECRET))",
        "raise Busy(SECRET, 3)",
        "raise Unavailable(SECRET)",
        "raise PluginFault('invalid-task', SECRET)",
        "raise ExceptionGroup(SECRET, [ValueError(SECRET)])",
        "return SECRET",
        "return {'score': 1.0, 'feedback': SECRET}",
        "return Result(score=SECRET)",
        "return Result(score=1.0, metrics={SECRET: float('nan')})",
        "return Result(score=1.0, private={'gold': object()})",
        "yield SECRET",
        "yield Result(score=1.0, private={'gold': SECRET})",
        "print(SECRET, flush=True); raise AssertionError(task)",
    ],
    "retrieve_task": [
        "return Environment(image='python', problem_path='/p', cwd='/')",
        "raise KeyError(SECRET)",
        "raise Malformed(SECRET)",
        "return SECRET",
        "return Environment(image='python', problem_path='/p', cwd='/', agent_timeout=SECRET)",
    ],
    "calculate_final_score": [
        "return None",
        "raise ZeroDivisionError(SECRET)",
        "raise UnknownDataset(SECRET)",
        "return SECRET",
        "return FinalScore(score=SECRET)",
        "return FinalScore(score=1.0, metadata={'x': SECRET.encode().__class__})",
    ],
    "check_auth": ["raise PermissionError(SECRET)", "raise Malformed(SECRET)", "return SECRET"],
    "load_datasets": [
        "raise ValueError(SECRET)",
        "raise Malformed(SECRET)",
        "raise DatasetError(SECRET)",
        "raise SystemExit(SECRET)",
        "return SECRET",
        "return {'default': [SECRET]}",
        "return {'default': TASKS + TASKS}",
        "return {'default': [Problem(id='x', question=SECRET, hidden_0=Unencodable(SECRET))]}",
    ],
    "import": ["raise ImportError(SECRET)", "1 / 0  # TOKEN", "import nothing_of_that_name as TOKEN"],
}
"""How each hook, the loading and the import may end."""


class Spec(NamedTuple):
    """A task type that is to be made. ``around`` is what the token of a hidden value stands between."""

    around: tuple[str, str]
    hidden: list[str]
    shown: list[str]
    rename: str | None
    is_async: bool


SPECS = st.builds(
    Spec,
    around=st.tuples(wild, wild),
    hidden=st.lists(st.sampled_from(sorted(HIDDEN_TYPES)), min_size=1, max_size=5),
    shown=st.lists(st.sampled_from(["Public[str]", "Public[list[str]]"]), max_size=2),
    rename=st.sampled_from([None, "camel", "upper"]),
    is_async=st.booleans(),
)


def ends_of(failures, at=0):
    """Deal out failures to the benchmarks: each to one, from the ``at``-th on, or however else hypothesis has it."""
    return st.permutations([""] * at + failures + [""] * (BENCHMARKS - at - len(failures)))


# As they are dealt first, no failure stands in the way of another.
ENDS = st.fixed_dictionaries(
    {
        "evaluate_response": ends_of(FAILURES["evaluate_response"]),
        "retrieve_task": ends_of(FAILURES["retrieve_task"]),
        "calculate_final_score": ends_of(FAILURES["calculate_final_score"]),
        "check_auth": ends_of(FAILURES["check_auth"], at=BENCHMARKS - 14),
        "load_datasets": ends_of(FAILURES["load_datasets"], at=BENCHMARKS - 11),
        "import": ends_of(FAILURES["import"], at=BENCHMARKS - 3),
    }
)

HOOKS = {
    "evaluate_response": "task, response",
    "retrieve_task": "task",
    "calculate_final_score": "results, dataset",
    "check_auth": "headers",
}


class Made(NamedTuple):
    """A plugin's source, the tokens that it hides, and the one that it shows, if any."""

    source: str
    hidden: list[bytes]
    shown: bytes | None


def made_of(spec, ends, number):
    """Make the benchmark of that number: its tokens are its own."""
    token, number, public = f"HID{number:05}DEN", int(f"7351{number:05}"), f"PUB{number:05}LIC"
    secret = spec.around[0] + token + spec.around[1]
    fields = [f"hidden_{n}: {kind}" for n, kind in enumerate(spec.hidden)]
    fields += [f"shown_{n}: {kind}" for n, kind in enumerate(spec.shown)]
    values = [f"hidden_{n}={HIDDEN_TYPES[kind]}" for n, kind in enumerate(spec.hidden)]
    values += [f"shown_{n}={'PUBLIC' if kind == 'Public[str]' else '[PUBLIC]'}" for n, kind in enumerate(spec.shown)]
    hooks = [
        f"    {'async ' * spec.is_async}def {hook}(self, {arguments}):\n        {ends[hook]}\n"
        for hook, arguments in HOOKS.items()
        if ends[hook]
    ]
    source = f"""
from typing import Annotated

import msgspec

from benchhost import *
from benchhost.errors import *

SECRET = VALUE = {secret!r}
NUMBER = {number}
PUBLIC = {public!r}
{ends["import"].replace("TOKEN", token)}


class Chatty(Exception):
    def __init__(self, task):
        super().__init__(task, SECRET)
        self.add_note(SECRET)

    @property
    def title(self):
        return SECRET

    slug = SECRET


class Unencodable(str):
    pass


class Inner(msgspec.Struct):
    text: str


class Problem(Task, kw_only=True, rename={spec.rename!r}):
    {"; ".join(fields)}


TASKS = [Problem(id=f"t{{n}}", question=f"What is {{n}}?", {", ".join(values)}) for n in range(3)]


class Plugin(Benchmark[Problem]):
    def load_datasets(self):
        {ends["load_datasets"] or "pass"}
        return {{"default": TASKS, "other": TASKS[:1]}}

{"".join(hooks)}
"""
    return Made(source, [token.encode(), str(number).encode()], public.encode() if spec.shown else None)


REQUESTS = {
    "version": [("?dataset=other", None), ("?dataset=nope", None)],
    "verify_task_ids": [("?task_ids=t1", None), ("?slice=0:2", None), ("?task_ids=nope", None), ("?slice=x", None)],
    "retrieve_task": [("?task_id=t1", None), ("?task_id=nope", None), ("?task_id=t1&skip_validation=2", None)],
    "evaluate_response": [
        ("", {"task_id": "t1", "response": "x"}),
        ("", {"task_id": "nope", "response": "x"}),
        ("", {"task_id": 1}),
    ],
    "evaluate": [
        ("", {"run_id": "r", "task_id": "t1", "payload": {"type": "text", "schema": "", "data": "x"}}),
        ("", {"run_id": "r", "task_id": "t1", "payload": {"type": "artifact", "schema": "", "data": "x"}}),
        ("", {"run_id": "r", "task_id": "nope", "payload": {"type": "text", "schema": "", "data": "x"}}),
    ],
    "evaluate_batch": [
        ("", {"submissions": [{"task_id": f"t{n}", "response": "y"} for n in range(3)]}),
        ("", {"submissions": [{"task_id": "nope", "response": "y"}]}),
    ],
    "start_run": [
        ("", {"model": "scripted/echo", "limit": 2, "run_id": "made"}),
        ("", {"model": "scripted/reference"}),
        ("", {"model": "scripted/echo", "task_ids": ["nope"]}),
    ],
    "runs": [("?before=nope", None), ("?limit=x", None)],
    "final_score": [
        ("", {"evaluation_results": {"t0": {"score": 1.0}, "t1": None}}),
        ("", {"evaluation_results": {"nope": None}}),
        ("", {"evaluation_results": {"t0": {"score": "x"}}}),
    ],
    "score": [
        ("", {"run_id": "r", "evaluation_results": {"t0": {"status": "evaluated", "result": {"score": 1.0}}}}),
        ("", {"run_id": "r", "evaluation_results": {"t0": {"status": "x"}}}),
    ],
}
"""What each operation is tried with beside a request without anything."""

PATH = {
    "dataset": ["default", "other", "nope"],
    "evaluation_id": ["nope"],
    "run_id": ["nope", "made"],
    "sandbox_id": ["nope"],
}


def every_answer(client, document):
    """Call every operation of the document in every way; then look up every evaluation that came of it."""
    evaluations = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = operation["operationId"].rpartition(".")[2]
            parameters = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
            for values in itertools.product(*(PATH[parameter] for parameter in parameters)):
                filled = path.format_map({"dataset": "", **dict(zip(parameters, values, strict=True))})
                for query, body in [("", None), *REQUESTS.get(name, ())]:
                    for accept in ("*/*", "application/jsonl")[: 2 if name == "evaluate_batch" else 1]:
                        headers = {"accept": accept, "content-type": "application/json"}
                        data = None if body is None else json.dumps(body).encode()
                        answer = client.request(method.upper(), filled + query, data, headers)
                        yield f"{method} {filled}{query} {body}", answer
                        if "x-evaluation-id" in answer.headers:
                            evaluations[answer.headers["x-evaluation-id"]] = filled.split("/")[2]
            yield f"a wrong method of {path}", client.request("DELETE", path.replace("{", "").replace("}", ""))
    for evaluation, benchmark in evaluations.items():
        yield f"evaluation {evaluation}", client.get(f"/b/{benchmark}/v1/evaluations/{evaluation}")


@settings(
    max_examples=2,
    phases=[Phase.generate],  # each example takes seconds, and holds thirty small ones
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(specs=st.lists(SPECS, min_size=BENCHMARKS, max_size=BENCHMARKS), ends=ENDS)
def test_no_hidden_value_occurs_in_any_byte_that_leaves_the_host(specs, ends, tmp_path_factory, make_client):
    folder = tmp_path_factory.mktemp("hidden")
    made = {
        f"generated{number}": made_of(spec, {hook: dealt[number] for hook, dealt in ends.items()}, number)
        for number, spec in enumerate(specs)
    }
    for name, benchmark in made.items():
        install_plugin(folder / "plugins", name, benchmark.source)
    hidden = [token for benchmark in made.values() for token in benchmark.hidden]
    shown = b""
    statuses = set()
    flags = ("--only", ",".join(made), "--allow-runs")
    with serving(folder / "state", *flags, plugins=[folder / "plugins"]) as running:
        client = make_client(running.url)
        document = client.get("/openapi.json").json
        for said, answer in every_answer(client, with_faulty(client, document)):
            raw = repr(answer.headers).encode() + answer.body
            found = [token for token in hidden if token in raw]
            assert not found, f"{said} answers {answer}, which has {found}"
            statuses.add(answer.status)
            shown += answer.body
        log = running.said().encode()
    # If these were not so, little would have been tried.
    assert {200, 400, 404, 405, 422, 500, 503} <= statuses
    assert any(token in log for token in hidden)
    for name, benchmark in made.items():
        if benchmark.shown and f"/b/{name}/health" in document["paths"] and "def check_auth" not in benchmark.source:
            assert benchmark.shown in shown


def with_faulty(client, document):
    """Add a route of each faulty benchmark to a document, which leaves them out."""
    paths = dict(document["paths"])
    for plugin in client.get("/v1/plugins").json["plugins"]:
        if plugin["state"] == "faulty":
            paths[f"/b/{plugin['name']}/verify-task-ids"] = {"get": {"operationId": "tasks", "parameters": []}}
    return {"paths": paths}
