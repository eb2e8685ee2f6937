"""``benchhost keys``, ``grant``, ``revoke`` and ``audit``: what they say. What they do is tried in tests/access."""

from __future__ import annotations

import re
import time

import pytest

from benchhost.access.keys import is_key
from benchhost.cli.granting import when
from benchhost.errors import UsageError


@pytest.fixture(autouse=True)
def keys_are_asked_for(state, monkeypatch):
    monkeypatch.setenv("BENCHHOST_AUTH", "keys")


def test_a_key_is_printed_once_and_nothing_else_is_beside_it(benchhost):
    said = benchhost("keys", "create", "--tenant", "acme", "--datasets", "a/default, a/test", "--label", "nightly")
    assert said.code == 0
    assert is_key(said.out.strip().encode())
    key_id = re.search(r"The key ([0-9a-f]{12}) is for acme: a/default, a/test, until never", said.err)[1]
    assert said.out.strip() not in said.err
    listed = benchhost("keys", "list")
    assert listed.out == f"{key_id}  acme  a/default, a/test; good; expires never; last used never; nightly\n"
    assert "bhk_" not in listed.out + benchhost("audit").out + benchhost("keys", "list", "--json").out


def test_a_label_of_a_key_is_shown_so_that_a_terminal_obeys_none_of_it(benchhost):
    benchhost("keys", "create", "--tenant", "acme", "--label", "a\x1b[2J\nb")
    assert benchhost("keys", "list").out.endswith("; a\ufffd[2J b\n")


def test_keys_are_told_as_json(benchhost):
    made = benchhost("keys", "create", "--tenant", "acme", "--expires", "2h", "--json").json
    assert is_key(made.pop("key").encode())
    assert made["expires_at"] == pytest.approx(time.time() + 7200, abs=60)
    assert benchhost("keys", "list", "--json").json == {"keys": [made]}
    assert benchhost("keys", "list", "--tenant", "another", "--json").json == {"keys": []}


def test_a_key_of_a_tenant_who_is_granted_nothing_is_warned_of(benchhost):
    said = benchhost("keys", "create", "--tenant", "acme")
    assert "Warning: acme is granted nothing yet: benchhost grant acme BENCHMARK/DATASET" in said.err


def test_keys_that_no_host_asks_for_are_warned_of(benchhost, monkeypatch):
    monkeypatch.delenv("BENCHHOST_AUTH")
    for said in (
        benchhost("keys", "create", "--tenant", "acme", "--datasets", "a/b"),
        benchhost("grant", "acme", "a/b"),
    ):
        assert "Warning: a host with these settings lets callers in by open" in said.err


def test_there_are_no_keys_and_it_says_how_to_make_one(benchhost):
    assert benchhost("keys", "list").out == "There are no keys. Try: benchhost keys create --tenant NAME\n"


def test_a_revoked_key_is_listed_so_and_revoking_it_again_changes_nothing(benchhost):
    made = benchhost("keys", "create", "--tenant", "acme", "--json").json
    assert benchhost("keys", "revoke", made["id"]).out == "1 key is revoked\n"
    first = benchhost("keys", "list", "--json").json["keys"][0]
    assert first["state"] == "revoked"
    benchhost("keys", "revoke", made["id"])
    assert benchhost("keys", "list", "--json").json["keys"] == [first]


def test_of_keys_one_of_which_is_unknown_none_is_revoked_and_a_whole_key_is_not_repeated(benchhost):
    made = benchhost("keys", "create", "--tenant", "acme", "--json").json
    said = benchhost("keys", "revoke", made["id"], made["key"])
    assert said.code == 2
    assert f"no key has the id '{made['key'][:12]}'. Look at: benchhost keys list" in said.err
    assert made["key"] not in said.err
    assert benchhost("keys", "list", "--json").json["keys"][0]["state"] == "good"


@pytest.mark.parametrize("text", ["90d", "12h", "30m", "2w", "9999-12-31", "2100-01-31", "2100-01-31T12:00:00+02:00"])
def test_these_are_ends_of_keys(text):
    assert when(text) > time.time()


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1y", "tomorrow", "2020-01-31", "1e3d"])
def test_these_are_none(text):
    with pytest.raises(UsageError, match="--expires: "):
        when(text)


@pytest.mark.parametrize("text", ["999999w", "9999-12-31T23:59:59-23:59"])
def test_no_key_is_made_that_ends_when_no_calendar_has_a_name_for(benchhost, text):
    said = benchhost("keys", "create", "--tenant", "acme", "--expires", text)
    assert (said.code, said.out) == (2, "")
    assert said.err == f"Error: --expires: {text} is beyond the year 9999; without --expires, the key never ends\n"
    assert benchhost("keys", "list", "--json").json["keys"] == []


def test_a_time_without_a_zone_is_utc():
    assert when("2100-01-01") == when("2100-01-01T00:00:00+00:00")


def test_grants_add_up_and_are_taken_away(benchhost):
    assert benchhost("grant", "acme", "a/x", "a/*").out == "acme is granted here: a/*, a/x\n"
    assert benchhost("grant", "acme", "--trial").out == "acme (on trial) is granted here: a/*, a/x\n"
    assert benchhost("revoke", "acme", "a/x").out == "acme loses a/x\n"
    said = benchhost("revoke", "acme", "a/x")
    assert said.code == 2
    assert "acme was not granted a/x here (it never was); granted here are: a/*. To take all access" in said.err
    assert benchhost("revoke", "acme").out == "acme is revoked altogether\n"


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("grant", "acme"), "say what acme is granted"),
        (("grant", "acme", "default"), "'default' is no dataset of a benchmark: write BENCHMARK/DATASET"),
        (("grant", "_legacy", "a/b"), "'_legacy' can be no name of a tenant"),
        (("keys", "create", "--tenant", "", "--datasets", "a/b"), "'' can be no name of a tenant"),
        (("keys", "create", "--tenant", "acme", "--datasets", "b"), "write BENCHMARK/DATASET, such as b/default"),
        (("keys", "create", "--tenant", "acme", "--expires", "2020-01-01"), "--expires: 2020-01-01 is past"),
        (("keys", "create"), "Missing option '--tenant'"),
        (("audit", "--limit", str(2**63)), "is not in the range 1<=x<=1000000"),
        (("revoke", "a\nb"), "can be no name of a tenant"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "-",
)
def test_what_cannot_be_done_is_said_and_nothing_is_changed(benchhost, arguments, told):
    said = benchhost(*arguments)
    assert said.code == 2
    assert told in said.err
    assert benchhost("audit", "--json").json["log"] == []


def test_a_key_for_a_revoked_tenant_must_grant_something(benchhost):
    benchhost("revoke", "acme")
    said = benchhost("keys", "create", "--tenant", "acme")
    assert said.code == 2
    assert "acme is revoked. To let it in again: benchhost grant acme BENCHMARK/DATASET" in said.err
    assert benchhost("keys", "create", "--tenant", "acme", "--datasets", "a/b").code == 0


def test_what_the_allowlist_grants_cannot_be_taken_dataset_by_dataset(benchhost, tmp_path, monkeypatch):
    (tmp_path / "tenants.yaml").write_text("tenants: {acme: {datasets: [a/x]}}")
    monkeypatch.setenv("BENCHHOST_ALLOWLIST", str(tmp_path / "tenants.yaml"))
    said = benchhost("revoke", "acme", "a/x")
    assert said.code == 2
    assert "(the allowlist grants it)" in said.err
    benchhost("revoke", "acme")
    [told] = benchhost("audit", "--json").json["tenants"]
    assert (told["tenant"], told["datasets"], told["in_allowlist"]) == ("acme", [], True)
    assert told["revoked_at"] is not None


def test_an_audit_tells_who_may_use_what_by_which_keys_and_what_was_changed(benchhost):
    first = benchhost("keys", "create", "--tenant", "acme", "--datasets", "a/x", "--json").json["id"]
    benchhost("grant", "globex", "b/*", "--trial")
    benchhost("keys", "revoke", first)
    benchhost("revoke", "globex")
    said = benchhost("audit").out
    assert said.startswith("let in by: keys\n")
    assert re.search(rf"^acme  let in: a/x\n  key {first}  a/x; revoked; ", said, re.MULTILINE)
    assert re.search(r"^globex  revoked: nothing$", said, re.MULTILINE)
    changes = [line.split("  ")[4:] for line in said.partition("the newest first:\n")[2].splitlines()]
    assert [change[0] for change in changes] == ["globex", "acme", "globex", "acme", "acme"]
    told = benchhost("audit", "--json", "--tenant", "acme").json
    assert [event["kind"] for event in told["log"]] == ["key-revoked", "key-created", "grant"]
    assert [tenant["tenant"] for tenant in told["tenants"]] == ["acme"]
    assert len(benchhost("audit", "--json", "--limit", "2").json["log"]) == 2
    assert re.search(r"^acne  unknown here: ", benchhost("audit", "--tenant", "acne").out, re.MULTILINE)


def test_an_audit_says_what_a_server_would_refuse_to_start_with(benchhost, monkeypatch):
    monkeypatch.setenv("BENCHHOST_AUTH", "oidc")
    said = benchhost("audit")
    assert said.code == 2
    assert "oidc_issuer" in said.err
