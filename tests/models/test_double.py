"""The double of a provider is faithful: the providers' own SDKs say so, and we send what they send."""

import json

import anthropic
import openai
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion

from benchhost.contract import ChatMessage, Sampling
from benchhost.models.anthropic_messages import VERSION

pytestmark = pytest.mark.anyio

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is two and two?"}]
CONVERSATION = [ChatMessage(**message) for message in MESSAGES]


@pytest.fixture
async def openai_sdk(provider, key):
    async with openai.AsyncOpenAI(base_url=f"{provider}/v1", api_key=key, max_retries=0) as client:
        yield client.chat.completions.create


@pytest.fixture
async def anthropic_sdk(provider, key):
    async with anthropic.AsyncAnthropic(base_url=provider, api_key=key, max_retries=0) as client:
        yield client.messages.create


async def test_the_openai_sdk_reads_the_same_completion_as_we_do(openai_sdk, model):
    name = "double?cached=3&reasoned=11&finish=length"
    theirs = await openai_sdk(model=name, messages=MESSAGES)
    ours = await model(f"openai/{name}").complete(CONVERSATION)
    assert ChatCompletion.model_validate(theirs.to_dict(), strict=True).choices[0].message.content == ours.text
    assert ours.text == "You said: What is two and two?"
    assert ours.finish_reason == theirs.choices[0].finish_reason == "length"
    assert ours.model == theirs.model
    assert ours.usage.input_tokens == theirs.usage.prompt_tokens == 7
    assert ours.usage.output_tokens == theirs.usage.completion_tokens == 18
    assert ours.usage.cached_tokens == theirs.usage.prompt_tokens_details.cached_tokens == 3
    assert ours.usage.reasoning_tokens == theirs.usage.completion_tokens_details.reasoning_tokens == 11


async def test_the_anthropic_sdk_reads_the_same_completion_as_we_do(anthropic_sdk, model):
    name = "double?cached=2&written=1&finish=max_tokens"
    theirs = await anthropic_sdk(model=name, max_tokens=100, messages=MESSAGES[1:], system="Be brief.")
    ours = await model(f"anthropic/{name}").complete(CONVERSATION)
    assert Message.model_validate(theirs.to_dict(), strict=True).content[0].text == ours.text
    assert ours.text == "You said: What is two and two?"
    assert (ours.finish_reason, theirs.stop_reason) == ("length", "max_tokens")
    assert ours.model == theirs.model
    read, written = theirs.usage.cache_read_input_tokens, theirs.usage.cache_creation_input_tokens
    assert (ours.usage.cached_tokens, ours.usage.cache_write_tokens) == (read, written) == (2, 1)
    assert ours.usage.input_tokens == theirs.usage.input_tokens + read + written == 5
    assert ours.usage.output_tokens == theirs.usage.output_tokens


async def test_we_send_what_the_openai_sdk_sends(openai_sdk, model):
    name = "double?reflect=1"
    theirs = await openai_sdk(
        model=name, messages=MESSAGES, temperature=0.5, top_p=0.9, max_tokens=64, reasoning_effort="low",
        stop=["END"], seed=7,
    )  # fmt: skip
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=64, reasoning_effort="low", stop=("END",), seed=7)
    ours = await model(f"openai/{name}").complete(CONVERSATION, sampling)
    assert same_request(ours.text, theirs.choices[0].message.content, "authorization")


async def test_we_send_what_the_anthropic_sdk_sends(anthropic_sdk, model):
    name = "double?reflect=1"
    theirs = await anthropic_sdk(
        model=name, messages=MESSAGES[1:], system="Be brief.", max_tokens=64, stop_sequences=["END"],
        output_config={"effort": "low"}, extra_body={"temperature": 0.5, "top_p": 0.9, "top_k": 5},
    )  # fmt: skip
    sampling = Sampling(temperature=0.5, top_p=0.9, top_k=5, max_tokens=64, reasoning_effort="low", stop=("END",))
    ours = await model(f"anthropic/{name}").complete(CONVERSATION, sampling)
    assert same_request(ours.text, theirs.content[0].text)
    assert json.loads(ours.text)["headers"]["anthropic-version"] == VERSION


async def test_only_what_is_set_is_sent(openai_sdk, model):
    theirs = await openai_sdk(model="double?reflect=1", messages=MESSAGES)
    ours = await model("openai/double?reflect=1").complete(CONVERSATION)
    assert same_request(ours.text, theirs.choices[0].message.content)
    assert json.loads(ours.text)["body"].keys() == {"model", "messages"}


def same_request(ours, theirs, *headers):
    ours, theirs = json.loads(ours), json.loads(theirs)
    assert ours["body"] == theirs["body"]
    for header in ("content-type", *headers):
        assert ours["headers"][header] == theirs["headers"][header]
    return True


OPENAI_ERRORS = [
    ("status=400&code=context_length_exceeded", openai.BadRequestError, "context_overflow"),
    ("status=400", openai.BadRequestError, "bad_request"),
    ("status=404&code=model_not_found", openai.NotFoundError, "bad_request"),
    ("status=429", openai.RateLimitError, "throttled"),
    ("status=429&code=insufficient_quota", openai.RateLimitError, "funds"),
    ("status=500", openai.InternalServerError, "unavailable"),
    ("html=1", openai.InternalServerError, "unavailable"),
    ("torn=1", openai.APIConnectionError, "unavailable"),
]


@pytest.mark.parametrize("behaviour,theirs,ours", OPENAI_ERRORS)
async def test_the_openai_sdk_sees_the_failures_that_we_see(behaviour, theirs, ours, openai_sdk, model, impatient):
    with pytest.raises(theirs):
        await openai_sdk(model=f"double?{behaviour}", messages=MESSAGES)
    with pytest.raises(Exception) as caught:
        await model(f"openai/double?{behaviour}", policy=impatient).complete("hello")
    assert caught.value.kind == ours


ANTHROPIC_ERRORS = [
    ("status=400&message=prompt is too long: 9 tokens > 8 maximum", anthropic.BadRequestError, "context_overflow"),
    ("status=400&message=Your credit balance is too low", anthropic.BadRequestError, "funds"),
    ("status=403", anthropic.PermissionDeniedError, "auth"),
    ("status=404", anthropic.NotFoundError, "bad_request"),
    ("status=413", anthropic.RequestTooLargeError, "context_overflow"),
    ("status=429", anthropic.RateLimitError, "throttled"),
    ("status=529", anthropic.OverloadedError, "unavailable"),
]


@pytest.mark.parametrize("behaviour,theirs,ours", ANTHROPIC_ERRORS)
async def test_the_anthropic_sdk_sees_the_failures_that_we_see(
    behaviour, theirs, ours, anthropic_sdk, model, impatient
):
    with pytest.raises(theirs):
        await anthropic_sdk(model=f"double?{behaviour}", max_tokens=8, messages=MESSAGES[1:])
    with pytest.raises(Exception) as caught:
        await model(f"anthropic/double?{behaviour}", policy=impatient).complete("hello")
    assert caught.value.kind == ours


async def test_a_wrong_key_is_refused_by_the_double_as_by_the_providers(provider):
    async with openai.AsyncOpenAI(base_url=f"{provider}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="double", messages=MESSAGES)
    async with anthropic.AsyncAnthropic(base_url=provider, api_key="wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(model="double", max_tokens=8, messages=MESSAGES[1:])
