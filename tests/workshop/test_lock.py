"""requirements.lock: what was tested is what pyproject.toml asks for, and what these tests run on."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PINS = [Requirement(line) for line in LOCK.splitlines() if line and not line.lstrip().startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def requirements(group: str) -> Iterator[Requirement]:
    for entry in PROJECT["dependency-groups"][group]:
        if isinstance(entry, dict):
            yield from requirements(entry["include-group"])
        else:
            yield Requirement(entry)


def counts(requirement: Requirement, python: str) -> bool:
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


def pins(name: str, *, python: str) -> list[Requirement]:
    return [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(name) and counts(pin, python)]


def pinned_version(pin: Requirement) -> str:
    (only,) = pin.specifier
    assert only.operator == "=="
    return only.version


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_the_lock_has_one_fitting_version_of_everything_that_is_asked_for(python: str) -> None:
    asked = [*map(Requirement, PROJECT["project"]["dependencies"]), *requirements("dev")]
    for requirement in (each for each in asked if counts(each, python)):
        found = pins(requirement.name, python=python)
        assert len(found) == 1, f"make lock: requirements.lock has not one {requirement.name} for Python {python}"
        assert requirement.specifier.contains(pinned_version(found[0])), f"make lock: {found[0]} is not {requirement}"


def test_these_tests_run_on_what_is_locked() -> None:
    here = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate()]
    installed = {pin.name: version(pin.name) for pin in here}
    assert installed == {pin.name: pinned_version(pin) for pin in here}


def test_the_lock_names_no_place_to_download_from() -> None:
    assert "://" not in LOCK
    assert "index-url" not in LOCK
