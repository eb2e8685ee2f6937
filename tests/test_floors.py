"""The plan of the house in docs/architecture.md, compared with what the modules really import."""

from __future__ import annotations

import ast
import fnmatch
import graphlib
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "benchhost"

HIDDEN_ON_PURPOSE = {
    # (module, what it imports inside a function): why
    ("benchhost.access.allowlist", "yaml"): "start-up: only a host with such a file needs it",
    ("benchhost.access.descope", "descope"): "optional: benchhost[descope] brings it",
    ("benchhost.access.descope", "jwt"): "comes with descope",
    ("benchhost.access.oidc", "aiohttp"): "start-up: only a host that asks an issuer needs it, and it takes 0.2 s",
    ("benchhost.access.oidc", "jwt"): "optional: benchhost[oidc] brings it",
    ("benchhost.cli.*", "benchhost.*"): "start-up: `benchhost --help` loads no part of the host",
    ("benchhost.cli.parquet", "pyarrow"): "optional: benchhost[parquet] brings it",
    ("benchhost.cli.parquet", "pyarrow.parquet"): "comes with pyarrow",
    ("benchhost.client.*", "aiohttp"): "start-up: only an open client needs it, and it takes 0.2 s",
    ("benchhost.client.*", "yarl"): "comes with aiohttp",
    ("benchhost.sandbox", "benchhost.sandbox.judge"): "start-up: only who judges code needs the judge",
    ("benchhost.sandbox.daytona.sdk", "daytona"): "optional: benchhost[daytona] brings it, under one of two names",
    ("benchhost.sandbox.daytona.sdk", "daytona_sdk"): "likewise",
    ("benchhost.evaluation.zygote", "benchhost.evaluation.grader"): "start-up: only a zygote itself needs a grader",
    ("benchhost.evaluation.zygote", "benchhost.evaluation.lifeline"): "start-up: likewise",
    ("benchhost.evaluation.zygote", "benchhost.evaluation.watcher"): "start-up: likewise",
    ("benchhost.evaluation.zygote", "benchhost.sandbox.local.kernel"): "start-up: likewise",
    ("benchhost.evaluation.zygote", "benchhost.sandbox.local.execution"): "start-up: likewise",
    ("benchhost.models.any_llm", "any_llm"): "optional: benchhost[models] brings it",
    ("benchhost.models.transport", "aiohttp"): "start-up: only a model behind HTTP needs it, and it takes 0.2 s",
    ("benchhost.models.transport", "yarl"): "comes with aiohttp",
    ("benchhost.receipts.keys", "cryptography*"): "optional: benchhost[receipts] brings it",
    ("benchhost.runner.agent.contract", "yaml"): "start-up: only a run of an agent needs it",
    ("benchhost.runner.agent.listening", "aiohttp"): "start-up: likewise, and it takes 0.2 s",
    ("benchhost.server.app", "benchhost.server.framework"): "start-up: a host is healthy before Litestar is loaded",
    ("benchhost.server.serve", "benchhost.server.framework"): "start-up: likewise, with a single worker",
    ("benchhost.server.receipts", "benchhost.server.sealing"): "start-up: it brings the run engine, likewise",
    ("benchhost.server.host", "benchhost.runner.instances"): "start-up: likewise",
    ("benchhost.server.host", "benchhost.server.run_manager"): "start-up: the run engine takes 0.1 s, if it is allowed",
    ("benchhost.uploads.bucket", "obstore*"): "optional: benchhost[s3] brings it",
    ("benchhost.scoring.bootstrap", "numpy"): "optional: it draws faster than the standard library",
}


class Import(NamedTuple):
    importer: str
    imported: str
    line: int
    in_function: bool

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.imported}"


class Picture(NamedTuple):
    """Which room stands on which floor; what the rooms beside may import, and who may import them."""

    floors: dict[str, int]
    imports: dict[str, set[str]]
    importers: dict[str, set[str]]

    @property
    def rooms(self) -> set[str]:
        return self.floors.keys() | self.imports.keys()

    def allows(self, importer: str, imported: str) -> bool:
        if importer in self.imports and self.imports[importer] == {"anything"}:
            return True
        if imported in self.importers:
            return importer in self.importers[imported]
        if importer in self.imports:
            return imported in self.imports[importer]
        return self.floors[imported] < self.floors[importer]


def read_picture() -> Picture:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    block = re.search(r"^```floors\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    assert block, "docs/architecture.md has no ```floors block to compare the code with"
    above, beside = block[1].split("beside:")
    floors = {}
    floor = None
    for word in above.split():
        if word.isdigit():
            floor = int(word)
        else:
            floors[word] = floor
    rows = [re.fullmatch(r"\s*(\w+) +imports (.+?) +imported by (.+)", row) for row in beside.splitlines()]
    assert all(rows), f"a row beside the floors is not `room imports … imported by …`:{beside}"
    return Picture(
        floors,
        {row[1]: set(row[2].split()) - {"nothing"} for row in rows},
        {row[1]: set(row[3].split()) - {"nobody"} for row in rows},
    )


def modules_of(package: Path) -> dict[str, Path]:
    """Every module by its dotted name."""
    named = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        if "templates" not in parts:  # what the scaffold writes is not part of the host
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imports_of(module: str, path: Path, known: set[str]) -> Iterator[Import]:
    """Every import of a module, also those inside functions and under ``TYPE_CHECKING``."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def visit(node: ast.AST, in_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(module, alias.name, child.lineno, in_function)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    above = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join([*above, base] if base else above)
                for alias in child.names:
                    whole = f"{base}.{alias.name}"
                    yield Import(module, whole if whole in known else base, child.lineno, in_function)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from visit(child, in_function or inside)

    yield from visit(ast.parse(path.read_text("utf-8"), filename=str(path)), False)


def graph_of(package: Path) -> list[Import]:
    modules = modules_of(package)
    return [one for name, path in modules.items() for one in imports_of(name, path, set(modules))]


def room_of(module: str) -> str:
    """The room of a module of the house; the package itself and ``__main__`` are their own."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "benchhost"


def breaches(graph: list[Import], picture: Picture) -> list[str]:
    """The imports that the picture does not allow."""
    found = []
    for one in graph:
        if one.imported.split(".")[0] != "benchhost":
            continue
        importer, imported = room_of(one.importer), room_of(one.imported)
        if importer == imported:
            continue
        if importer == "benchhost":
            allowed = imported == "contract"
        elif importer == "__main__":
            allowed = imported == "cli"
        elif imported == "benchhost":  # the author's API, for its version or for authors' tools
            allowed = picture.floors.get(importer, 1) > 0
        else:
            allowed = picture.allows(importer, imported)
        if not allowed:
            found.append(str(one))
    return found


def cycles(graph: list[Import]) -> list[str]:
    """One cycle of modules, if there is any."""
    edges: dict[str, set[str]] = {}
    for one in graph:
        if one.imported.split(".")[0] == "benchhost" and one.imported != one.importer:
            edges.setdefault(one.importer, set()).add(one.imported)
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return []


def hidden(graph: list[Import]) -> list[Import]:
    return [one for one in graph if one.in_function]


def is_on_purpose(one: Import, purpose: tuple[str, str]) -> bool:
    """Whether an import is meant by an entry; ``a.*`` means ``a`` and everything in it."""
    return all(
        fnmatch.fnmatchcase(f"{name}.", f"{pattern.removesuffix('.*')}.{'*' if pattern.endswith('.*') else ''}")
        for name, pattern in zip((one.importer, one.imported), purpose, strict=True)
    )


GRAPH = graph_of(PACKAGE)
PICTURE = read_picture()


def test_every_room_is_in_the_picture() -> None:
    rooms = {room_of(name) for name in modules_of(PACKAGE)} - {"benchhost", "__main__"}
    assert rooms <= PICTURE.rooms, "docs/architecture.md does not say on which floor these rooms are"


def test_imports_go_down_and_never_across() -> None:
    assert breaches(GRAPH, PICTURE) == []


def test_no_module_imports_itself_in_a_circle() -> None:
    assert cycles(GRAPH) == []


def test_an_import_inside_a_function_has_a_reason() -> None:
    unexplained = [
        str(one) for one in hidden(GRAPH) if not any(is_on_purpose(one, purpose) for purpose in HIDDEN_ON_PURPOSE)
    ]
    assert unexplained == [], "an import stands at the top of its module, or HIDDEN_ON_PURPOSE says why it does not"


@pytest.mark.parametrize("purpose", HIDDEN_ON_PURPOSE, ids=":".join)
def test_every_reason_is_still_needed(purpose: tuple[str, str]) -> None:
    assert any(is_on_purpose(one, purpose) for one in hidden(GRAPH)), "nothing is hidden that way any more"


def test_importing_benchhost_loads_msgspec_and_the_standard_library_only() -> None:
    loaded = fresh_python("import sys; before = set(sys.modules); import benchhost; print(*set(sys.modules) - before)")
    packages = {name.split(".")[0] for name in loaded.split()}
    where_installed = {"typing_extensions"}  # msgspec looks for it
    assert packages - sys.stdlib_module_names - where_installed == {"benchhost", "msgspec"}


def test_help_answers_in_less_than_three_tenths_of_a_second_of_cpu() -> None:
    seconds = min(cpu_seconds([sys.executable, "-m", "benchhost", "--help"]) for _ in range(3))
    assert seconds < 0.3


def test_help_loads_no_web_framework_and_no_sdk() -> None:
    heavy = "litestar granian aiohttp numpy daytona daytona_sdk rich jinja2 sqlite3"
    loaded = fresh_python(
        "import sys, contextlib, io\n"
        "from benchhost.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "print(*sys.modules)"
    )
    assert set(heavy.split()) & set(loaded.split()) == set()


def test_a_server_is_healthy_before_it_has_loaded_its_framework() -> None:
    later = "litestar pydantic attr rich yaml benchhost.runner benchhost.models benchhost.server.routes"
    loaded = fresh_python("import sys, benchhost.server.serve; print(*sys.modules)")
    assert set(later.split()) & set(loaded.split()) == set()


def test_the_framework_loads_nothing_for_plugins_of_its_own_that_are_not_used() -> None:
    loaded = fresh_python(
        "import sys\n"
        "from pathlib import Path\n"
        "from benchhost.server.framework import Framework\n"
        "from benchhost.server.host import Host\n"
        "from benchhost.settings import Settings\n"
        "Framework(Host(Settings(state=Path('nowhere'))))\n"
        "print(*sys.modules)"
    )
    assert {"pydantic", "attr", "attrs"} & set(loaded.split()) == set()


def test_what_is_loaded_beside_the_framework_finds_every_package() -> None:
    hidden = fresh_python(
        "import sys\n"
        "from pathlib import Path\n"
        "from benchhost.server.framework import Framework\n"
        "from benchhost.server.host import Host\n"
        "from benchhost.settings import Settings\n"
        "host, hidden = Host(Settings(state=Path('nowhere'))), set()\n"
        "look = lambda: hidden.update(name for name, module in sys.modules.items() if module is None)\n"
        "sys.addaudithook(lambda event, _: look() if event == 'import' else None)\n"
        "Framework(host)\n"
        "print(*hidden)"
    )
    assert hidden.split() == []


def fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"NO_COLOR": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# The test itself is tried on houses that are built wrongly.


def house(folder: Path, **modules: str) -> list[Import]:
    for name, code in modules.items():
        path = folder.joinpath("benchhost", *name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(code, "utf-8")
    return graph_of(folder / "benchhost")


@pytest.mark.parametrize(
    "importer, code",
    [
        ("store__sqlite", "from benchhost.evaluation import Evaluator"),
        ("store__sqlite", "import benchhost.server.app"),
        ("store__sqlite", "from benchhost.tasks import filters"),
        ("store__sqlite", "from ..tasks import filters"),
        ("store__sqlite", "from benchhost import tasks"),
        ("store__sqlite", "from benchhost.settings import Settings"),
        ("store__sqlite", "from benchhost.log import logger"),
        ("store__sqlite", "def late():\n    from benchhost.server import app"),
        ("store__sqlite", "if TYPE_CHECKING:\n    from benchhost.server import app"),
        ("contract__task", "from benchhost.errors import BenchhostError"),
        ("contract__task", "from benchhost import __version__"),
        ("server__app", "from benchhost.testing import conformance"),
        ("client", "from benchhost.evaluation import Evaluator"),
    ],
)
def test_an_import_up_or_across_is_found(tmp_path: Path, importer: str, code: str) -> None:
    others = {f"{room}__{name}": "" for room, name in [("tasks", "filters"), ("server", "app")] if room not in importer}
    graph = house(tmp_path, **others, **{importer: code})
    assert len(breaches(graph, PICTURE)) == 1


@pytest.mark.parametrize(
    "importer, code",
    [
        ("evaluation__hub", "from benchhost.store import Store\nfrom benchhost.errors import Busy"),
        ("server__app", "from benchhost.settings import Settings\nfrom benchhost import __version__"),
        ("testing__suite", "from benchhost.server import app"),
        ("client", "from benchhost.wire import Task"),
        ("store__sqlite", "from benchhost.store.records import Record\nimport sqlite3"),
    ],
)
def test_an_import_down_is_not_found(tmp_path: Path, importer: str, code: str) -> None:
    assert breaches(house(tmp_path, **{importer: code}), PICTURE) == []


def test_a_circle_of_modules_is_found(tmp_path: Path) -> None:
    graph = house(
        tmp_path,
        store__a="from benchhost.store.b import x",
        store__b="def late():\n    from benchhost.store import c",
        store__c="from . import a",
    )
    assert sorted(set(cycles(graph))) == ["benchhost.store.a", "benchhost.store.b", "benchhost.store.c"]


def test_an_import_inside_a_function_is_found(tmp_path: Path) -> None:
    graph = house(tmp_path, store__a="import os\nclass A:\n    async def late(self):\n        import numpy as np")
    assert [one.imported for one in hidden(graph)] == ["numpy"]
