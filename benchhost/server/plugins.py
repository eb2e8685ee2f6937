"""Routes that tell of the host itself."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency

import benchhost
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.roster import Roster
from benchhost.registry import REASONS, Fault
from benchhost.server.auth import Admitted
from benchhost.server.host import Host
from benchhost.wire.native import Index, Plugin, Plugins
from benchhost.wire.vals import Health


@get("/health", tags=["health"])
async def health() -> Health:
    """Say that the host answers. It does before all plugins are loaded."""
    return Health()


@get("/", tags=["host"])
async def index(host: NamedDependency[Host], admitted: NamedDependency[Admitted]) -> Index:
    """Say what is served here, and where to read on."""
    served = [each.name for each in host.roster if each.fault is None and admitted.caller.knows_of(each.name)]
    return Index(benchhost.__version__, sorted(served))


@get("/v1/plugins", tags=["host"])
async def plugins(host: NamedDependency[Host], admitted: NamedDependency[Admitted]) -> Plugins:
    """List the installed plugins, and why those that cannot be served cannot."""
    told = [plugin for plugin in state_of(host.roster) if admitted.caller.knows_of(plugin.name)]
    for plugin in told:
        plugin.datasets = plugin.datasets and {
            name: tasks for name, tasks in plugin.datasets.items() if admitted.caller.may_use(plugin.name, name)
        }
    return Plugins(told)


def state_of(roster: Roster) -> list[Plugin]:
    """Tell of every installed plugin what anybody may know."""
    told = [of_fault(fault) for fault in roster.faults()]
    told += [_of_benchmark(benchmark) for benchmark in roster if benchmark.fault is None]
    return sorted(told, key=lambda plugin: plugin.name)


def of_fault(fault: Fault) -> Plugin:
    """Tell of a faulty plugin what anybody may know: the reason, and not what the plugin's code said."""
    entry = fault.entry
    return Plugin(
        name=entry.name,
        state="faulty",
        distribution=entry.distribution,
        distribution_version=entry.version,
        object=entry.object,
        reason=fault.reason,
        message=REASONS[fault.reason],
    )


def _of_benchmark(benchmark: HostedBenchmark) -> Plugin:
    entry = benchmark.entry
    serving = benchmark.state == "serving"
    return Plugin(
        name=entry.name,
        state=benchmark.state,
        distribution=entry.distribution,
        distribution_version=entry.version,
        object=entry.object,
        version=benchmark.version if serving else None,
        datasets=benchmark.datasets if serving else None,
    )
