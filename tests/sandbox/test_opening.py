"""Providers of sandboxes by name, as plugins bring them."""

from __future__ import annotations

import sys
import types

import pytest

from benchhost import Provider
from benchhost.contract import SandboxSpec
from benchhost.discovery import Entry
from benchhost.errors import SandboxUnavailable
from benchhost.sandbox import provider_class
from benchhost.testing import install_plugin


@pytest.fixture(autouse=True)
def fresh():
    provider_class.cache_clear()
    yield
    provider_class.cache_clear()
    sys.modules.pop("plugin_acme", None)


@pytest.mark.parametrize(
    "source,said",
    [
        ("raise RuntimeError('no licence')", "cannot be loaded: RuntimeError: no licence"),
        ("class Plugins: pass", "cannot be loaded: Lacking: plugin_acme has no Plugin; did you mean Plugins?"),
        ("Plugin = 5", "is no subclass of benchhost.Provider"),
    ],
)
def test_a_broken_provider_is_named_with_its_distribution(tmp_path, monkeypatch, source, said):
    install_plugin(tmp_path, "acme", source, group="benchhost.sandboxes")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SandboxUnavailable, match=r"acme \(plugin_acme:Plugin, from plugin-acme 1\.0\)") as caught:
        provider_class("acme")
    assert said in str(caught.value)


def test_a_provider_may_lie_within_something(monkeypatch):
    module = types.ModuleType("acme_sandboxes")
    module.Vendor = types.SimpleNamespace(Boxes=type("Boxes", (Provider,), {}))
    monkeypatch.setitem(sys.modules, "acme_sandboxes", module)
    entry = Entry(name="acme", object="acme_sandboxes:Vendor.Boxes", distribution="acme", version="1")
    monkeypatch.setattr("benchhost.sandbox.opening.entries", lambda group: [entry])
    assert provider_class("acme") is module.Vendor.Boxes


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["idle_timeout", "lifetime"])
def test_a_sandbox_ends_at_a_time_that_there_is_or_never(name, seconds):
    assert getattr(SandboxSpec(**{name: None}), name) is None
    with pytest.raises(ValueError, match=f"the {name} of a sandbox must be more than 0 seconds and finite"):
        SandboxSpec(**{name: seconds})
