"""All attacks, and how they are carried out against a provider."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchhost.contract import Provider, Sandbox, SandboxSpec
from benchhost.errors import SandboxError
from benchhost.sandbox.escape import files, kernel, neighbours, network, processes, resources, transfers
from benchhost.sandbox.escape.attack import Attack, Finding, Heard, NotApplicable, Verdict
from benchhost.sandbox.escape.program import whole
from benchhost.sandbox.escape.scene import VARIABLE, Scene

ATTACKS: tuple[Attack, ...] = (
    *network.ATTACKS,
    *files.ATTACKS,
    *neighbours.ATTACKS,
    *processes.ATTACKS,
    *kernel.ATTACKS,
    *resources.ATTACKS,
    *transfers.ATTACKS,
)
"""Every attack of the suite."""

_SPEC = SandboxSpec(resources=resources.GIVEN, labels={"benchhost": "escape-suite"}, lifetime=600.0)


async def attack_provider(
    opening: Callable[[], Awaitable[Provider]],
    attacks: Collection[Attack] = ATTACKS,
    *,
    places: tuple[Path, ...] = (),
) -> AsyncIterator[Finding]:
    """Open a provider, carry out attacks from its sandboxes, one after the other, and say what came of each.

    It is opened here, because a secret is to lie in the environment of its process and in an open file beforehand.
    ``places`` are the folders of this machine in which it keeps sandboxes. Raises what opening raises, and
    :class:`~benchhost.errors.SandboxError` when there is no sandbox to be had.
    """
    with tempfile.TemporaryDirectory(prefix="benchhost-escape-") as name, _bait(Path(name)):
        folder = Path(name)
        folder.chmod(0o755)
        provider = await opening()
        try:
            async with _sandbox(provider) as neighbour:
                for attack in attacks:
                    scene = Scene(folder, places, provider)
                    scene.neighbour = neighbour
                    yield await _carry_out(attack, scene)
        finally:
            await provider.aclose()


async def _carry_out(attack: Attack, scene: Scene) -> Finding:
    began = time.monotonic()
    verdict: Verdict
    try:
        async with _sandbox(scene.provider) as sandbox:
            scene.sandbox = sandbox
            async with attack.lay(scene) as trap:
                ran = await sandbox.run(
                    ["python3", "-c", whole(attack.program), scene.mark],
                    env=trap.told,
                    timeout=attack.timeout,
                    max_output=resources.MOST_OUTPUT,
                )
                heard = Heard(ran.stdout.decode("latin-1"), ran.stderr.decode("latin-1"), ran.exited)
                evidence = await trap.evidence(heard)
        verdict, why = ("escaped", evidence) if evidence else _verdict_of(attack, heard)
    except NotApplicable as reason:
        verdict, why = "not applicable", str(reason)
    except SandboxError as error:
        verdict, why = "unclear", f"the sandbox failed: {error}"
    except TimeoutError:
        verdict, why = "escaped", "it kept the host waiting"
    finally:
        scene.end_leftovers()
    return Finding(name=attack.name, tries=attack.tries, verdict=verdict, why=why, seconds=time.monotonic() - began)


def _verdict_of(attack: Attack, heard: Heard) -> tuple[Verdict, str]:
    """Say what it means that there is no evidence: that it was kept, or only that the program did not work."""
    if not heard.lines("began"):
        return "unclear", f"its program did not begin: {heard.exited}: {heard.errors.strip()[-200:]}"
    if broken := heard.lines("broken"):
        return "unclear", f"its program is broken: {broken[0][:200]}"
    refused = heard.lines("refused")
    if not (attack.violent or refused or heard.lines("done")):
        return "unclear", f"its program was ended: {heard.exited}"
    return "stopped", attack.kept_by


@asynccontextmanager
async def _sandbox(provider: Provider) -> AsyncIterator[Sandbox]:
    sandbox = await provider.create(_SPEC)
    try:
        yield sandbox
    finally:
        await provider.delete(sandbox.id)


@contextlib.contextmanager
def _bait(folder: Path) -> Iterator[None]:
    """Keep a secret in the environment of this process, and in a file that is open and would be inherited."""
    secret = secrets.token_hex(16)
    path = folder / "open"
    path.write_text(secret)
    file = os.open(path, os.O_RDONLY)
    os.set_inheritable(file, True)
    os.environ[VARIABLE] = secret
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        os.close(file)
