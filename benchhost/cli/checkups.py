"""What ``benchhost doctor`` looks at. Each function looks at one thing and says what it found; none raises."""

from __future__ import annotations

import asyncio
import os
import platform
import stat
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from benchhost.errors import BenchhostError
from benchhost.settings import CONFIG_FILE, CONFIG_VARIABLE, Settings, describe

if TYPE_CHECKING:
    from benchhost.contract import Capabilities, Provider

Outcome = Literal["ok", "warning", "problem"]
"""``problem``: it is less than what the settings ask for, the judge of code does not hold, or a secret lies open."""

_SECRETS = frozenset({doc.name for doc in describe() if doc.secret} | {"benchmarks"})


class Checkup(msgspec.Struct, frozen=True):
    """What was looked at, what came of it, and what there is to say: what is enforced, what is not, what to change."""

    name: str
    outcome: Outcome
    said: list[str]


async def examine(settings: Settings, config: Path | None) -> AsyncIterator[Checkup]:
    """Look at everything, one after the other."""
    yield _python()
    yield await _sandboxes(settings)
    yield await _judge()
    yield _access(settings)
    yield _probing(settings)
    yield await _uploads(settings)
    yield _secrets(settings, config)
    yield await _store(settings)
    yield await _plugins(settings)


def _python() -> Checkup:
    machine = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return Checkup("python", "ok", [f"Python {platform.python_version()} at {sys.executable}, on {machine}"])


async def _sandboxes(settings: Settings) -> Checkup:
    from benchhost.sandbox import open_provider
    from benchhost.server.sandboxes import own_provider

    try:
        name, config = own_provider(settings)
        if name is None:
            return Checkup("sandboxes", "ok", ["there are to be none: the setting sandbox is none"])
        with tempfile.TemporaryDirectory(prefix="benchhost-doctor-") as folder:
            if name == "local":  # the state folder is left as it is
                config |= {"folder": folder}
            provider = await open_provider(name, config)
            try:
                found = await provider.capabilities()
                said = _told(name, found) + _groups_told(provider)
            finally:
                await provider.aclose()
    except BenchhostError as error:
        lowest = f"the settings ask for {settings.sandbox} and an isolation of at least {settings.min_isolation}"
        return Checkup("sandboxes", "problem", [str(error), lowest])
    return Checkup("sandboxes", "warning" if found.why else "ok", said)


def _told(name: str, found: Capabilities) -> list[str]:
    said = [f"{name}, isolation {found.isolation}, proved by making one"]
    said += [f"stronger is not to be had: {why}" for why in found.why]
    how = {
        "hard": "the kernel keeps it",
        "polled": "looked at again and again, so that it may be exceeded for a moment",
        "none": "not limited",
    }
    said += [f"limit of {limit}: {how[kept]}" for limit, kept in found.limits.items()]
    said.append(f"networks: {', '.join(found.networks)}")
    if name == "local":
        said.append("`benchhost sandbox escape-suite` tries to get out")
    return said


def _groups_told(provider: Provider) -> list[str]:
    from benchhost.sandbox.local.provider import LocalProvider

    if not isinstance(provider, LocalProvider):
        return []
    if provider.without_cgroups is None:
        return ["cgroups keep the limits of memory, processes and cores"]
    return [f"no cgroups keep limits: {provider.without_cgroups}. To have them, see docs/sandboxes.md"]


async def _judge() -> Checkup:
    from benchhost.sandbox.judge.proof import prove

    try:
        found = await asyncio.to_thread(prove)
    except BenchhostError as error:
        return Checkup("judge", "warning", [f"no code of models can be judged here: {error}"])
    if found:
        return Checkup("judge", "problem", [f"the judge of code does not hold here: {each}" for each in found])
    return Checkup("judge", "ok", ["code is judged, proved with right, wrong and hostile answers"])


def _access(settings: Settings) -> Checkup:
    from benchhost.server.policy import describe as told
    from benchhost.server.policy import policy_of

    try:
        policy = policy_of(settings)
    except BenchhostError as error:
        return Checkup("access", "problem", [str(error)])
    return Checkup("access", "warning" if policy.is_open else "ok", told(policy, settings))


def _probing(settings: Settings) -> Checkup:
    """Say what the operator's policies of probing tell, and what they leave open."""
    from benchhost.evaluation.probing import bits_of, left_open, whose
    from benchhost.server.probing import read_probing

    try:
        policies = read_probing(settings.probing)
    except BenchhostError as error:
        return Checkup("probing", "problem", [str(error)])
    said = []
    for name, policy in policies.items():
        if (bits := bits_of(policy)) is not None:
            said.append(
                f"{name}: sums tell {whose(policy)} up to {bits:.0f} bits of all answers, for scores from 0 to 1"
            )
        elif policy.attempts is not None:
            said.append(f"{name}: {whose(policy)} may guess at each answer {policy.attempts} times")
    open_ = [f"{name}: {what}" for name, policy in policies.items() for what in left_open(policy)]
    if not policies:
        said.append("no policy is set here, and those that authors declare hold: see `benchhost check`")
    return Checkup("probing", "warning" if open_ else "ok", said + open_)


async def _uploads(settings: Settings) -> Checkup:
    """Look whether what is uploaded can be kept; a bucket is asked for what is not in it."""
    from benchhost.server.uploads import check_uploads, uploads_of
    from benchhost.uploads import Place

    try:
        check_uploads(settings)
        if not settings.allow_uploads:
            return Checkup("uploads", "ok", ["there are to be none: the setting allow_uploads is false"])
        if settings.upload_bucket is None:
            each = (
                f"up to {settings.max_upload_bytes} bytes each and {settings.max_upload_mb_per_tenant} MB of a tenant"
            )
            return Checkup("uploads", "ok", [f"kept here for {settings.keep_uploads:g} s, {each}"])
        uploads = uploads_of(settings)
        assert uploads is not None
        await uploads.read("benchhost", Place("", "doctor", "asks", "for").key("nothing"))
    except BenchhostError as error:
        return Checkup("uploads", "problem", [str(error)])
    rule = "nothing is deleted there by the host: it takes a rule of the bucket"
    return Checkup("uploads", "ok", [f"kept in the bucket {settings.upload_bucket}, which answers", rule])


def _secrets(settings: Settings, config: Path | None) -> Checkup:
    """Look whether other users of this machine may read what is secret."""
    from benchhost.server.host import PID_FILE

    said: list[str] = []
    outcome: Outcome = "ok"
    file = config or Path(os.environ.get(CONFIG_VARIABLE) or CONFIG_FILE)
    if _is_open(file) and (held := _secrets_in(file)):
        outcome = "problem"
        said.append(f"{file} holds {', '.join(held)}, and everybody on this machine may read it: chmod 600 {file}")
    for path in sorted(settings.state.glob("*")):
        if path.name != PID_FILE and path.is_file() and _is_open(path):  # whose process it is, anybody can see
            outcome = "problem"
            said.append(f"{path} is the host's own, and everybody on this machine may read it: chmod 600 {path}")
    return Checkup("secrets", outcome, said or ["no other user of this machine may read them"])


def _is_open(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def _secrets_in(file: Path) -> list[str]:
    return sorted(_SECRETS & tomllib.loads(file.read_text("utf-8")).keys())


async def _store(settings: Settings) -> Checkup:
    from benchhost.cli.stored import opened_store
    from benchhost.store import DATABASE

    place = settings.state / DATABASE
    if not place.exists():
        above = next(each for each in (settings.state, *settings.state.absolute().parents) if each.exists())
        if not (above.is_dir() and os.access(above, os.W_OK)):
            return Checkup("store", "problem", [f"{place} is not there, and {above} is no folder that can be written"])
        return Checkup("store", "ok", [f"{place} is not there yet: the first command that needs it makes it"])
    try:
        async with opened_store(settings):
            pass
    except (BenchhostError, OSError) as error:
        return Checkup("store", "problem", [f"{place} cannot be used: {error}"])
    return Checkup("store", "ok", [f"{place} can be read and written"])


async def _plugins(settings: Settings) -> Checkup:
    from benchhost.cli.plugins import loaded, origin_of

    try:
        told, causes = await loaded(settings)
    except BenchhostError as error:
        return Checkup("plugins", "problem", [str(error)])
    faulty = [plugin for plugin in told if plugin.state != "serving"]
    said = [f"{len(told) - len(faulty)} of {len(told)} benchmarks can be served"]
    for plugin in faulty:
        cause = causes.get(origin_of(plugin), "").strip().splitlines()
        said.append(f"{plugin.name} is faulty: {plugin.reason}{f': {cause[-1]}' if cause else ''}")
    if faulty:
        said.append("`benchhost plugins` tells the causes")
    outcome: Outcome = "ok" if not faulty else "problem" if settings.strict else "warning"
    return Checkup("plugins", outcome, said)
