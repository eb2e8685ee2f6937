"""What the pages list is what there is: settings, commands, routes, errors, reasons, helpers, links."""

from __future__ import annotations

import asyncio
import importlib
import re
from functools import cached_property
from typing import Any

import click
import msgspec
import pytest

import benchhost.errors
from benchhost import Probing, Response, registry, scoring
from benchhost.cli.keys import KEYS
from benchhost.cli.main import COMMANDS, cli
from benchhost.cli.quota import QUOTAS
from benchhost.cli.receipts import RECEIPTS
from benchhost.cli.runs import RUNS
from benchhost.cli.sandbox import IMAGE, SANDBOX
from benchhost.contract import Benchmark, Context, EvaluationStatus, GenerationStatus, Result, Runner, Task
from benchhost.errors import BenchhostError, GradingFailed, RequestError
from benchhost.integrity.checks import CHECKS
from benchhost.integrity.saboteur import ACTS
from benchhost.runner.exits import ExitCode
from benchhost.sandbox.escape.suite import ATTACKS
from benchhost.server import problems
from benchhost.server.documented import documented_of
from benchhost.server.openapi import Document, openapi
from benchhost.server.problems import NotScored
from benchhost.server.routes import BENCHMARK_ROUTES, HOST_ROUTES
from benchhost.settings import describe

GROUPS = {"runs": RUNS, "receipts": RECEIPTS, "keys": KEYS, "quota": QUOTAS, "sandbox": SANDBOX, "sandbox image": IMAGE}


def every_command(names=COMMANDS):
    """The commands by their names, those of a group behind it."""
    for name in names:
        yield name
        yield from every_command(f"{name} {inner}" for inner in GROUPS.get(name, ()))


EVERY_COMMAND = list(every_command())


def code(cell: str) -> list[str]:
    """What a cell has in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def test_every_link_leads_somewhere(each_page, page) -> None:
    for link in each_page.links:
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (each_page.path.parent / path).resolve() if path else each_page.path
        assert target.exists(), f"{each_page} links to {link}, which is not there"
        if anchor:
            assert anchor in page(target.name).anchors, f"{each_page} links to {link}, and there is no such heading"


def test_every_page_is_in_the_readme(page) -> None:
    linked = {link.removeprefix("docs/") for link in page("README.md").links if link.startswith("docs/")}
    from_there = {path.name for path in page("start.md").path.parent.glob("*.md")}
    assert linked == from_there


def test_the_table_of_settings_is_that_of_the_code(page, rows) -> None:
    def shown(default: object) -> str:
        if isinstance(default, bool):
            return str(default).lower()
        if isinstance(default, tuple):
            return ",".join(default)
        return "none" if default is None else str(default)

    settings = [
        [f"`{doc.name}`", f"`{doc.variable}`", f"`{shown(doc.default)}`", doc.expected, doc.help] for doc in describe()
    ]
    assert rows(page("operating.md").section("Settings")) == settings


def test_the_table_of_reasons_is_that_of_the_code(page, rows) -> None:
    reasons = [[f"`{reason}`", said] for reason, said in registry.REASONS.items()]
    assert rows(page("operating.md").section("Faulty plugins")) == reasons


def test_every_command_is_described(page) -> None:
    described = [heading for heading in page("commands.md").headings if heading.startswith("benchhost ")]
    assert described == [f"benchhost {name}" for name in EVERY_COMMAND]


@pytest.mark.parametrize("name", ["benchhost", *(f"benchhost {name}" for name in EVERY_COMMAND if name not in GROUPS)])
def test_the_options_of_a_command_are_those_of_the_code(name: str, page, rows) -> None:
    command = cli
    for word in name.split()[1:]:
        command = command.get_command(click.Context(command), word)
    expected = {
        (*option.opts, *option.secondary_opts): option.metavar or ""
        for option in command.params
        if isinstance(option, click.Option)
    }
    helps = {(*option.opts, *option.secondary_opts): option.help or "" for option in command.params}
    if name == "benchhost":
        expected[("-h", "--help")] = ""
    shown = {}
    for cell, said in rows(page("commands.md").section(name)):
        opts = tuple(each.partition(" ")[0] for each in code(cell))
        shown[opts] = code(cell)[-1].partition(" ")[2]
        told = helps.get(opts, said).partition("  [")[0]  # what follows is where else it can be set
        assert said.startswith(told.rstrip(".")), f"{name} says of {opts}: {told}"
    config = ("--config",)
    if config in expected:
        expected[config] = "FILE"  # click names it after its type
    assert shown == expected


def test_every_field_of_a_policy_is_in_the_table_with_its_default(page, rows) -> None:
    [fields] = [rows(page("integrity.md").section("Probing"))]
    shown = {code(name)[0]: default for name, default, _ in fields}
    defaults = {field.name: field.default for field in msgspec.structs.fields(Probing)}
    assert shown == {
        name: "none" if default is None else f"`{msgspec.json.encode(default).decode()}`"
        for name, default in defaults.items()
    }


def test_every_check_is_in_the_table_with_its_promise(page, rows) -> None:
    assert rows(page("integrity.md").section("Is it sound?")) == [[f"`{name}`", said] for name, said in CHECKS.items()]


def test_everything_that_hooks_do_in_a_search_for_leaks_is_in_the_table(page, rows) -> None:
    assert rows(page("integrity.md").section("Does anything leak?")) == [
        [f"`{act}`", said] for act, said in ACTS.items()
    ]


def test_every_attack_is_in_the_table_with_what_keeps_it(page, rows) -> None:
    attacks = [[f"`{attack.name}`", attack.tries, attack.kept_by] for attack in ATTACKS]
    assert rows(page("sandboxes.md").section("How we know: the escape suite")) == attacks


def test_every_command_says_in_its_help_what_its_list_says() -> None:
    for name, (_, said) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert (command.help or "").startswith(said)


ERRORS = {
    kind
    for kind in {**vars(benchhost.errors), **vars(problems)}.values()
    if isinstance(kind, type) and issubclass(kind, BenchhostError)
}
ANSWERED = {
    kind
    for kind in ERRORS
    if kind in problems.STATUS or issubclass(kind, GradingFailed) or kind in (BenchhostError, RequestError, NotScored)
}


def test_every_error_that_is_answered_is_in_the_table_with_its_status(page, rows) -> None:
    expected = {kind.slug: str(problems.status_of(kind)) for kind in ANSWERED}
    expected["method-not-allowed"] = "405"  # which is the framework's
    shown = {code(slug)[0]: status for slug, status, _ in rows(page("http.md").section("Errors"))}
    assert shown == expected


def test_every_other_error_is_in_the_table_for_operators(page, rows) -> None:
    shown = {code(slug)[0] for slug, _ in rows(page("operating.md").section("Logs"))}
    assert shown == {kind.slug for kind in ERRORS - ANSWERED}


class Routes:
    """Every route of the server, with what the OpenAPI document says of it."""

    @cached_property
    def document(self) -> dict[str, Any]:
        return Document().of({"{name}": frozenset()})

    def __iter__(self):
        for handler in [*HOST_ROUTES, openapi, *BENCHMARK_ROUTES]:
            prefix = "/b/{name}" if handler in BENCHMARK_ROUTES else ""
            [path], [method] = handler.paths, handler.http_methods
            yield f"{method} {prefix}{re.sub(r':[a-z]+}', '}', path)}", handler


ROUTES = dict(Routes())


def test_every_route_has_its_section(page) -> None:
    described = [
        heading for heading in page("http.md").headings if heading.startswith(("GET /", "POST /", "PUT /", "DELETE /"))
    ]
    assert sorted(described) == sorted(ROUTES)


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_is_answered_as_its_section_says(route: str, page) -> None:
    method, path = route.split()
    answers = set(Routes().document["paths"][path][method.lower()]["responses"])
    said = re.search(r"^Answers: ([\d, ]+)\.$", page("http.md").section(route), re.MULTILINE)
    assert said, f"the section of {route} has no line `Answers: 200, …`"
    assert said[1].split(", ") == sorted(answers)


@pytest.mark.parametrize("route", [route for route in ROUTES if route != "GET /openapi.json"])
def test_every_field_and_parameter_of_a_route_is_named_in_its_section(route: str, page) -> None:
    method, path = route.split()
    section = page("http.md").section(route)
    operation = Routes().document["paths"][path][method.lower()]
    names = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
    told = documented_of(ROUTES[route].opt)
    for struct in (told.body, told.answer):
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct):
            names |= {field.encode_name for field in msgspec.structs.fields(struct)}
    missing = {name for name in names if not re.search(rf"\b{name}\b", section)}
    assert missing == set()


HELPERS = {name: getattr(scoring, name) for name in scoring.__all__} | {"Result": Result}


def test_every_scoring_helper_gives_what_its_table_says(page) -> None:
    section = page("writing-a-benchmark.md").section("Scoring helpers")
    calls = re.findall(r"^\| `(.+?)` \| `(.+?)` \|", section, re.MULTILINE)
    assert len(calls) > 15
    for call, gives in calls:
        assert repr(eval(call, dict(HELPERS))) == gives, call


def test_every_scoring_helper_is_told_of(page) -> None:
    section = page("writing-a-benchmark.md").section("Scoring helpers")
    functions = {name for name, helper in HELPERS.items() if callable(helper) and not isinstance(helper, type)}
    for_ourselves = {"student_t_quantile"}
    assert {name for name in functions if name not in section} == for_ourselves


def test_every_hook_is_in_the_table_of_hooks(page, rows) -> None:
    shown = {code(hook)[0].partition("(")[0] for hook, *_ in rows(page("writing-a-benchmark.md").section("Hooks"))}
    public = {name for name, value in vars(Benchmark).items() if callable(value) and not name.startswith("_")}
    assert shown == public - {"Settings"}


def test_every_attribute_of_a_benchmark_is_in_its_table_with_its_default(page, rows) -> None:
    shown = {code(name)[0]: default for name, default, _ in rows(page("writing-a-benchmark.md").section("The class"))}
    defaults = {name: f"`{getattr(Benchmark, name)!r}`".replace("'", '"') for name in shown if name != "Settings"}
    assert shown == {**defaults, "Settings": "none"}
    assert set(shown) == {name for name in Benchmark.__annotations__ if name != "settings"}


def test_every_field_that_a_task_always_has_is_in_the_table(page, rows) -> None:
    shown = [code(name)[0] for name, _ in rows(page("writing-a-benchmark.md").section("Tasks"))]
    assert shown == list(Task.__struct_fields__)


def test_every_hook_of_a_runner_is_in_the_table_of_hooks(page, rows) -> None:
    shown = {
        hook.partition("(")[0]
        for hooks, _ in rows(page("writing-a-runner.md").section("Hooks"))
        for hook in code(hooks)
    }
    hooks = {name for name, value in vars(Runner).items() if callable(value) and not isinstance(value, type)}
    assert shown == {name for name in hooks if not name.startswith("_")}


def test_every_attribute_of_a_runner_is_in_its_table(page, rows) -> None:
    shown = [code(name)[0] for name, *_ in rows(page("writing-a-runner.md").section("The class"))]
    assert set(shown) == {name for name in Runner.__annotations__ if name != "params"}


def test_everything_that_a_context_offers_is_in_its_table(page, rows) -> None:
    shown = {code(name)[0].removesuffix("()") for name, _ in rows(page("writing-a-runner.md").section("The context"))}
    assert shown == {name for name in dir(Context) if name[0] != "_"}


@pytest.mark.parametrize("statuses, column", [(GenerationStatus, "attempt"), (EvaluationStatus, "evaluation")])
def test_every_status_is_told_of(page, rows, statuses, column) -> None:
    section = page("running-models.md").section("What failed")
    table = section[section.index(f"| {column} |") :]
    assert {status for names, _ in rows(table) for status in code(names)} == {status.value for status in statuses}


def test_every_exit_code_is_told_of(page, rows) -> None:
    assert [int(number) for number, _ in rows(page("running-models.md").section("Exit codes"))] == list(ExitCode)


def test_every_field_of_a_summary_is_in_the_table(page, rows) -> None:
    shown = [code(name)[0] for name, _ in rows(page("concepts.md").section("Coverage and bounds"))]
    assert shown == list(scoring.Summary.__struct_fields__)


def test_the_benchmark_of_the_readme_judges(page, tmp_path, monkeypatch) -> None:
    [block] = [block for block in page("README.md").blocks if block.file == "capitals.py"]
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 15
    (tmp_path / "readme_capitals.py").write_text(block.text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    benchmark = importlib.import_module("readme_capitals").Capitals
    loaded = asyncio.run(registry.of(capitals=benchmark))["capitals"]
    [task] = loaded.datasets["default"].tasks.values()
    assert loaded.benchmark.evaluate_response(task, Response("nairobi.")).score == 1.0
    assert loaded.benchmark.evaluate_response(task, Response("Mombasa")).score == 0.0
