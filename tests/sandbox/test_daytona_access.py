"""Where a Daytona key may be sent, and by whom: no SDK and no socket is needed to say so."""

import pytest

from benchhost.errors import Malformed, SandboxRefused, SandboxUnavailable
from benchhost.sandbox.daytona import DEFAULT_API_URL, DEFAULT_HOSTS, DEFAULT_TARGET, Access, allowed_api_url
from benchhost.server.daytona import daytona_config, own_daytona_config
from benchhost.settings import Settings

KEY = "dtn_0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "url, plain",
    [
        ("https://app.daytona.io/api", "https://app.daytona.io/api"),
        ("https://app.daytona.io/api/", "https://app.daytona.io/api"),
        ("HTTPS://APP.daytona.io:443/api", "https://app.daytona.io/api"),
        ("https://app.daytona.io./api", "https://app.daytona.io/api"),
        ("https://app.daytona.io", "https://app.daytona.io"),
    ],
)
def test_the_api_of_daytona_is_allowed(url, plain):
    assert allowed_api_url(url) == plain


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app.daytona.io/api",
        "http://app.daytona.io/api",
        "https://app.daytona.io:444/api",
        "https://app.daytona.io.evil.example/api",
        "https://evil.example/app.daytona.io",
        "https://app.daytona.io@evil.example/api",
        "https://evil.example\\@app.daytona.io/api",
        "https://evil.example#@app.daytona.io/api",
        "https://evil.example?x=app.daytona.io",
        "https://app.daytona.io /api",
        "https://app.daytona.io\n/api",
        "https://app.daytona.io/%2e%2e/x",
        "https://app.daytona.io/../x",
        "https://app.daytona.io:0/api",
        "https://app.daytona.io:99999/api",
        "https://аpp.daytona.io/api",  # the first letter is Cyrillic
        "https://127.0.0.1/api",
        "https://[::1]/api",
        "https://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "gopher://app.daytona.io/api",
    ],
)
def test_any_other_address_is_refused(url):
    with pytest.raises(SandboxRefused, match=r"not allowed on this host: use one of app\.daytona\.io"):
        allowed_api_url(url)


def test_an_operator_allows_other_hosts():
    hosts = ("daytona.example.org", "http://10.0.0.5:3000", "https://[::1]:8443")
    assert allowed_api_url("https://daytona.example.org/api", hosts) == "https://daytona.example.org/api"
    assert allowed_api_url("http://10.0.0.5:3000/api", hosts) == "http://10.0.0.5:3000/api"
    assert allowed_api_url("https://[::1]:8443/api", hosts) == "https://[::1]:8443/api"
    for url in ("https://10.0.0.5:3000/api", "http://10.0.0.5/api", "http://daytona.example.org/api", DEFAULT_API_URL):
        with pytest.raises(SandboxRefused):
            allowed_api_url(url, hosts)
    with pytest.raises(SandboxRefused, match="use one of none"):
        allowed_api_url(DEFAULT_API_URL, ())


@pytest.mark.parametrize(
    "api_url, toolbox",
    [
        (DEFAULT_API_URL, "https://proxy.app.daytona.io/toolbox"),
        (DEFAULT_API_URL, "https://proxy.eu.daytona.io/toolbox"),
        (DEFAULT_API_URL, "https://app.daytona.io:8443/toolbox"),
        ("http://localhost:3000/api", "http://proxy.localhost:4000/toolbox"),
        ("http://10.0.0.5:3000/api", "http://10.0.0.5:4000/toolbox"),
    ],
)
def test_a_sandbox_may_be_near_to_the_api(api_url, toolbox):
    Access(api_key=KEY, api_url=api_url).check_toolbox(toolbox)


@pytest.mark.parametrize(
    "api_url, toolbox",
    [
        (DEFAULT_API_URL, "http://proxy.app.daytona.io/toolbox"),
        (DEFAULT_API_URL, "https://evildaytona.io/toolbox"),
        (DEFAULT_API_URL, "https://daytona.io.evil.example/toolbox"),
        (DEFAULT_API_URL, "https://169.254.169.254/toolbox"),
        (DEFAULT_API_URL, "https://127.0.0.1/toolbox"),
        (DEFAULT_API_URL, "https://user@proxy.app.daytona.io/toolbox"),
        (DEFAULT_API_URL, ""),
        ("http://10.0.0.5:3000/api", "http://10.0.0.6:4000/toolbox"),
        ("http://10.0.0.5:3000/api", "http://x.0.0.5:4000/toolbox"),
        ("http://localhost:3000/api", "http://127.0.0.1:4000/toolbox"),
        ("https://daytona.org/api", "https://other.org/toolbox"),
    ],
)
def test_the_key_is_not_sent_to_a_sandbox_elsewhere(api_url, toolbox):
    with pytest.raises(SandboxRefused, match=r"not near|cannot be one"):
        Access(api_key=KEY, api_url=api_url).check_toolbox(toolbox)


def test_the_operator_allows_sandboxes_elsewhere():
    access = Access(api_key=KEY, hosts="app.daytona.io,sandboxes.example.net")
    access.check_toolbox("https://sandboxes.example.net/toolbox")
    with pytest.raises(SandboxRefused, match="daytona_hosts"):
        access.check_toolbox("https://sandboxes.example.com/toolbox")


def test_what_a_caller_sends_opens_the_provider():
    sent = {"api_key": KEY, "api_url": "https://app.daytona.io/api/", "target": "eu", "organization_id": "o"}
    access = Access.of(daytona_config(sent, Settings().daytona_hosts))
    assert (access.api_key, access.api_url, access.target) == (KEY, "https://app.daytona.io/api", "eu")
    assert access.organization_id == "o"
    assert Access.of(daytona_config({"api_key": KEY}, DEFAULT_HOSTS)).api_url == DEFAULT_API_URL
    with pytest.raises(Malformed, match="that api_url is not allowed on this host"):
        daytona_config(sent | {"api_url": "http://169.254.169.254/"}, Settings().daytona_hosts)
    assert Settings().daytona_hosts == DEFAULT_HOSTS


def test_the_hosts_own_access_is_that_of_daytonas_variables():
    environ = {"DAYTONA_API_KEY": KEY, "DAYTONA_API_URL": "http://10.0.0.5:3000/api", "DAYTONA_TARGET": ""}
    access = Access.of(own_daytona_config(environ, DEFAULT_HOSTS))
    assert (access.api_key, access.api_url, access.target) == (KEY, "http://10.0.0.5:3000/api", DEFAULT_TARGET)
    with pytest.raises(SandboxUnavailable, match="set DAYTONA_API_KEY"):
        Access.of(own_daytona_config({}, DEFAULT_HOSTS))


@pytest.mark.parametrize("name", ["api_key", "target", "organization_id"])
@pytest.mark.parametrize("value", ["a b", "a\r\nX-Evil: 1", "ключ", "a\0b"])
def test_what_cannot_stand_in_a_header_is_refused_and_not_repeated(name, value):
    with pytest.raises(SandboxRefused, match=f"the {name} given for daytona cannot be one") as refused:
        Access.of({"api_key": KEY, name: value})
    assert value not in str(refused.value)
    assert KEY not in str(refused.value)


def test_an_unknown_word_is_told():
    with pytest.raises(SandboxUnavailable, match="not with apikey"):
        Access.of({"api_key": KEY, "apikey": "x"})


def test_one_access_is_told_from_another_without_its_key():
    one = Access(api_key=KEY)
    assert one.digest == Access(api_key=KEY).digest
    others = [Access(api_key="x"), Access(api_key=KEY, target="eu"), Access(api_key=KEY, organization_id="o")]
    assert len({one.digest, *(other.digest for other in others)}) == 4
    assert KEY not in one.digest + repr(one) + str(one)
    assert one.hide(f"wrong: {KEY}!") == "wrong: ***!"
