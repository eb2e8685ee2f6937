"""From the settings to who is let in, and what is said of it."""

from __future__ import annotations

import pytest

from benchhost.errors import SettingsError
from benchhost.server.policy import describe, is_loopback, policy_of
from benchhost.settings import Settings


@pytest.mark.parametrize(
    "settings, modes",
    [
        ({}, ("open",)),
        ({"api_key": "k"}, ("bearer",)),
        ({"auth_required": True}, ("descope",)),
        ({"auth_required": True, "api_key": "k"}, ("descope",)),
        ({"auth": ("keys",)}, ("keys",)),
        ({"auth": ("keys", "bearer", "keys"), "api_key": "k"}, ("keys", "bearer")),
        ({"auth": ("open",)}, ("open",)),
    ],
    ids=str,
)
def test_the_settings_say_by_which_ways_callers_are_let_in(settings, modes):
    assert policy_of(Settings(**settings)).modes == modes


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"auth": ()}, "auth: expected some of open, bearer, keys, descope, oidc, got none"),
        ({"auth": ("key",)}, "got 'key'"),
        ({"auth": ("open", "keys")}, "it goes with no other way"),
        ({"auth": ("open",), "auth_required": True}, "it goes with no other way"),
        ({"auth": ("bearer",)}, "needs an api_key"),
        ({"host": "::"}, ":: can be reached by other machines"),
        ({"host": "benchhost.example"}, "can be reached by other machines"),
        ({"auth": ("oidc",), "oidc_issuer": "https://a.example"}, "an oidc_issuer and an oidc_audience"),
        ({"auth": ("oidc",), "oidc_issuer": "http://a.example", "oidc_audience": "b"}, "begins with https://"),
        (
            {
                "auth": ("oidc",),
                "oidc_issuer": "https://a.example",
                "oidc_audience": "b",
                "oidc_algorithms": ("HS256",),
            },
            "oidc_algorithms: expected some of RS256, .*, got 'HS256'",
        ),
        ({"auth_required": True, "descope_project_id": "P", "descope_base_uri": "http://a"}, "descope_base_uri: "),
        ({"auth": ("keys",), "allowlist_json": "[]"}, "the allowlist in JSON"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused_and_the_error_says_which(settings, told):
    with pytest.raises(SettingsError, match=told):
        policy_of(Settings(**settings))


@pytest.mark.parametrize(
    "settings", [{"host": "0.0.0.0", "allow_open": True}, {"host": "0.0.0.0", "auth": ("keys",)}, {"host": "localhost"}]
)
def test_an_address_that_others_can_reach_takes_a_credential_or_a_word(settings):
    policy_of(Settings(**settings))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_these_addresses_are_reached_by_this_machine_alone(address):
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "", "127.0.0.1.example"])
def test_these_may_be_reached_by_others(address):
    assert not is_loopback(address)


def said(**settings):
    settings = Settings(**settings)
    return "; ".join(describe(policy_of(settings), settings))


def test_an_open_host_says_so_and_which_models_everybody_may_run():
    assert "no API key is set: everybody who can reach this server" in said()
    told = said(allow_runs=True, run_models=("openai/*",))
    assert "everybody may have these models attempt benchmarks, at your cost: openai/*" in told


def test_a_host_of_tenants_says_how_many_are_in_the_allowlist_and_that_the_api_key_is_of_none():
    told = said(auth=("keys", "bearer"), api_key="k", allowlist_json='{"tenants": {"acme": {}}}')
    assert "(tenants in the allowlist: 1)" in told
    assert "the API key is of no tenant" in told
    assert "k is" not in told


def test_a_quota_that_is_not_enforced_is_said_to_be_none():
    quota = '{"tenants": {"acme": {"evaluation_quota": {"limit": 1, "period": "day"}}}}'
    assert "the allowlist limits how many evaluations a tenant may begin at each benchmark (tenants: 1)" in said(
        auth=("keys",), allowlist_json=quota
    )


def test_what_is_secret_is_not_in_what_is_said_of_the_settings():
    shown = repr(Settings(api_key="open-sesame", auth=("bearer",)))
    assert "open-sesame" not in shown
