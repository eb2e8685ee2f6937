"""Models that need no network."""

import json

import pytest

from benchhost.contract import Call, ChatMessage, Model, Usage
from benchhost.errors import ModelRequestRefused, UnknownModel, UsageError
from benchhost.models import load_prices, resolve

pytestmark = pytest.mark.anyio


@pytest.fixture
async def replay(tmp_path):
    """Make a replay of some lines; it is closed at the end of the test."""
    made = []

    def make(*lines):
        path = tmp_path / f"recorded-{len(made)}.jsonl"
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        made.append(resolve(f"scripted/file:{path}", {}))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def test_an_echo_repeats_the_last_message_of_the_user():
    echo = resolve("scripted/echo", {})
    assert isinstance(echo, Model)
    assert (await echo.complete("hello")).text == "hello"
    conversation = [ChatMessage("user", "one"), ChatMessage("user", "two"), ChatMessage("assistant", "three")]
    assert (await echo.complete(conversation)).text == "two"


async def test_the_reference_answers_with_the_gold_answer_of_the_call():
    async def gold():
        return "42"

    said = await resolve("scripted/reference", {}).complete("six times seven?", call=Call(task_id="t", reference=gold))
    assert said.text == "42"


async def test_the_reference_says_why_it_has_no_answer():
    async def nothing():
        return None

    reference = resolve("scripted/reference", {})
    with pytest.raises(ModelRequestRefused, match="never leave their host"):
        await reference.complete("hello", call=Call(task_id="t"))
    with pytest.raises(ModelRequestRefused, match="no reference response for task 't'"):
        await reference.complete("hello", call=Call(task_id="t", reference=nothing))


async def test_scripted_models_use_no_tokens_and_cost_nothing():
    said = await resolve("scripted/echo", {}).complete("hello")
    assert said.usage == Usage()
    assert load_prices().cost("scripted/echo", said.usage) == 0


@pytest.mark.parametrize(
    "record",
    [
        {"task_id": "t1", "response": "yes"},
        {"id": "t1", "text": "yes"},
        {"task_id": "t1", "data": "yes", "status": "success"},
        {"task_id": "t1", "answer": "yes"},
        {"id": "t1", "response": {"text": "yes"}},
    ],
)
async def test_a_recorded_response_is_found_by_task_id_whatever_the_record_calls_it(record, replay):
    recorded = replay({"id": "t0", "text": "no"}, "", record)
    assert (await recorded.complete("?", call=Call(task_id="t1"))).text == "yes"


async def test_a_number_will_do_as_an_id(replay):
    assert (await replay({"id": 7, "text": "yes"}).complete("?", call=Call(task_id="7"))).text == "yes"


async def test_responses_to_one_task_are_its_epochs(replay):
    recorded = replay({"id": "a", "text": "1"}, {"id": "b", "text": "only"}, {"id": "a", "text": "2"})
    assert [(await recorded.complete("?", call=Call(task_id="a", epoch=e))).text for e in (1, 2)] == ["1", "2"]
    assert (await recorded.complete("?", call=Call(task_id="b", epoch=9))).text == "only"
    with pytest.raises(ModelRequestRefused, match="2 responses to task 'a', none for epoch 3"):
        await recorded.complete("?", call=Call(task_id="a", epoch=3))


async def test_a_task_without_a_recorded_response_is_named(replay):
    with pytest.raises(
        ModelRequestRefused, match=r"recorded-0\.jsonl holds no response to task 'b' \(it has 1 tasks\)"
    ):
        await replay({"id": "a", "text": "1"}).complete("?", call=Call(task_id="b"))


@pytest.mark.parametrize(
    "line,complaint",
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: expected an object"),
        ("[" * 3000, "line 2: nested too deeply"),
        ('{"id": "x"}', r"line 2: expected an id \(task_id or id\) and a text"),
        ('{"text": "x"}', "line 2: expected an id"),
        ('{"id": "x", "text": 5}', "line 2: expected an id"),
    ],
)
async def test_a_file_that_holds_something_else_is_refused_with_the_line(line, complaint, replay):
    with pytest.raises(UsageError, match=complaint):
        replay({"id": "a", "text": "1"}, line)


async def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.jsonl cannot be read: No such file"):
        resolve(f"scripted/file:{tmp_path}/nowhere.jsonl", {})


async def test_an_unknown_script_is_refused_with_the_known_ones():
    with pytest.raises(UnknownModel, match="scripted/reference, scripted/echo and scripted/file:PATH, not 'ehco'"):
        resolve("scripted/ehco", {})


async def test_published_solutions_are_replayed_word_for_word(data, replay):
    published = [json.loads(line) for line in (data / "gsm8k" / "model_solutions_6b.jsonl").read_text().splitlines()]
    finetuned = [record for record in published if record["model"] == "6b_finetuning"]
    recorded = replay(*({"task_id": str(r["index"]), "response": r["solution"]} for r in finetuned))
    assert len(finetuned) == 1319
    for record in finetuned[::100]:
        said = await recorded.complete("?", call=Call(task_id=str(record["index"])))
        assert said.text == record["solution"]
