"""`benchhost quota`: what it sets, shows and removes, and what it says of a wrong word."""

from __future__ import annotations

import pytest


def test_quotas_are_set_listed_and_removed(state, benchhost) -> None:
    said = benchhost("quota", "set", "acme", "my-bench", "2500/day", "10/minute")
    assert (said.code, said.err) == (0, "")
    first, second = said.out.splitlines()
    assert first.startswith("acme  my-bench  10/minute  0 used until ")
    assert second.startswith("acme  my-bench  2,500/day  0 used until ")
    assert benchhost("quota", "list").out.splitlines()[1] == second
    [minute, day] = benchhost("quota", "list", "--tenant", "acme", "--json").json["quotas"]
    assert (minute["period"], day["limit"], day["used"]) == ("minute", 2500, 0)
    assert benchhost("quota", "rm", "acme", "my-bench").out == "2 quotas are removed\n"
    assert benchhost("quota", "list").out == "There are no quotas. Try: benchhost quota set TENANT BENCHMARK 1000/day\n"


@pytest.mark.parametrize(
    "words, said",
    [
        (("set", "acme", "b", "1000"), "'1000' is no quota; expected a number and a period, such as 1000/day"),
        (("set", "acme", "b", "0/day"), "'0/day' is no quota"),
        (("set", "acme", "b", "5/eon"), "'eon' is no period; expected one of: minute, hour, day, week, month, year"),
        (("set", "@operator", "b", "5/day"), "'@operator' can be no tenant"),
        (("set", "acme", "", "5/day"), "'' can be no name of a benchmark; a quota is for one benchmark"),
        (("set", "acme", "*", "5/day"), "'*' can be no name of a benchmark"),
        (("rm", "acme", "b"), "acme does not have a quota at b that was set here. Look at: benchhost quota list"),
        (("rm", "acme", "b", "day"), "acme does not have a quota per day at b"),
    ],
)
def test_a_wrong_word_is_answered_with_what_was_expected(state, benchhost, words, said) -> None:
    answer = benchhost("quota", *words)
    assert answer.code == 2
    assert said in answer.err
    assert benchhost("quota", "list", "--json").json == {"quotas": []}


def test_quotas_of_the_allowlist_are_told_and_are_not_to_be_removed_here(
    state, benchhost, tmp_path, monkeypatch
) -> None:
    (tmp_path / "tenants.yaml").write_text("tenants: {acme: {evaluation_quota: {limit: 2500, period: week}}}")
    monkeypatch.setenv("BENCHHOST_ALLOWLIST", str(tmp_path / "tenants.yaml"))
    assert benchhost("quota", "list").out.startswith("acme  *  2,500/week (allowlist)  0 used until ")
    refused = benchhost("quota", "rm", "acme", "my-bench")
    assert (refused.code, "(the allowlist has one)" in refused.err) == (2, True)


def test_an_audit_tells_of_quotas_and_of_their_changes(state, benchhost) -> None:
    benchhost("quota", "set", "acme", "my-bench", "2500/day")
    benchhost("quota", "rm", "acme", "my-bench")
    benchhost("quota", "set", "acme", "my-bench", "7/year")
    said = benchhost("audit").out
    assert "acme  let in: nothing\n  quota my-bench  7/year  0 used until " in said
    told = benchhost("audit", "--json").json
    assert [(event["kind"], event["quota"]) for event in told["log"]] == [
        ("quota-set", "7/year"),
        ("quota-removed", "2500/day"),
        ("quota-set", "2500/day"),
    ]
    [tenant] = told["tenants"]
    assert [(quota["limit"], quota["period"], quota["used"]) for quota in tenant["quotas"]] == [(7, "year", 0)]
