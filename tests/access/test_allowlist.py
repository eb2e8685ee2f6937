"""The allowlist that an operator writes down."""

from __future__ import annotations

import json

import pytest

from benchhost.access import Datasets, Listed, Quota, read_allowlist
from benchhost.errors import SettingsError

YAML = """
tenants:
  acme:
    datasets: [validation, my-bench/test]
    trial_mode: true
    evaluation_quota: {limit: 2500, period: week}
  other: {}
"""


def test_an_allowlist_is_the_same_in_yaml_and_in_json(tmp_path):
    file = tmp_path / "tenants.yaml"
    file.write_text(YAML)
    acme = {"datasets": ["validation", "my-bench/test"], "trial_mode": True}
    acme["evaluation_quota"] = {"limit": 2500, "period": "week"}
    text = json.dumps({"tenants": {"acme": acme, "other": {}}})
    assert read_allowlist(None, file) == read_allowlist(text, None)
    assert read_allowlist(None, file) == {
        "acme": Listed(Datasets(frozenset(["*/validation", "my-bench/test"])), True, Quota(2500, "week")),
        "other": Listed(),
    }


def test_json_wins_over_the_file_and_without_either_there_is_nobody(tmp_path):
    assert read_allowlist('{"tenants": {}}', tmp_path / "there is none") == {}
    assert read_allowlist(None, None) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"tenants": []}',
        '{"tenants": {"acme": []}}',
        '{"tenants": {"acme": {"datasets": "validation"}}}',
        '{"tenants": {"acme": {"datasets": [""]}}}',
        '{"tenants": {"acme": {"trial": true}}}',
        '{"tenants": {"acme": {"trial_mode": "yes"}}}',
        '{"tenants": {"acme": {"evaluation_quota": {"limit": 0, "period": "week"}}}}',
        '{"tenants": {"acme": {"evaluation_quota": {"limit": 1, "period": "hour"}}}}',
        '{"tenants": {"_legacy": {}}}',
        '{"tenants": {"": {}}}',
        '{"tenants": {}, "more": 1}',
    ],
)
def test_what_is_malformed_is_refused_in_both_forms(text, tmp_path):
    file = tmp_path / "tenants.yaml"
    file.write_text(text)
    for arguments in ((text, None), (None, file)):
        with pytest.raises(SettingsError, match="allowlist"):
            read_allowlist(*arguments)


def test_the_error_says_which_tenant_and_where(tmp_path):
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: {acme: {datasets: [a b/c]}}")
    with pytest.raises(SettingsError, match=r"allowlist .*tenants\.yaml: tenant acme: .*'a b' can be no name"):
        read_allowlist(None, file)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_allowlist(None, tmp_path / "there is none")


def test_yaml_makes_no_objects(tmp_path):
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: !!python/object/apply:os.system ['touch made']")
    with pytest.raises(SettingsError, match="no YAML"):
        read_allowlist(None, file)
    assert not (tmp_path / "made").exists()
