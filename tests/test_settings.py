"""Settings from the file, the environment and flags."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.errors import SettingsError
from benchhost.settings import Settings, describe, load


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, where ``benchhost.toml`` would be found."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text, name="benchhost.toml"):
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def refusal(environ=None, flags=None, config=None):
    with pytest.raises(SettingsError) as caught:
        load(config, environ or {}, flags or {})
    return str(caught.value)


def test_without_anything_the_defaults_hold():
    assert load(None, {}, {}) == Settings()
    assert (Settings().host, Settings().port, Settings().state) == ("127.0.0.1", 8000, Path(".benchhost"))


def test_the_environment_wins_over_the_file_and_a_flag_over_both():
    write("port = 1\nworkers = 1\ngraders = 1\n")
    environ = {"BENCHHOST_WORKERS": "2", "BENCHHOST_GRADERS": "2"}
    settings = load(None, environ, {"graders": 3})
    assert (settings.port, settings.workers, settings.graders) == (1, 2, 3)


def test_the_file_is_the_named_one_then_that_of_the_variable_then_the_one_at_hand():
    write("port = 1")
    by_variable, by_flag = write("port = 2", "two.toml"), write("port = 3", "three.toml")
    environ = {"BENCHHOST_CONFIG": str(by_variable)}
    assert load(None, {}, {}).port == 1
    assert load(None, environ, {}).port == 2
    assert load(by_flag, environ, {}).port == 3


def test_every_setting_can_be_set_in_each_of_the_three_ways():
    texts = {
        "host": ("0.0.0.0", "0.0.0.0"),
        "port": ("81", 81),
        "workers": ("2", 2),
        "state": ("/var/lib/benchhost", Path("/var/lib/benchhost")),
        "log_level": ("DEBUG", "debug"),
        "log_format": ("json", "json"),
        "api_key": ("k", "k"),
        "auth": ("keys, descope", ("keys", "descope")),
        "auth_required": ("true", True),
        "allow_open": ("true", True),
        "allowlist": ("tenants.yaml", Path("tenants.yaml")),
        "allowlist_json": ('{"tenants": {}}', '{"tenants": {}}'),
        "descope_project_id": ("P2", "P2"),
        "descope_base_uri": ("https://descope.example", "https://descope.example"),
        "descope_cache_seconds": ("60", 60.0),
        "oidc_issuer": ("https://issuer.example", "https://issuer.example"),
        "oidc_audience": ("benchhost", "benchhost"),
        "oidc_tenant_claim": ("org", "org"),
        "oidc_algorithms": ("ES256", ("ES256",)),
        "oidc_jwks_uri": ("https://issuer.example/keys", "https://issuer.example/keys"),
        "max_body_mb": ("5", 5),
        "read_timeout": ("2.5", 2.5),
        "max_connections": ("100", 100),
        "max_connections_per_peer": ("10", 10),
        "hosts": ("bench.example, other.example", ("bench.example", "other.example")),
        "max_running": ("6", 6),
        "max_queued": ("0", 0),
        "max_running_per_tenant": ("7", 7),
        "load_timeout": ("1.5", 1.5),
        "strict": ("true", True),
        "graders": ("3", 3),
        "only": ("gsm8k, arithmetic", ("gsm8k", "arithmetic")),
        "allow_runs": ("true", True),
        "run_models": ("openai/gpt-5.4-mini, vllm/*", ("openai/gpt-5.4-mini", "vllm/*")),
        "max_runs": ("8", 8),
        "resume_runs": ("true", True),
        "sandbox": ("daytona", "daytona"),
        "min_isolation": ("namespaces", "namespaces"),
        "max_sandboxes": ("9", 9),
        "allow_sandboxes": ("true", True),
        "sandbox_images": ("host, python:*", ("host", "python:*")),
        "max_sandboxes_per_tenant": ("3", 3),
        "allow_uploads": ("false", False),
        "max_upload_bytes": ("1000", 1000),
        "max_upload_mb_per_tenant": ("20", 20),
        "keep_uploads": ("60", 60.0),
        "public_url": ("https://bench.example", "https://bench.example"),
        "upload_bucket": ("submissions", "submissions"),
        "upload_region": ("eu-central-1", "eu-central-1"),
        "upload_endpoint": ("http://minio:9000", "http://minio:9000"),
        "max_sockets": ("10", 10),
        "socket_timeout": ("5", 5.0),
        "socket_heartbeat": ("30", 30.0),
        "daytona_hosts": ("app.daytona.io, http://10.0.0.5:3000", ("app.daytona.io", "http://10.0.0.5:3000")),
        "probing": ("probing.toml", Path("probing.toml")),
        "drain_timeout": ("0", 0.0),
    }
    assert list(texts) == [doc.name for doc in describe()]
    expected = Settings(**{name: value for name, (_, value) in texts.items()})
    assert load(None, {f"BENCHHOST_{name.upper()}": text for name, (text, _) in texts.items()}, {}) == expected
    assert load(None, {}, {name: text for name, (text, _) in texts.items()}) == expected
    assert load(None, {}, {name: value for name, (_, value) in texts.items()}) == expected
    toml = {name: str(value) if isinstance(value, Path) else value for name, (_, value) in texts.items()}
    write(_toml(toml))
    assert load(None, {}, {}) == expected


def _toml(values):
    """JSON's text of strings, numbers, booleans and lists is TOML's too."""
    return "".join(f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in values.items())


def test_an_empty_variable_and_a_flag_that_was_not_given_set_nothing():
    write('port = 5\nonly = ["a"]')
    settings = load(None, {"BENCHHOST_PORT": "", "BENCHHOST_ONLY": ""}, {"port": None, "only": ()})
    assert (settings.port, settings.only) == (5, ("a",))


@pytest.mark.parametrize("variable", ["BENCHHOST_API_KEY", "BENCHMARK_API_KEY"])
def test_an_empty_key_lets_nobody_in_by_mistake(variable):
    with pytest.raises(SettingsError, match=rf"expected a value, or no variable at all .* \(variable {variable}\)"):
        load(None, {variable: ""}, {})


def test_none_takes_a_limit_away():
    write("max_running_per_tenant = 5")
    assert load(None, {"BENCHHOST_MAX_RUNNING_PER_TENANT": "none"}, {}).max_running_per_tenant is None


def test_other_variables_are_of_no_concern():
    assert load(None, {"PATH": "/bin", "BENCHMARK": "x", "benchhost_port": "x"}, {}) == Settings()


# The API key


def test_the_api_key_of_the_vals_contract_is_read_and_ours_wins():
    assert load(None, {"BENCHMARK_API_KEY": "theirs"}, {}).api_key == "theirs"
    assert load(None, {"BENCHMARK_API_KEY": "theirs", "BENCHHOST_API_KEY": "ours"}, {}).api_key == "ours"


@pytest.mark.parametrize("key", ["none", "null", "true", "0", "[1]", "a,b", " "])
def test_an_api_key_is_taken_as_it_is(key):
    assert load(None, {"BENCHHOST_API_KEY": key}, {}).api_key == key


def test_an_empty_api_key_in_the_file_is_refused():
    write('api_key = ""')
    assert refusal() == "api_key: expected text that is not empty, or none, got empty text (benchhost.toml, line 1)"


def test_settings_do_not_show_secrets_when_they_are_printed():
    environ = {"BENCHHOST_API_KEY": "SECRET", "BENCHHOST_BENCHMARKS__X__TOKEN": "SECRET"}
    settings = load(None, environ, {})
    assert "SECRET" not in repr(settings)
    assert "SECRET" not in f"{settings!s}"
    assert "port=8000" in repr(settings)


def test_a_wrong_secret_is_not_repeated():
    write("api_key = 734734")
    expected = "api_key: expected text that is not empty, or none, got a value of the type int (benchhost.toml, line 1)"
    assert refusal() == expected


# What is wrong is said with where it came from


@pytest.mark.parametrize(
    "name,text,expected",
    [
        ("port", "eighty", "a whole number from 0 to 65535"),
        ("port", "65536", "a whole number from 0 to 65535"),
        ("port", "-1", "a whole number from 0 to 65535"),
        ("port", "80.5", "a whole number from 0 to 65535"),
        ("workers", "0", "a whole number of 1 or more"),
        ("max_queued", "-1", "a whole number of 0 or more"),
        ("max_running_per_tenant", "0", "a whole number of 1 or more, or none"),
        ("load_timeout", "0", "a number above 0"),
        ("load_timeout", "nan", "a number above 0"),
        ("drain_timeout", "nan", "a number of 0 or more"),
        ("strict", "maybe", "true or false"),
        ("log_format", "xml", "one of auto, json, console"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(name, text, expected):
    variable = f"BENCHHOST_{name.upper()}"
    assert refusal({variable: text}) == f"{name}: expected {expected}, got {text!r} (variable {variable})"
    flag = f"--{name.replace('_', '-')}"
    assert refusal({}, {name: text}) == f"{name}: expected {expected}, got {text!r} (flag {flag})"


@pytest.mark.parametrize(
    "line,message",
    [
        ('port = "8000"', "port: expected a whole number from 0 to 65535, got '8000'"),
        ("port = true", "port: expected a whole number from 0 to 65535, got True"),
        ("[port]", "port: expected a whole number from 0 to 65535, got {}"),
        ("strict = 1", "strict: expected true or false, got 1"),
        ("state = 1", "state: expected a path, got 1"),
        ('state = ""', "state: expected a path, got ''"),
        ('host = ""', "host: expected text that is not empty, got ''"),
        ('only = "gsm8k"', "only: expected names separated by commas, or none, got 'gsm8k'"),
        ("load_timeout = nan", "load_timeout: expected a number above 0, got nan"),
    ],
)
def test_a_wrong_value_in_the_file_is_named_with_its_line(line, message):
    write(f"# settings\n\n{line}\n")
    assert refusal() == f"{message} (benchhost.toml, line 3)"


def test_an_unknown_name_is_refused_with_the_nearest():
    write("prot = 1\n")
    assert refusal() == "no setting is called 'prot' (benchhost.toml, line 1); did you mean 'port'?"
    Path("benchhost.toml").unlink()
    assert refusal({"BENCHHOST_WORKER": "1"}) == (
        "no setting is called 'worker' (variable BENCHHOST_WORKER); did you mean 'workers'?"
    )
    assert "no setting is called 'port__x' (variable BENCHHOST_PORT__X)" in refusal({"BENCHHOST_PORT__X": "1"})
    assert "no setting is called 'xyzzy' (flag --xyzzy); there are host, port, " in refusal({}, {"xyzzy": 1})


def test_a_misspelt_table_of_benchmarks_is_refused_with_the_right_name():
    write("[benchmark.gsm8k]\ndata = 'SECRET'\n")
    assert refusal() == "no setting is called 'benchmark' (benchhost.toml, line 1); did you mean 'benchmarks'?"
    Path("benchhost.toml").unlink()
    assert refusal({"BENCHHOST_BENCHMARK__GSM8K__DATA": "SECRET"}).endswith("did you mean 'benchmarks'?")


def test_a_settings_file_that_was_named_must_be_there(tmp_path):
    expected = f"the settings file absent.toml does not exist; the working directory is {tmp_path}"
    assert refusal(config=Path("absent.toml")) == expected
    assert refusal({"BENCHHOST_CONFIG": "absent.toml"}) == expected


def test_a_settings_file_that_is_no_toml_is_named():
    write("port = \n")
    assert refusal() == "the settings file benchhost.toml is not TOML: Invalid value (at line 1, column 8)"
    Path("benchhost.toml").write_bytes(b"\xff\xfe")
    assert refusal() == "the settings file benchhost.toml is not UTF-8"
    Path("benchhost.toml").unlink()
    Path("benchhost.toml").mkdir()
    assert refusal() == "the settings file benchhost.toml cannot be read: Is a directory"


# Tables of benchmarks


def test_a_benchmark_has_its_table_from_the_file_and_the_environment():
    write('[benchmarks.gsm8k]\ndata = "a"\nlimit = 5\n[benchmarks.other]\nx = 1\n')
    settings = load(None, {"BENCHHOST_BENCHMARKS__GSM8K__DATA": "b"}, {})
    assert settings.plugin("gsm8k") == {"data": "b", "limit": 5}
    assert settings.plugin("other") == {"x": 1}
    assert settings.plugin("third") == {}


def test_a_table_that_no_installed_benchmark_reads_is_named():
    write('[benchmarks."MMLU-pro"]\ndata = "a"\n[benchmarks.element]\nx = 1\n')
    settings = load(None, {"BENCHHOST_BENCHMARKS__GSM8K__DATA": "b"}, {})
    assert settings.unused(["MMLU-pro", "GSM8K", "elements"]) == ["element"]
    assert settings.unused([]) == ["MMLU-pro", "element", "gsm8k"]


def test_a_flag_wins_in_the_table_of_a_benchmark():
    flags = {"benchmarks": {"gsm8k": {"data": "c"}}}
    assert load(None, {"BENCHHOST_BENCHMARKS__GSM8K__DATA": "b"}, flags).plugin("gsm8k") == {"data": "c"}


def test_a_variable_says_any_name_of_a_benchmark():
    environ = {"BENCHHOST_BENCHMARKS__MMLU_PRO_1__DATA": "b"}
    assert load(None, environ, {}).plugin("MMLU-pro.1") == {"data": "b"}
    write('[benchmarks."MMLU-pro.1"]\ndata = "a"\nlimit = 5\n')
    assert load(None, environ, {}).plugin("MMLU-pro.1") == {"data": "b", "limit": 5}


def test_a_variable_may_hold_a_list_or_reach_into_a_table():
    environ = {
        "BENCHHOST_BENCHMARKS__X__LEVELS": '["easy", "hard"]',
        "BENCHHOST_BENCHMARKS__X__TEMPLATE": "{question}",
        "BENCHHOST_BENCHMARKS__X__JUDGE__MODEL": "m",
    }
    assert load(None, environ, {}).plugin("x") == {
        "levels": ["easy", "hard"],
        "template": "{question}",
        "judge": {"model": "m"},
    }


def test_the_text_of_a_variable_fits_the_settings_of_a_plugin():
    class PluginSettings(msgspec.Struct, forbid_unknown_fields=True):
        limit: int
        exact: bool

    environ = {"BENCHHOST_BENCHMARKS__X__LIMIT": "5", "BENCHHOST_BENCHMARKS__X__EXACT": "true"}
    table = load(None, environ, {}).plugin("x")
    assert msgspec.convert(table, PluginSettings, strict=False) == PluginSettings(5, exact=True)


def test_changing_the_table_of_a_benchmark_does_not_change_the_settings():
    settings = load(None, {"BENCHHOST_BENCHMARKS__X__LIMIT": "5"}, {})
    settings.plugin("x").clear()
    assert settings.plugin("x") == {"limit": "5"}


@pytest.mark.parametrize("text", ["benchmarks = 3", "[benchmarks]\ngsm8k = 3"])
def test_what_is_no_table_of_benchmarks_is_refused_and_not_repeated(text):
    write(text)
    assert "expected a table for each benchmark, and in it a value for each of its settings" in refusal()


def test_a_variable_that_names_no_setting_of_a_benchmark_is_refused_and_not_repeated():
    for variable in ("BENCHHOST_BENCHMARKS", "BENCHHOST_BENCHMARKS__X"):
        message = refusal({variable: "SECRET"})
        assert f"(variable {variable})" in message
        assert "SECRET" not in message


def test_a_variable_cannot_reach_into_a_value():
    environ = {"BENCHHOST_BENCHMARKS__X__A": "SECRET", "BENCHHOST_BENCHMARKS__X__A__B": "SECRET"}
    message = refusal(environ)
    assert message == "benchmarks.x.a.b: 'a' is set to a value already (variable BENCHHOST_BENCHMARKS__X__A__B)"


# Properties


@given(st.sampled_from([doc.name for doc in describe()]), st.text(st.characters(codec="ascii"), max_size=8))
def test_any_text_is_a_value_or_is_refused_by_name(name, text):
    variable = f"BENCHHOST_{name.upper()}"
    try:
        load(None, {variable: text}, {})
    except SettingsError as error:
        message = str(error)
    else:
        return
    assert message.startswith(f"{name}: expected ")
    assert message.endswith(f"(variable {variable})")


def test_every_setting_is_described():
    for doc in describe():
        assert doc.help.endswith(".")
        assert doc.expected
        assert doc.variable == f"BENCHHOST_{doc.name.upper()}"
        assert doc.default == getattr(Settings(), doc.name)
    assert [doc.name for doc in describe() if doc.secret] == ["api_key"]


def test_the_token_of_a_remote_host_is_no_setting() -> None:
    assert load(None, {"BENCHHOST_TOKEN": "sesame"}, {}) == Settings()
