"""Completions that are kept, and what makes a request the same request."""

import sqlite3

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchhost.contract import Call, ChatMessage, Sampling
from benchhost.errors import ModelRequestRefused, UsageError
from benchhost.models import Metered, load_prices, resolve
from benchhost.models.cache import request_digest

texts = st.text(max_size=20)
requests = st.tuples(
    texts,
    texts,
    st.lists(st.builds(ChatMessage, st.sampled_from(["system", "user", "assistant"]), texts), max_size=3),
    st.builds(
        Sampling,
        temperature=st.none() | st.floats(0, 2),
        max_tokens=st.none() | st.integers(1, 100),
        stop=st.none() | st.lists(texts, max_size=2).map(tuple),
        seed=st.none() | st.integers(0, 9),
    ),
    st.integers(1, 5),
)


@given(requests, requests)
def test_two_requests_have_one_digest_exactly_when_they_are_equal(one, other):
    assert (request_digest(*one) == request_digest(*other)) == (one == other)


@given(requests, st.integers(0, 4), requests)
def test_every_part_of_a_request_counts(request_, position, other):
    changed = list(request_)
    changed[position] = other[position]
    assume(changed[position] != request_[position])
    assert request_digest(*changed) != request_digest(*request_)


def test_a_digest_does_not_change_between_versions():
    """A cache that was filled yesterday must be found today."""
    digest = request_digest("http://x/v1", "openai/m", [ChatMessage("user", "hello")], Sampling(temperature=0.5), 1)
    assert digest == "1595318bd3919f4fb779161f87d35de6dcc9847bbd0697626a26aa804f704417"


@pytest.mark.anyio
async def test_a_request_is_asked_once_and_then_remembered_also_by_the_next_process(model, seen, tmp_path):
    name, cache = "openai/double?cached=1&for=remembered", tmp_path / "new" / "completions.sqlite"
    first = await model(name, cache=cache).complete("hello")
    again = await model(name, cache=cache).complete([ChatMessage("user", "hello")])
    assert seen(name) == 1
    assert (first.cached, again.cached) == (False, True)
    assert (again.text, again.usage, again.model) == (first.text, first.usage, first.model)
    assert again.latency == again.retries == again.waited == 0


@pytest.mark.anyio
async def test_another_epoch_or_sampling_or_prompt_is_another_request(model, seen, tmp_path):
    name = "openai/double?for=another"
    asked = model(name, cache=tmp_path / "completions.sqlite")
    for prompt, sampling, epoch in [("a", None, 1), ("b", None, 1), ("a", Sampling(seed=1), 1), ("a", None, 2)] * 2:
        await asked.complete(prompt, sampling, Call(epoch=epoch))
    assert seen(name) == 4


@pytest.mark.anyio
async def test_a_failure_is_not_remembered(model, tmp_path):
    asked = model("openai/double?status=400&times=1&for=not-remembered", cache=tmp_path / "completions.sqlite")
    with pytest.raises(ModelRequestRefused):
        await asked.complete("hello")
    assert (await asked.complete("hello")).text == "You said: hello"


@pytest.mark.anyio
async def test_what_is_remembered_costs_nothing_again(model, tmp_path):
    account = Metered(model("openai/double?for=costs", cache=tmp_path / "completions.sqlite"), load_prices())
    await account.complete("hello")
    spent = account.spend.usage.input_tokens
    await account.complete("hello")
    assert (account.spend.calls, account.spend.cached, account.spend.unpriced) == (2, 1, 1)
    assert account.spend.usage.input_tokens == spent == 1


@pytest.mark.anyio
async def test_a_cache_that_breaks_in_the_middle_warns_and_costs_no_completion(model, tmp_path):
    asked = model("openai/double?for=breaks", cache=tmp_path / "completions.sqlite")
    with sqlite3.connect(tmp_path / "completions.sqlite") as other:
        other.execute("DROP TABLE completions")
    other.close()
    with pytest.warns(RuntimeWarning, match="no longer cached: no such table"):
        assert (await asked.complete("hello")).text == "You said: hello"
    assert (await asked.complete("hello")).text == "You said: hello"


@pytest.mark.parametrize("content", [b"this is no database, whatever its name says" * 50, None])
def test_a_file_that_is_no_cache_is_refused(content, tmp_path):
    path = tmp_path / "completions.sqlite"
    path.write_bytes(content) if content else path.mkdir()
    with pytest.raises(UsageError, match="cannot be used as a cache"):
        resolve("ollama/x", {}, cache=path)


def test_a_cache_holds_no_key(tmp_path):
    resolve("openai/x", {"OPENAI_API_KEY": "sk-secret-secret"}, cache=tmp_path / "c.sqlite")._store.close()
    with sqlite3.connect(tmp_path / "c.sqlite") as store:
        assert "sk-secret" not in "".join(store.iterdump())
    store.close()
