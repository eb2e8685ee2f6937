"""What the tests of this folder ask models with."""

import json
import urllib.request

import pytest

from benchhost.models import Breaker, Limiter, RetryPolicy, resolve

QUICK = RetryPolicy(first=0.005, longest=0.02)


@pytest.fixture
def environ(provider, key):
    """An environment in which both protocols lead to the double."""
    return {
        "OPENAI_BASE_URL": f"{provider}/v1",
        "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": provider,
        "ANTHROPIC_API_KEY": key,
    }


@pytest.fixture(scope="session")
def impatient():
    """A policy that tries once."""
    return RetryPolicy(retries=0, throttle_retries=0)


@pytest.fixture
async def model(environ):
    """Make models at the double, with quick retries; they are closed at the end of the test."""
    made = []

    def make(name, **options):
        options = {"policy": QUICK, "limiter": Limiter(8), "breaker": Breaker(1000), "timeout": 10.0} | options
        made.append(resolve(name, environ, **options))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


@pytest.fixture
def seen(provider):
    """Ask the double how often a name was asked for."""

    def ask(name, what="seen"):
        with urllib.request.urlopen(f"{provider}/seen") as answer:
            return json.load(answer)[what].get(name.partition("/")[2], 0)

    return ask
