"""Errors of requests that are refused for how they come, before anybody asks what they want."""

from __future__ import annotations

from benchhost.errors import RequestError


class HeadRefused(RequestError):
    """A header is missing, or there twice, and could be understood in more than one way."""

    slug = "head-refused"
    title = "The head of the request is ambiguous"


class HeadTooLarge(RequestError):
    """The headers are larger than any request needs."""

    slug = "head-too-large"
    title = "The headers are too large"


class WrongHost(RequestError):
    """The request is addressed to a name that is not this host's."""

    slug = "wrong-host"
    title = "The request is addressed to another host"


class TooSlow(RequestError):
    """The body does not arrive in time."""

    slug = "too-slow"
    title = "The body came too slowly"


class LengthRequired(RequestError):
    """An upload does not say how large it is, so that no room can be made for it."""

    slug = "length-required"
    title = "The length of the body is missing"


class Encoded(RequestError):
    """The body is compressed, or encoded in another way: a few bytes of it could become any number."""

    slug = "encoded"
    title = "The body is encoded"
