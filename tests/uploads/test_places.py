"""Keys of uploads, and the URLs that are good for them."""

import hashlib
import re
import time
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchhost.access import is_tenant
from benchhost.errors import UploadRefused
from benchhost.uploads import Permit, Place
from benchhost.wire.vals import UploadRequest

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
TENANTS = st.text(max_size=20).filter(lambda name: not name or is_tenant(name))
PLACES = st.builds(Place, TENANTS, NAMES, NAMES, NAMES)
ANYTHING = st.text(max_size=30) | st.sampled_from(["..", ".", "../x", "/", "a/b", "", "a\n", "a\0", "%2e%2e", "a\\b"])
SECRET = b"s" * 32

decode = msgspec.json.Decoder(UploadRequest).decode


@given(PLACES, NAMES, PLACES, NAMES)
def test_a_key_is_of_its_place_and_of_no_other(place, filename, other, name):
    key = place.key(filename)
    assert place.has(key)
    assert other.has(key) == (other == place)
    assert (key == other.key(name)) == ((place, filename) == (other, name))


@given(PLACES, NAMES)
def test_a_key_has_six_parts_of_plain_characters_none_of_which_leads_elsewhere(place, filename):
    parts = place.key(filename).split("/")
    assert len(parts) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9._~%-]+", part) and part.strip(".") for part in parts)


def test_a_key_is_as_the_contract_says():
    assert Place("acme", "default", "run-1", "t_1").key("a.zip") == "submission-artifacts/acme/default/run-1/t_1/a.zip"
    assert Place("", "d", "r", "t").key("a") == "submission-artifacts/unauthenticated/d/r/t/a"
    assert not is_tenant("unauthenticated")


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_no_key_of_anything_is_taken_for_one_of_another_tenant(run, task, dataset, filename, key):
    ours = Place("acme", dataset, run, task)
    for each in (key, f"submission-artifacts/rival/{dataset}/{run}/{task}/{filename}", ours.key(f"../{filename}")):
        assert not ours.has(each)


@given(st.fixed_dictionaries({"run_id": ANYTHING, "task_id": ANYTHING, "filename": ANYTHING, "dataset": ANYTHING}))
def test_a_name_with_which_one_could_leave_ones_place_is_malformed(said):
    plain = all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", each) for each in said.values())
    try:
        decode(msgspec.json.encode(said))
    except msgspec.ValidationError:
        assert not plain
    else:
        assert plain


PERMITS = st.builds(
    Permit,
    NAMES,
    st.builds(Place.key, PLACES, NAMES),
    st.integers(2_000_000_000, 3_000_000_000),
    st.integers(0, 2**40),
    st.none() | st.integers(0, 2**40),
    st.none() | st.binary(max_size=8).map(lambda each: hashlib.sha256(each).hexdigest()),
)


def sent(query):
    """The permit and the signature that a host reads off a query."""
    said = {name: value for name, [value] in parse_qs(query, strict_parsing=True).items()}
    signature = said.pop("signature")
    return msgspec.convert(said | {"key": said["key"]}, dict[str, str]), signature


def permit_of(said):
    numbers = {name: int(value) for name, value in said.items() if name in ("expires", "limit", "size")}
    return Permit(**{**said, **numbers})


@given(PERMITS)
def test_a_url_says_what_was_signed(permit):
    said, signature = sent(permit.query(SECRET))
    assert permit_of(said) == permit
    permit_of(said).check(SECRET, signature, time.time())


@given(PERMITS, PERMITS)
def test_a_signature_is_good_for_nothing_else(permit, other):
    _, signature = sent(permit.query(SECRET))
    if other == permit:
        return
    with pytest.raises(UploadRefused, match="does not fit"):
        other.check(SECRET, signature, 0.0)


@given(PERMITS, st.data())
def test_no_field_can_be_changed(permit, data):
    _, signature = sent(permit.query(SECRET))
    other = data.draw(PERMITS)
    name = data.draw(st.sampled_from(Permit.__struct_fields__))
    changed = msgspec.structs.replace(permit, **{name: getattr(other, name)})
    assume(changed != permit)
    with pytest.raises(UploadRefused, match="does not fit"):
        changed.check(SECRET, signature, 0.0)


@given(PERMITS, st.text(max_size=70) | st.just("é" * 64), st.binary(min_size=1, max_size=40))
def test_no_other_signature_will_do(permit, signature, secret):
    assume(secret != SECRET)
    for each in (signature, permit.signature(secret), permit.signature(SECRET)[:-1], permit.signature(SECRET).upper()):
        if each != permit.signature(SECRET):
            with pytest.raises(UploadRefused, match="does not fit"):
                permit.check(SECRET, each, 0.0)


@given(PERMITS, st.integers(-100, 100))
def test_it_is_good_until_it_expires(permit, after):
    signature = permit.signature(SECRET)
    if after < 0:
        permit.check(SECRET, signature, permit.expires + after)
    else:
        with pytest.raises(UploadRefused, match="has expired"):
            permit.check(SECRET, signature, permit.expires + after)


def test_a_query_is_readable():
    permit = Permit("bench", "submission-artifacts/a%20b/default/r/t/f", 2_000_000_000, 5)
    url = urlsplit("http://host/v1/uploads?" + permit.query(SECRET))
    assert "key=submission-artifacts/a%20b/default/r/t/f&" in unquote(url.query)
    assert "size" not in url.query
