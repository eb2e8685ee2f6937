"""Providers that any-llm brings, tried with those of its providers that speak to the double."""

import pytest

from benchhost.contract import Sampling
from benchhost.errors import UnknownModel, UsageError
from benchhost.models import resolve
from benchhost.models.any_llm import AnyLLMModel

pytestmark = pytest.mark.anyio


@pytest.fixture
async def brought(provider, key):
    """Make models at the double, through any-llm; they are closed at the end of the test."""
    made = []

    def make(model, protocol="openai", api_key=key):
        base = f"{provider}/v1" if protocol == "openai" else provider
        made.append(AnyLLMModel(protocol, model, api_key=api_key, base_url=base))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
async def test_a_completion_is_the_same_as_without_any_llm(protocol, brought, model):
    name, sampling = "double?cached=1&for=any-llm", Sampling(max_tokens=50, stop=("END",))
    brought_said = await brought(name, protocol).complete("What is two and two?", sampling)
    said = await model(f"{protocol}/{name}").complete("What is two and two?", sampling)
    assert brought_said.latency > 0
    brought_said.latency = said.latency = 0
    assert brought_said == said


@pytest.mark.parametrize(
    "behaviour,kind",
    [
        ("status=429&retry_after=7", "throttled"),
        ("status=400", "bad_request"),
        ("status=400&code=context_length_exceeded&message=maximum context length", "context_overflow"),
        ("status=402", "funds"),
        ("status=404", "bad_request"),
        ("status=500", "unavailable"),
    ],
)
async def test_a_failure_has_the_kind_that_it_has_without_any_llm(behaviour, kind, brought):
    with pytest.raises(Exception) as caught:
        await brought(f"double?{behaviour}").complete("hello")
    assert caught.value.kind == kind
    assert caught.value.retry_after == (7 if kind == "throttled" else None)


async def test_a_key_that_is_repeated_is_taken_out_of_the_message(brought):
    with pytest.raises(Exception) as caught:
        await brought("double", api_key="my-very-own-wrong-key").complete("hello")
    assert caught.value.kind == "auth"
    assert "my-very-own" not in str(caught.value)


async def test_a_provider_that_only_any_llm_knows_is_resolved_and_asks_for_its_key(monkeypatch):
    monkeypatch.delenv("NEBIUS_API_KEY", raising=False)
    with pytest.raises(UsageError, match=r"nebius/x cannot be used through any-llm.*NEBIUS_API_KEY"):
        resolve("nebius/x", {})


async def test_a_provider_that_nobody_knows_is_unknown():
    with pytest.raises(UnknownModel, match="no provider is named 'nobody'"):
        resolve("nobody/x", {})
