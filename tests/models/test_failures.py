"""What providers say when they refuse, and what it is called here. The bodies are theirs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.errors import ModelError
from benchhost.models.failures import LONGEST_QUOTE, failure, scrub

REFUSALS = [
    (
        "openai: out of credit",
        429,
        (
            '{"error":{"message":"You exceeded your current quota, please check your plan and billing details.",'
            '"type":"insufficient_quota","param":null,"code":"insufficient_quota"}}'
        ),
        "funds",
    ),
    (
        "openai: rate limit",
        429,
        (
            '{"error":{"message":"Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit '
            '30000, Used 29000, Requested 2000. Please try again in 2s.","type":"tokens","code":"rate_limit_exceeded"}}'
        ),
        "throttled",
    ),
    (
        "openai: never fits the rate limit",
        429,
        (
            '{"error":{"message":"Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 90000.",'
            '"type":"tokens","code":"rate_limit_exceeded"}}'
        ),
        "context_overflow",
    ),
    (
        "google: rate limit in the words of a bill",
        429,
        (
            '[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing '
            'details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"RetryInfo","retryDelay":"34s"}]}}]'
        ),
        "throttled",
    ),
    (
        "openai: prompt too long",
        400,
        (
            '{"error":{"message":"This model\'s maximum context length is 128 tokens.","type":"invalid_request_error",'
            '"param":"messages","code":"context_length_exceeded"}}'
        ),
        "context_overflow",
    ),
    (
        "vllm: prompt too long",
        400,
        (
            '{"object":"error","message":"This model\'s maximum context length is 4096 tokens. However, you requested '
            '5000 tokens.","type":"BadRequestError","param":null,"code":400}'
        ),
        "context_overflow",
    ),
    (
        "anthropic: prompt too long",
        400,
        (
            '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > '
            '200000 maximum"}}'
        ),
        "context_overflow",
    ),
    (
        "anthropic: out of credit",
        400,
        (
            '{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low. '
            'Please go to Plans & Billing."}}'
        ),
        "funds",
    ),
    (
        "anthropic: overloaded",
        529,
        '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        "unavailable",
    ),
    (
        "azure: content filter",
        400,
        (
            '{"error":{"message":"The response was filtered since the prompt triggers Azure\'s content management '
            'policy.","type":null,"param":"prompt","code":"content_filter","status":400}}'
        ),
        "content_filter",
    ),
    ("deepseek: out of credit", 402, '{"error":{"message":"Insufficient Balance","type":"unknown_error"}}', "funds"),
    ("ollama: unknown model", 404, '{"error":"model \'x\' not found"}', "bad_request"),
    ("mistral: unauthorized", 401, '{"message":"Unauthorized","request_id":"x"}', "auth"),
    ("fastapi: a parameter", 422, '{"detail":"top_k must be positive"}', "bad_request"),
    ("a proxy without words", 504, "", "unavailable"),
]


@pytest.mark.parametrize("status,body,kind", [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_a_refusal_has_the_kind_that_its_words_mean(status, body, kind):
    error = failure(status, body.encode())
    assert error.kind == kind
    assert error.status == status
    assert error.retriable == (kind in ("throttled", "unavailable"))


def test_googles_advice_is_found_in_the_body():
    google = next(body for name, _, body, _ in REFUSALS if name.startswith("google"))
    assert failure(429, google.encode()).retry_after == 34
    assert failure(429, google.encode(), retry_after=2.0).retry_after == 2


def test_the_message_holds_the_status_the_code_and_the_words():
    error = failure(402, b'{"error":{"message":"Insufficient Balance","type":"unknown_error"}}')
    assert str(error) == "the provider answered 402 (unknown_error): Insufficient Balance"
    assert "an empty body" in str(failure(500, b""))


@given(st.integers(300, 599), st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_answer_at_all_makes_a_model_error(status, body):
    assert isinstance(failure(status, body), ModelError)


@given(st.text("abcdefg", min_size=8), st.text("*0123-_ ", max_size=40), st.text("*0123-_ ", max_size=40))
def test_no_key_survives_in_a_message(key, before, after):
    assert key not in scrub(before + key + after, key)


@pytest.mark.parametrize(
    "key", ["sk-proj-abcdefgh12345", "sk-ant-api03-xyzxyzxyz", "gsk_abcdefgh1234", "hf_abcdefgh1234"]
)
def test_what_looks_like_a_key_is_taken_out_whoevers_it_is(key):
    assert scrub(f"Incorrect API key: {key}, see the docs", None) == "Incorrect API key: ***, see the docs"


def test_ordinary_words_are_left_alone():
    text = "the skeletons of a task-oriented risk-assessment are skewed"
    assert scrub(text, None) == text


def test_long_bodies_are_shortened():
    assert len(scrub("x" * 10_000, None)) == LONGEST_QUOTE
