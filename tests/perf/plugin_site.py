"""Makes a folder that Python takes for a place where plugins are installed, so that nothing need be installed."""

from __future__ import annotations

import shutil
from pathlib import Path

HERE = Path(__file__).parent
GROUP = "benchhost.benchmarks"


def install(folder: Path, benchmarks: dict[str, str]) -> Path:
    """Write a distribution for each benchmark, ``{name: class in plugin.py}``, and return what to put on the path.

    Each has a module of its own, as separate distributions have, so that each costs an import.
    """
    site = folder / "site"
    site.mkdir()
    shutil.copy(HERE / "sums.py", site)
    for name, class_name in benchmarks.items():
        module = "perf_" + name.replace("-", "_")
        shutil.copy(HERE / "plugin.py", site / f"{module}.py")
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {module}:{class_name}\n")
    return site
