"""From a name to a model, and where a key may go."""

import subprocess
import sys
import types

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.contract import Completion, Conversation, Sampling
from benchhost.discovery import Entry
from benchhost.errors import UnknownModel, UsageError
from benchhost.models import PROVIDERS, Resilient, key_variables, locate, resolve
from benchhost.models.resolution import _proxy

KEYS = {"OPENAI_API_KEY": "openai-key", "GEMINI_API_KEY": "gemini-key", "ANTHROPIC_API_KEY": "anthropic-key"}


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_every_known_provider_needs_no_more_than_its_key(name):
    provider = PROVIDERS[name]
    location, key = locate(f"{name}/some/model", dict.fromkeys(provider.keys, "key"))
    assert (location.provider, location.model, location.base_url) == (name, "some/model", provider.base_url)
    assert key == ("key" if provider.keys else None)
    assert location.own_url


@pytest.mark.parametrize(
    "name, environ, variables",
    [
        ("openai/x", {}, ["OPENAI_API_KEY"]),
        ("google/x", {}, ["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
        ("google/x", {"GOOGLE_BASE_URL": "http://here"}, ["GOOGLE_API_KEY"]),
        ("mine/x", {"MINE_BASE_URL": "http://here"}, ["MINE_API_KEY"]),
        ("ollama/x", {}, ["OLLAMA_API_KEY"]),
    ],
)
def test_the_variables_of_a_key_are_those_in_which_it_is_found(name, environ, variables):
    assert key_variables(name, environ) == variables
    for one in variables:
        assert locate(name, environ | {one: "the-key"})[1] == "the-key"


def test_a_missing_key_is_asked_for_by_the_name_of_its_variable():
    with pytest.raises(UsageError, match="google needs a key: set GEMINI_API_KEY or GOOGLE_API_KEY"):
        resolve("google/gemini-2.5-flash", {"OPENAI_API_KEY": "x"})


@pytest.mark.parametrize("name", ["gpt-4o", "openai/", "/gpt-4o", "", "/"])
def test_a_name_without_a_provider_is_refused_with_an_example(name):
    with pytest.raises(UnknownModel, match="named provider/name, such as"):
        resolve(name, KEYS)


def test_an_unknown_provider_is_refused_with_the_known_ones_and_the_variables_that_would_define_it():
    with pytest.raises(UnknownModel) as caught:
        resolve("my-lab/model", KEYS)
    message = str(caught.value)
    for part in ("'my-lab'", "anthropic", "ollama", "scripted", "MY_LAB_BASE_URL", "MY_LAB_API_KEY"):
        assert part in message


def test_the_environment_defines_a_provider():
    location, key = locate("my-lab/org/model", {"MY_LAB_BASE_URL": "https://lab.example/v1/", "MY_LAB_API_KEY": "k"})
    assert (location.base_url, key, location.dialect) == ("https://lab.example/v1", "k", "openai")


@given(st.sampled_from(sorted(PROVIDERS)), st.booleans(), st.sampled_from([None, "given"]))
def test_an_address_that_is_given_never_receives_a_key_that_is_held(name, base_in_environment, given_key):
    """To an address not the provider's own goes the key given with it, or its neighbour in the environment."""
    held = {variable: f"held-{variable}" for provider in PROVIDERS.values() for variable in provider.keys}
    neighbour = f"{name.upper()}_API_KEY"
    if base_in_environment:
        environ = held | {f"{name.upper()}_BASE_URL": "https://elsewhere.example/v1"}
        location, key = locate(f"{name}/m", environ, api_key=given_key)
        assert key == (given_key or held.get(neighbour))
    else:
        location, key = locate(f"{name}/m", held, base_url="https://elsewhere.example/v1", api_key=given_key)
        assert key == given_key
    assert not location.own_url


def test_a_location_may_be_recorded_since_it_holds_no_key():
    location, key = locate("openai/gpt-4o", KEYS)
    assert key == "openai-key"
    assert b"openai-key" not in msgspec.json.encode(location)


def test_a_key_may_end_with_a_line_break_but_not_hold_one():
    assert locate("openai/x", {"OPENAI_API_KEY": "k\n"})[1] == "k"
    for broken in ("sk-\nsecret", "sk-s\u00e9cret"):
        with pytest.raises(UsageError, match="characters that a key cannot have") as caught:
            locate("openai/x", {"OPENAI_API_KEY": broken})
        assert "cret" not in str(caught.value)


def test_the_limit_of_tokens_has_its_new_name_for_openai_itself():
    for environ, field in [({}, "max_completion_tokens"), ({"OPENAI_BASE_URL": "http://localhost/v1"}, "max_tokens")]:
        model = resolve("openai/gpt-5.4", KEYS | environ)
        body = msgspec.json.decode(model._model._dialect.encode(Conversation(()), Sampling(max_tokens=9)))
        assert body == {"model": "gpt-5.4", "messages": [], field: 9}


@pytest.mark.parametrize(
    "url,complaint",
    [
        ("localhost:8000", "http or https"),
        ("ftp://x/v1", "http or https"),
        ("http://[::1", "http or https"),
        ("http://x:99999/v1", "http or https"),
        ("https://user:secret@x/v1", "no credential"),
        ("https://x/v1?api-key=secret", "no credential"),
    ],
)
def test_an_address_that_is_none_or_holds_a_credential_is_refused(url, complaint):
    with pytest.raises(UsageError, match=complaint) as caught:
        resolve("openai/m", {}, base_url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "environ,proxy",
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "other.example"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128", "NO_PROXY": "api.example"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "*"}, None),
        ({"http_proxy": "http://proxy:3128"}, None),
        ({"all_proxy": "http://proxy:3128"}, "http://proxy:3128"),
    ],
)
def test_the_proxy_is_the_one_that_the_environment_names(environ, proxy):
    assert _proxy("https://api.example/v1", environ) == proxy


class Plugged:
    """A model of a plugin."""

    def __init__(self, name):
        self.name = f"acme/{name}"

    async def complete(self, prompt, sampling=None, call=None):
        return Completion(text=f"{self.name} heard {prompt}")

    async def aclose(self):
        pass


@pytest.fixture
def plugin(monkeypatch):
    """Install a model plugin for the provider acme."""

    def install(made):
        module = types.ModuleType("acme_models")
        module.provider = made
        monkeypatch.setitem(sys.modules, "acme_models", module)
        entry = Entry(name="acme", object="acme_models:provider", distribution="acme-models", version="1.2")
        monkeypatch.setattr("benchhost.models.resolution.entries", lambda group: [entry])

    return install


@pytest.mark.anyio
async def test_a_plugin_brings_a_provider_and_gets_retries_and_limits_for_nothing(plugin):
    plugin(Plugged)
    model = resolve("acme/big/model", {})
    assert isinstance(model, Resilient)
    assert (await model.complete("hello")).text == "acme/big/model heard hello"


@pytest.mark.parametrize("made,complaint", [(lambda name: 1 / 0, "ZeroDivisionError"), (lambda name: 5, "made 5")])
def test_a_broken_plugin_is_named_with_its_distribution(made, complaint, plugin):
    plugin(made)
    with pytest.raises(UnknownModel, match=r"acme \(acme_models:provider, from acme-models 1\.2\)") as caught:
        resolve("acme/x", {})
    assert complaint in str(caught.value)


def test_a_model_that_is_never_asked_loads_no_http_client():
    code = (
        "import sys; from benchhost.models import resolve; resolve('ollama/x', {}); "
        "sys.exit(any(name.split('.')[0] in ('aiohttp', 'openai', 'anthropic', 'httpx') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
