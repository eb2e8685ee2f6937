"""Plugins made on the spot, installed in a folder."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path


def install_plugin(
    folder: Path,
    name: str,
    source: str,
    *,
    attribute: str = "Plugin",
    version: str = "1.0",
    module: str | None = None,
    group: str = "benchhost.benchmarks",
) -> None:
    """Install a plugin in ``folder``, as pip would: a module and the metadata of a distribution.

    ``source`` is the text of the module, and ``attribute`` what in it is the benchmark, or whatever else the entry
    points of the ``group`` are. Whoever has ``folder`` on ``PYTHONPATH`` has the plugin installed.
    """
    module = module or re.sub(r"\W", "_", f"plugin_{name}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
    metadata = folder / f"{module}-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    distribution = module.replace("_", "-")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{attribute}\n")
