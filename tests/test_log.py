"""Logging: one renderer for all, on stderr, without credentials."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import jwt
import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from benchhost import log
from benchhost.access import new_key


@pytest.fixture(autouse=True)
def undone(monkeypatch):
    """Leave the logging of the process as it was."""
    monkeypatch.setattr(log, "_secrets", set())
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.getLogger()._cache.clear()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_line_is_json_on_stderr(capsys):
    log.configure("info", "json")
    log.get_logger(benchmark="gsm8k").info("loaded", tasks=1319)
    [line] = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "loaded", "level": "info", "benchmark": "gsm8k", "tasks": 1319}


def test_auto_is_json_where_stderr_is_no_terminal_and_console_where_it_is(capsys, monkeypatch):
    log.configure("info", "auto")
    log.get_logger().info("one")
    assert lines(capsys)[0]["event"] == "one"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    log.configure("info", "auto")
    log.get_logger().info("two", n=2)
    text = capsys.readouterr().err
    assert "two" in text
    assert "\x1b[" in text
    assert not text.startswith("{")


def test_the_console_has_no_colours_where_there_is_no_terminal(capsys):
    log.configure("info", "console")
    log.get_logger().info("two", n=2)
    text = capsys.readouterr().err
    assert "n=2" in text
    assert "\x1b[" not in text


def test_the_standard_library_comes_out_of_the_same_renderer(capsys):
    log.configure("info", "json")
    logging.getLogger("some.plugin").warning("disk at %d%%", 93)
    [line] = lines(capsys)
    assert line.pop("timestamp")
    assert line == {"event": "disk at 93%", "level": "warning", "logger": "some.plugin"}


def test_less_than_the_level_is_not_logged(capsys):
    log.configure("warning", "json")
    log.get_logger().info("no")
    logging.getLogger("x").info("no")
    log.get_logger().warning("yes")
    logging.getLogger("x").warning("yes")
    assert [line["event"] for line in lines(capsys)] == ["yes", "yes"]


def test_configuring_twice_logs_once_and_moves_loggers_that_are_held(capsys):
    held = log.get_logger()
    log.configure("info", "console")
    held.info("before")
    log.configure("info", "json")
    capsys.readouterr()
    held.info("after")
    logging.getLogger("x").info("after")
    assert [line["event"] for line in lines(capsys)] == ["after", "after"]


def test_granian_leaves_its_records_to_this_renderer(capsys):
    from granian.log import LogLevels, configure_logging

    log.configure("info", "json")
    configure_logging(LogLevels.info, log.GRANIAN)
    logging.getLogger("_granian").info("Listening at: http://127.0.0.1:8000")
    logging.getLogger("granian.access").info("GET /health")
    assert [line["logger"] for line in lines(capsys)] == ["_granian", "granian.access"]


def test_what_the_context_holds_is_on_each_line(capsys):
    log.configure("info", "json")
    with structlog.contextvars.bound_contextvars(evaluation="e1"):
        log.get_logger().info("ours")
        logging.getLogger("x").info("theirs")
    assert [line["evaluation"] for line in lines(capsys)] == ["e1", "e1"]


# Exceptions


def raised():
    answer = "VALUE-OF-A-VARIABLE"
    try:
        raise LookupError(f"no row of {len(answer)}")
    except LookupError as error:
        return error


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_the_code_and_no_values_of_variables(capsys, form):
    log.configure("info", form)
    log.get_logger().error("failed", exc_info=raised())
    logging.getLogger("x").error("failed", exc_info=raised())
    text = capsys.readouterr().err
    assert text.count("LookupError: no row of 19") == 2
    assert text.count("in raised") == 2
    assert "VALUE-OF-A-VARIABLE" not in text


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_secret_in_a_traceback_is_masked(capsys, form):
    log.configure("info", form)
    log.register_secret("s3cret-key")
    error = ValueError("refused s3cret-key, Authorization: Bearer abc.def")
    log.get_logger().error("failed", exc_info=error)
    logging.getLogger("x").error("failed", exc_info=error)
    text = capsys.readouterr().err
    assert "s3cret" not in text
    assert "abc.def" not in text
    assert text.count("refused ***, Authorization: Bearer ***") == 2


# Credentials


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Authorization",
        "x-api-key",
        "x_api_key",
        "api_key",
        "apiKey",
        "DAYTONA_API_KEY",
        "x-descope-api-key",
        "token",
        "accessToken",
        "hf_token",
        "password",
        "db_password",
        "secret",
        "client_secret",
        "cookie",
        "set-cookie",
        "credentials",
        "private_key",
    ],
)
def test_what_has_the_name_of_a_credential_is_masked(name, capsys):
    log.configure("info", "json")
    log.get_logger().info("e", **{name: "abc"}, headers={name: ["abc"]})
    [line] = lines(capsys)
    assert (line[name], line["headers"][name]) == ("***", "***")


@pytest.mark.parametrize("name", ["tokens", "tokens_in", "max_tokens", "secretary", "key", "author", "monkey"])
def test_what_only_resembles_a_credential_is_shown(name):
    assert log.mask({name: 5}) == {name: 5}


def test_what_has_the_form_of_a_credential_is_masked_wherever_it_stands():
    for credential in (new_key().key, jwt.encode({"sub": "a"}, "s" * 32)):
        assert log.mask(f"headers: x-descope-api-key={credential}, more") == "headers: x-descope-api-key=***, more"


def test_that_there_is_no_credential_is_shown():
    assert log.mask({"api_key": None}) == {"api_key": None}


secrets = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="*"), min_size=6, max_size=12
)


@example(secret="secret\\", form="console")
@example(secret="secret\\", form="json")
@given(secret=secrets, form=st.sampled_from(["json", "console"]))
def test_a_registered_secret_is_masked_wherever_it_stands(secret, form):
    program_text = f"before {secret} after"
    log._secrets.clear()
    log.register_secret(secret)

    class Holder:
        def __repr__(self):
            return f"Holder({secret!r})"

    masked = log.mask({"a": program_text, "b": [secret, {"c": (secret,)}], secret: 1, "d": secret.encode()})
    assert masked["a"] == "before *** after"
    assert masked["b"] == ["***", {"c": ["***"]}]
    assert masked["***"] == 1
    assert masked["d"] == "***"
    renderer = {
        "json": structlog.processors.JSONRenderer(default=log._shown),
        "console": structlog.dev.ConsoleRenderer(colors=False),
    }[form]
    line = log._masked_line(renderer)(None, "info", {"event": "e", "level": "info", "holder": Holder()})
    assert "Holder('***')" in line or 'Holder("***")' in line or 'Holder(\\"***\\")' in line


def test_a_short_secret_is_masked_where_it_is_the_whole_value():
    log.register_secret("abc")
    assert log.mask({"x": "abc", "y": "abcdef"}) == {"x": "***", "y": "abcdef"}


def test_nothing_is_no_secret():
    log.register_secret("", None)
    assert log.mask({"x": "", "y": "text"}) == {"x": "", "y": "text"}


def test_masking_does_not_change_what_was_given():
    headers = {"authorization": "abc"}
    log.mask({"headers": headers})
    assert headers == {"authorization": "abc"}


# The cost


def test_importing_the_log_does_not_load_rich_and_leaves_it_to_others():
    program = (
        "import sys, benchhost.log\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] in ('rich', 'pygments')]\n"
        "import rich.console\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_rich_that_is_loaded_already_stays():
    program = "import sys, rich, benchhost.log\nassert sys.modules['rich'] is rich\n"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_cause_of_several_lines_is_shown_to_a_person_line_by_line(capsys):
    log.configure("info", "console")
    log.get_logger().error("evaluation failed", cause="Traceback:\n  line 1\nValueError: x", task="1")
    said = capsys.readouterr().err
    assert "\nTraceback:\n  line 1\nValueError: x" in said
    log.configure("info", "json")
    log.get_logger().error("evaluation failed", cause="Traceback:\n  line 1", task="1")
    assert json.loads(capsys.readouterr().err)["cause"] == "Traceback:\n  line 1"
