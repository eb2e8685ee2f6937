"""What comes of one call, in both protocols."""

import asyncio
import contextlib
import json
import socket
import time

import msgspec
import pytest

from benchhost.contract import ChatMessage, Model, Sampling
from benchhost.errors import (
    ModelAuthFailed,
    ModelReplyMalformed,
    ModelRequestRefused,
    ModelThrottled,
    ModelUnavailable,
)
from benchhost.models import Limiter, resolve
from benchhost.models.anthropic_messages import AnthropicMessages
from benchhost.models.openai_chat import OpenAIChat

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("protocol", ["openai", "anthropic"])


@BOTH
async def test_a_prompt_may_be_a_text_or_a_conversation(protocol, model):
    asked = model(f"{protocol}/double")
    assert isinstance(asked, Model)
    said = await asked.complete("two and two")
    also_said = await asked.complete([ChatMessage("system", "Be brief."), ChatMessage("user", "two and two")])
    assert said.text == also_said.text == "You said: two and two"
    assert said.latency > 0
    assert said.retries == said.waited == 0


async def test_what_follows_the_first_slash_of_a_name_reaches_the_provider_unchanged(model):
    said = await model("openai/org/Model-7B:free@v1?reflect=1").complete("hello")
    assert json.loads(said.text)["body"]["model"] == "org/Model-7B:free@v1?reflect=1"


async def test_the_limit_of_tokens_has_its_old_name_for_all_but_openai_itself(model, environ, provider, key):
    environ |= {"ACME_BASE_URL": f"{provider}/v1", "ACME_API_KEY": key}
    for name in ("openai/double?reflect=1", "acme/double?reflect=1"):
        said = await model(name).complete("hello", Sampling(max_tokens=9))
        assert json.loads(said.text)["body"]["max_tokens"] == 9


async def test_anthropics_protocol_has_no_seed_and_says_so(model):
    with pytest.raises(ModelRequestRefused, match="no seed"):
        await model("anthropic/double").complete("hello", Sampling(seed=1))


@BOTH
@pytest.mark.parametrize("theirs,ours", [("tool_use", "tool_calls"), ("refusal", "content_filter"), ("new", "other")])
async def test_every_reason_to_stop_has_one_name(protocol, theirs, ours, model):
    theirs = (
        {"tool_use": "tool_calls", "refusal": "content_filter"}.get(theirs, theirs) if protocol == "openai" else theirs
    )
    said = await model(f"{protocol}/double?finish={theirs}").complete("hello")
    assert said.finish_reason == ours


@BOTH
async def test_an_answer_that_is_no_json_is_malformed_and_quoted(protocol, model, impatient):
    with pytest.raises(ModelReplyMalformed, match="half an ans") as caught:
        await model(f"{protocol}/double?garbage=1", policy=impatient).complete("hello")
    assert caught.value.retriable
    assert caught.value.__cause__ is not None


def test_an_answer_of_another_protocol_is_not_read_as_an_empty_completion():
    with pytest.raises(msgspec.DecodeError, match="choices"):
        OpenAIChat("x").decode(b'{"content": [{"type": "text", "text": "hello"}]}')
    with pytest.raises(msgspec.DecodeError, match="content"):
        AnthropicMessages("x").decode(b'{"choices": [{"message": {"content": "hello"}}]}')


def test_reasoning_that_a_provider_counts_apart_is_counted_as_output():
    usage = b'"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}'
    said = OpenAIChat("x").decode(b'{"choices": [{"message": {"content": "hello"}}], ' + usage + b"}")
    assert (said.usage.input_tokens, said.usage.output_tokens) == (10, 105)


def test_usage_that_a_provider_does_not_state_is_unknown_rather_than_nothing():
    assert OpenAIChat("x").decode(b'{"choices": [{"message": {"content": "hello"}}]}').usage is None


def test_content_may_come_in_parts():
    parts = b'[{"type": "thinking", "thinking": []}, {"type": "text", "text": "he"}, {"type": "text", "text": "llo"}]'
    assert OpenAIChat("x").decode(b'{"choices": [{"message": {"content": ' + parts + b"}}]}").text == "hello"


async def test_an_error_disguised_as_success_is_an_error(model, impatient):
    with pytest.raises(ModelThrottled, match="the provider behind is down"):
        await model("openai/double?disguised=429", policy=impatient).complete("hello")


@BOTH
async def test_a_torn_answer_is_no_completion(protocol, model, impatient):
    with pytest.raises(ModelUnavailable, match="not completed") as caught:
        await model(f"{protocol}/double?torn=1", policy=impatient).complete("hello")
    assert caught.value.__cause__ is not None


async def test_a_slow_head_ends_with_the_timeout(model, impatient):
    began = time.monotonic()
    with pytest.raises(ModelUnavailable, match=r"no whole answer within 0\.2 s"):
        await model("openai/double?latency=5", policy=impatient, timeout=0.2).complete("hello")
    assert time.monotonic() - began < 3


async def test_a_server_that_is_not_there_is_named(impatient):
    asked = resolve("openai/x", {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, policy=impatient)
    with pytest.raises(ModelUnavailable, match=r"no connection to http://127\.0\.0\.1:9/v1/chat.*: .*refused"):
        await asked.complete("hello")
    await asked.aclose()


async def test_a_server_that_accepts_no_connection_in_time_is_told_apart_from_one_that_thinks(impatient, monkeypatch):
    monkeypatch.setattr("benchhost.models.transport.CONNECT_TIMEOUT", 0.2)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        with contextlib.ExitStack() as stack:
            for _ in range(3):  # until nobody else gets in
                caller = stack.enter_context(socket.socket())
                caller.setblocking(False)
                caller.connect_ex(address)
            asked = resolve("openai/x", {"OPENAI_BASE_URL": f"http://127.0.0.1:{address[1]}/v1"}, policy=impatient)
            with pytest.raises(ModelUnavailable, match=r"no connection to .*: not within 0\.2 s"):
                await asked.complete("hello")
            await asked.aclose()


async def test_a_redirect_is_not_followed_because_the_key_would_go_with_it(model, provider, seen):
    with pytest.raises(ModelRequestRefused, match=r"redirect to http://elsewhere\.example"):
        await model("openai/double?moved=http://elsewhere.example/v1").complete("hello")


@BOTH
async def test_a_key_that_a_provider_repeats_is_taken_out_of_the_message(protocol, provider):
    environ = {"OPENAI_BASE_URL": f"{provider}/v1", "ANTHROPIC_BASE_URL": provider}
    asked = resolve(f"{protocol}/double", environ, api_key="my-very-own-wrong-key")
    with pytest.raises(ModelAuthFailed, match=r"Incorrect API key provided: \*\*\*") as caught:
        await asked.complete("hello")
    assert "my-very-own" not in f"{caught.value!r} {asked!r}"
    assert not caught.value.retriable
    await asked.aclose()


async def test_calls_share_their_connections_and_run_at_once(model, seen):
    name = "openai/double?latency=0.2&for=at-once"
    asked = model(name, limiter=Limiter(20))
    began = time.monotonic()
    await asyncio.gather(*(asked.complete("hello") for _ in range(40)))
    assert time.monotonic() - began < 5
    assert seen(name) == 40
    assert seen(name, "most_under_way") <= 20


async def test_a_closed_model_leaves_no_connection_behind(model):
    asked = model("openai/double")
    await asked.complete("hello")
    await asked.aclose()
    await asked.aclose()
