import subprocess
import sys

import pytest

from benchhost.client import Client
from benchhost.errors import UsageError


@pytest.mark.parametrize(
    "url, benchmark, expected",
    [
        ("http://host", None, "http://host"),
        ("http://host:8000/", None, "http://host:8000"),
        ("https://host/service/", None, "https://host/service"),
        ("http://host", "x", "http://host/b/x"),
        ("http://host/b/x", None, "http://host/b/x"),
        ("http://host/b/x//", "x", "http://host/b/x"),
        ("http://host/proxy/b/x", None, "http://host/proxy/b/x"),
        ("http://[::1]:80", "a b", "http://[::1]:80/b/a%20b"),
        ("http://host/b/a%20b", "a b", "http://host/b/a%20b"),
    ],
)
def test_a_url_and_a_name_lead_to_a_benchmark(url, benchmark, expected):
    assert Client(url, benchmark).url == expected


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "host", "ftp://host", "http://", "http://host:port", "http://[::1", "http://:80"]
)
def test_what_is_no_url_of_a_host_is_refused_with_an_example(url):
    with pytest.raises(UsageError, match="is like http://localhost:8000"):
        Client(url)


@pytest.mark.parametrize(
    "url", ["http://me:secret@host", "http://secret@host/b/x", "http://host?key=secret", "http://host#secret"]
)
def test_a_url_that_holds_a_secret_is_refused_without_repeating_it(url):
    with pytest.raises(UsageError, match="give a token instead") as caught:
        Client(url)
    assert "secret" not in str(caught.value)


def test_two_names_that_differ_are_refused():
    with pytest.raises(UsageError, match="is that of the benchmark x, not of y"):
        Client("http://host/b/x", "y")


@pytest.mark.parametrize("name", ["", "a/b"])
def test_what_is_no_name_of_a_benchmark_is_refused(name):
    with pytest.raises(UsageError, match="is not the name of a benchmark"):
        Client("http://host", name)


@pytest.mark.parametrize("token", ["", " ", "two\nlines", "zwölf-secret", "nul\0"])
def test_what_is_no_token_is_refused_without_repeating_it(token):
    with pytest.raises(UsageError, match="the token is empty") as caught:
        Client("http://host", token=token)
    assert "secret" not in str(caught.value)


def test_a_token_is_not_in_what_is_printed_of_a_client():
    assert "secret" not in repr(Client("http://host", token="secret"))


def test_importing_the_client_does_not_load_aiohttp():
    code = "import sys, benchhost.client; assert 'aiohttp' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
