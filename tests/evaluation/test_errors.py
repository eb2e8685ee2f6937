"""What a grader tells of an error is the same error in the host."""

from __future__ import annotations

import pytest

from benchhost import errors
from benchhost.evaluation.frames import Failed, Refused
from benchhost.evaluation.outcomes import Declined, error_of

FAILURES = [errors.GradingFailed, errors.HookRaised, errors.HookOverran, errors.HookReturned, errors.GraderDied]


@pytest.mark.parametrize("cls", FAILURES)
def test_a_failure_keeps_its_name_and_its_cause(cls):
    error = error_of(Failed(1, cls.slug, "the cause"))
    assert (type(error), str(error)) == (cls, "the cause")


@pytest.mark.parametrize("slug", ["made-up", errors.UnknownTask.slug, errors.PluginFault.slug])
def test_a_failure_by_a_name_that_is_not_one_of_a_failure_is_one_all_the_same(slug):
    error = error_of(Failed(1, slug, "the cause"))
    assert (type(error), str(error)) == (errors.GradingFailed, "the cause")


@pytest.mark.parametrize("cls", [errors.UnknownTask, errors.UnknownDataset])
def test_a_refusal_keeps_its_name_and_its_message(cls):
    error = error_of(Refused(1, cls.slug, "the message"))
    assert (type(error), str(error)) == (cls, "the message")


@pytest.mark.parametrize("slug", ["made-up", errors.HookRaised.slug, errors.PluginFault.slug])
def test_a_refusal_by_a_name_that_is_not_one_of_a_refusal_is_one_all_the_same(slug):
    error = error_of(Refused(1, slug, "the message"))
    assert (type(error), str(error)) == (errors.RequestError, "the message")


def test_a_malformed_request_keeps_its_location():
    error = error_of(Refused(1, errors.Malformed.slug, "a number", ["results", 0]))
    assert isinstance(error, errors.Malformed)
    assert error.location == ("results", 0)


def test_an_authors_own_words_are_not_an_error_of_anybody():
    assert isinstance(error_of(Refused(1, "", "no compiler")), Declined)
