"""The OpenAPI document is complete and true."""

from __future__ import annotations

import itertools
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from benchhost.server.framework import Framework
from benchhost.server.host import Host
from benchhost.server.openapi import openapi
from benchhost.server.routes import BENCHMARK_ROUTES, HOST_ROUTES
from benchhost.settings import Settings
from benchhost.testing import install_plugin, serving


@pytest.fixture(scope="module")
def document(host):
    return host.get("/openapi.json").json


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_document_has_exactly_the_routes_of_the_code_for_each_benchmark_that_is_served(document):
    def of(prefix, handlers):
        for handler in handlers:
            for path, method in itertools.product(handler.paths, handler.http_methods):
                yield f"{prefix}{path.replace(':str}', '}')}", method.lower()

    served = [f"/b/{name}" for name in ("q", "boxes", "scored")]
    expected = {*of("", [*HOST_ROUTES, openapi]), *(each for prefix in served for each in of(prefix, BENCHMARK_ROUTES))}
    assert {(path, method) for path, method, _ in operations(document)} == expected


def test_litestar_has_no_route_beside_those(tmp_path):
    litestar = Framework(Host(Settings(state=tmp_path))).litestar
    served = {f"{route.path} {method}" for route in litestar.routes for method in route.methods - {"OPTIONS"}}
    declared = {
        f"{prefix}{path} {method}"
        for prefix, handlers in (("/b/{name:str}", BENCHMARK_ROUTES), ("", [*HOST_ROUTES, openapi]))
        for handler in handlers
        for path, method in itertools.product(handler.paths, handler.http_methods)
    }
    assert served == declared


def test_operations_have_names_of_their_own_that_stay(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert {"health", "plugins", "openapi", "q.evaluate", "q.evaluate_batch", "boxes.retrieve_task"} <= set(names)


def test_operations_are_tagged_by_topic_and_benchmark(document):
    assert document["paths"]["/b/q/v1/evaluate"]["post"]["tags"] == ["evaluation", "q"]
    assert document["paths"]["/v1/plugins"]["get"]["tags"] == ["host"]


def test_every_operation_and_parameter_is_explained(document):
    for path, _, operation in operations(document):
        assert operation["summary"].endswith((".", "?")), path
        for parameter in operation["parameters"]:
            assert parameter["in"] in ("path", "query", "header")
            assert parameter["schema"]["type"] in ("string", "array", "boolean", "integer")


def test_every_error_is_a_problem(document):
    for path, _, operation in operations(document):
        for status, response in operation["responses"].items():
            if status in ("200", "201", "202", "204"):
                continue
            name = response["$ref"].removeprefix("#/components/responses/")
            content = document["components"]["responses"][name]["content"]
            assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}, path


def test_a_body_is_required_and_has_a_schema(document):
    for path, method, operation in operations(document):
        if method == "put":
            assert operation["requestBody"] == {
                "required": True,
                "content": {"application/octet-stream": {"schema": {}}},
            }
            continue
        takes_one = method == "post" and not path.endswith("/cancel")
        assert ("requestBody" in operation) == takes_one, path
        if takes_one and path == "/v1/sandboxes":
            assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/SandboxRequest")
        elif takes_one:
            assert operation["requestBody"]["required"] is True
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            schema = document["components"]["schemas"][name]
            assert schema["description"]
            assert schema["required"]
            assert {"413", "422"} <= set(operation["responses"])


def test_what_an_answer_carries_beside_its_body_is_told(document):
    good = document["paths"]["/b/q/v1/evaluate"]["post"]["responses"]["200"]
    assert good["headers"]["x-evaluation-id"]["required"] is True
    batch = document["paths"]["/b/q/v1/evaluate-batch"]["post"]["responses"]
    assert set(batch["200"]["content"]) == {"application/json", "application/jsonl"}
    busy = document["components"]["responses"][batch["429"]["$ref"].rpartition("/")[2]]
    assert "retry-after" in busy["headers"]


def test_every_reference_leads_somewhere(document):
    def references(value):
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    for reference in set(references(document)):
        found = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def test_an_open_host_asks_for_no_key_in_its_document(document):
    assert "securitySchemes" not in document["components"]
    assert all("security" not in operation for _, _, operation in operations(document))


WHOLE = """
from benchhost import Benchmark, Environment, Result, Task


class Plugin(Benchmark[Task]):
    '''It offers everything, and no hook fails.'''

    def load_datasets(self):
        return {"default": [Task(id=f"t{n}", question="?") for n in range(3)]}

    def evaluate_response(self, task, response):
        return Result(score=len(response.text) / (1 + len(response.text)), passed=not response.text)

    def retrieve_task(self, task):
        return Environment(image="python", problem_path="/problem", cwd="/")
"""

CONFIG = """
[parameters]
"path.dataset" = "default"
"""

EXCLUDED = {
    "positive_data_acceptance": "no schema can say which tasks, datasets and slices there are: others are 400 or 404",
}


@pytest.mark.parametrize("key", [None, "a-key-for-schemathesis"], ids=["open", "with a key"])
def test_schemathesis_finds_nothing(tmp_path, key):
    install_plugin(tmp_path / "plugins", "whole", WHOLE)
    environ = {"BENCHHOST_API_KEY": key} if key else {}
    with serving(tmp_path / "state", "--only", "whole", plugins=[tmp_path / "plugins"], environ=environ) as running:
        (tmp_path / "schemathesis.toml").write_text(CONFIG)
        command = [
            str(Path(sysconfig.get_path("scripts")) / "schemathesis"),
            "--config-file=schemathesis.toml",
            "run",
            f"{running.url}/openapi.json",
            "--checks=all",
            f"--exclude-checks={','.join(EXCLUDED)}",
            "--phases=examples,coverage,fuzzing",
            "--max-examples=15",
            "--generation-deterministic",
            "--no-color",
            "--continue-on-failure",
            *([f"--header=Authorization: Bearer {key}"] if key else []),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=170)
        assert done.returncode == 0, done.stdout + done.stderr
        all_of_them = re.search(r"Selected: (\d+)/\1\b", done.stdout)
        assert all_of_them is not None, done.stdout
        assert f"Tested: {all_of_them[1]}" in done.stdout
        assert "Traceback" not in running.said()
