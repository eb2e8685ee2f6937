"""Tools: what an agent says of them by either protocol reaches a model of either provider, and so does the answer."""

import contextlib
import json
import socket

import anthropic
import openai
import pytest

from benchhost.contract import ChatMessage, Conversation, OneTool, Sampling, Tool, ToolCall
from benchhost.errors import ModelRequestRefused
from benchhost.models.anthropic_messages import AnthropicMessages
from benchhost.models.cache import request_digest
from benchhost.models.openai_chat import OpenAIChat
from benchhost.runner.agent.gateway import model_within

pytestmark = pytest.mark.anyio

ARGUMENTS = '{"command":"ls -l"}'
DOUBLE = f"double?call=shell&arguments={ARGUMENTS}"
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
FOR_OPENAI = [{"type": "function", "function": {"name": "shell", "description": "Run it.", "parameters": SCHEMA}}]
FOR_ANTHROPIC = [{"name": "shell", "description": "Run it.", "input_schema": SCHEMA}]


class Loopback:
    """As much of a sandbox as is needed here: its loopback is this machine's."""

    async def listen(self, port):
        listener = socket.create_server(("127.0.0.1", port))
        listener.setblocking(False)
        return listener


@pytest.fixture(params=["openai", "anthropic"])
async def lent(request, model):
    """Lend a model of either provider; return its variables, and its name."""
    name = f"{request.param}/{DOUBLE}"
    async with model_within(Loopback(), model(name), Sampling(temperature=0.5)) as lent:
        yield lent.env, name


@pytest.fixture
async def chat(lent):
    env, name = lent
    async with openai.AsyncOpenAI(base_url=env["OPENAI_BASE_URL"], api_key=env["OPENAI_API_KEY"]) as client:
        yield client.chat.completions, name


@pytest.fixture
async def messages(lent):
    env, name = lent
    async with anthropic.AsyncAnthropic(base_url=env["ANTHROPIC_BASE_URL"], api_key="none") as client:
        yield client.messages, name


async def test_the_openai_sdk_has_a_tool_called_and_tells_what_it_said(chat):
    client, name = chat
    said = [{"role": "user", "content": "What is there?"}]
    first = (await client.create(model=name, messages=said, tools=FOR_OPENAI, tool_choice="required")).choices[0]
    assert (first.finish_reason, first.message.content) == ("tool_calls", None)
    [call] = first.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("shell", json.loads(ARGUMENTS))
    said += [first.message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "a file"}]
    second = (await client.create(model=name, messages=said, tools=FOR_OPENAI)).choices[0]
    assert (second.finish_reason, second.message.content) == ("stop", "The tool said: a file")


async def test_the_openai_sdk_has_a_tool_called_in_a_stream(chat):
    client, name = chat
    said = [{"role": "user", "content": "What is there?"}]
    async with client.stream(model=name, messages=said, tools=FOR_OPENAI) as stream:
        choice = (await stream.get_final_completion()).choices[0]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("shell", json.loads(ARGUMENTS))


async def test_the_anthropic_sdk_has_a_tool_called_and_tells_what_it_said(messages):
    client, name = messages
    said = [{"role": "user", "content": "What is there?"}]
    asked = {"model": name, "max_tokens": 99, "tools": FOR_ANTHROPIC, "system": "Be brief."}
    first = await client.create(messages=said, tool_choice={"type": "any"}, **asked)
    assert first.stop_reason == "tool_use"
    [use] = first.content
    assert (use.name, use.input) == ("shell", json.loads(ARGUMENTS))
    answer = {"type": "tool_result", "tool_use_id": use.id, "content": "a file"}
    said += [{"role": "assistant", "content": [use.to_dict()]}, {"role": "user", "content": [answer]}]
    second = await client.create(messages=said, **asked)
    assert (second.stop_reason, second.content[0].text) == ("end_turn", "The tool said: a file")


async def test_the_anthropic_sdk_has_a_tool_called_in_a_stream(messages):
    client, name = messages
    said = [{"role": "user", "content": "What is there?"}]
    async with client.stream(model=name, max_tokens=99, messages=said, tools=FOR_ANTHROPIC) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "tool_use"
    assert (message.content[0].name, message.content[0].input) == ("shell", json.loads(ARGUMENTS))
    async with client.stream(model=name, max_tokens=99, messages=said) as stream:
        assert await stream.get_final_text() == "You said: What is there?"


async def test_what_cannot_be_passed_on_is_refused_in_words(chat, messages):
    client, name = chat
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    with pytest.raises(openai.BadRequestError, match="image_url"):
        await client.create(model=name, messages=[{"role": "user", "content": [picture]}])
    client, _ = messages
    search = [{"type": "web_search_20250305", "name": "web_search"}]
    with pytest.raises(anthropic.BadRequestError, match="web_search is one that the provider carries out"):
        await client.create(model=name, max_tokens=9, messages=[{"role": "user", "content": "x"}], tools=search)


async def test_the_sampling_of_the_run_goes_before_what_an_agent_would_have(model):
    name = "openai/double?reflect=1"
    async with contextlib.AsyncExitStack() as stack:
        lent = await stack.enter_async_context(model_within(Loopback(), model(name), Sampling(temperature=0.5)))
        async with openai.AsyncOpenAI(base_url=lent.env["OPENAI_BASE_URL"], api_key="none") as client:
            asked = {"messages": [{"role": "user", "content": "x"}], "temperature": 0.9, "max_tokens": 7}
            answer = await client.chat.completions.create(model=name, **asked)
    sent = json.loads(answer.choices[0].message.content)["body"]
    assert (sent["temperature"], sent["max_tokens"]) == (0.5, 7)


TWO_CALLS = (
    ChatMessage("system", "Be brief."),
    ChatMessage("user", "Do both."),
    ChatMessage("assistant", "I shall.", (ToolCall("1", "shell", "{}"), ToolCall("2", "shell", ARGUMENTS))),
    ChatMessage("tool", "done", tool_call_id="1"),
    ChatMessage("tool", "no such file", tool_call_id="2", failed=True),
)


def test_the_answers_to_the_calls_of_one_message_are_one_message_to_anthropic():
    asked = Conversation(TWO_CALLS, (Tool("shell", "Run it.", SCHEMA),), OneTool("shell"), parallel=False)
    body = json.loads(AnthropicMessages("m").encode(asked, Sampling()))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]
    first, second = body["messages"][2]["content"]
    assert (first["tool_use_id"], second["tool_use_id"], second["is_error"]) == ("1", "2", True)
    assert "is_error" not in first
    assert body["tools"] == FOR_ANTHROPIC
    assert body["tool_choice"] == {"type": "tool", "name": "shell", "disable_parallel_tool_use": True}


def test_openai_is_told_of_tools_in_its_own_words():
    asked = Conversation(TWO_CALLS, (Tool("shell", "Run it.", SCHEMA),), OneTool("shell"), parallel=False)
    body = json.loads(OpenAIChat("m").encode(asked, Sampling()))
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert body["messages"][4] == {"role": "tool", "content": "no such file", "tool_call_id": "2"}
    assert body["tools"] == FOR_OPENAI
    assert body["tool_choice"] == {"type": "function", "function": {"name": "shell"}}
    assert body["parallel_tool_calls"] is False


def test_arguments_that_are_no_object_cannot_be_told_to_anthropic():
    asked = Conversation((ChatMessage("assistant", "", (ToolCall("1", "shell", "ls"),)),), (Tool("shell"),))
    with pytest.raises(ModelRequestRefused, match="arguments of the call 1 are no JSON object"):
        AnthropicMessages("m").encode(asked, Sampling())


def test_a_completion_is_kept_for_the_same_tools_only():
    plain = request_digest("http://x", "m", TWO_CALLS, Sampling(), 1)
    assert plain == request_digest("http://x", "m", Conversation(TWO_CALLS), Sampling(), 1)
    assert plain != request_digest("http://x", "m", Conversation(TWO_CALLS, (Tool("shell"),)), Sampling(), 1)
