"""Uploads in a bucket: what is signed is held to a verifier that is held to Amazon's own examples."""

import hashlib
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from s3_double import BUCKET, ENVIRON, REGION, signature

from benchhost.errors import TooLarge, UploadsFailed
from benchhost.uploads import Announced, Bucket, Place

pytestmark = pytest.mark.anyio

PUBLISHED_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SCOPE = "20130524/us-east-1/s3/aws4_request"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
KEY = "submission-artifacts/acme/default/r/t/work.zip"


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(double):
    double.later = 0.0
    double.objects.clear()
    double.refused.clear()
    return Bucket(BUCKET, REGION, double.url, largest=1000)


def put(url, content):
    return send(urllib.request.Request(url, data=content, method="PUT"))


def send(request):
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_verifier_signs_a_url_as_amazon_publishes_it():
    # https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    url = (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3"
        "%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    )
    headers = {"host": "examplebucket.s3.amazonaws.com"}
    how = {"date": "20130524T000000Z", "scope": SCOPE, "signed": "host", "payload": "UNSIGNED-PAYLOAD"}
    made = signature(PUBLISHED_SECRET, "GET", url, headers, **how)
    assert made == "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"


def test_the_verifier_signs_a_request_as_amazon_publishes_it():
    # https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    headers = {
        "host": "examplebucket.s3.amazonaws.com",
        "range": "bytes=0-9",
        "x-amz-content-sha256": EMPTY,
        "x-amz-date": "20130524T000000Z",
    }
    how = {"date": "20130524T000000Z", "scope": SCOPE, "signed": ";".join(headers), "payload": EMPTY}
    made = signature(PUBLISHED_SECRET, "GET", "/test.txt", headers, **how)
    assert made == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


@pytest.mark.parametrize("tenant", ["acme", "a b/c", "..", "50%", "ü+&="])
async def test_what_is_put_to_its_url_is_read_under_its_key(bucket, double, tenant):
    key = Place(tenant, "default", "r", "t").key("work.zip")
    url = await bucket.url(Announced("bench", key), "http://this-host")
    assert put(url, b"content") == 200, double.refused
    assert await bucket.read("bench", key) == b"content"
    assert await bucket.digest("bench", key) == hashlib.sha256(b"content").hexdigest()
    assert list(double.objects) == [f"/{BUCKET}/bench/{key}"]
    assert await bucket.read("another", key) is None


async def test_a_url_is_good_for_one_key_one_method_and_an_hour(bucket, double):
    url = await bucket.url(Announced("bench", KEY), "")
    assert put(url.replace("work.zip", "other.zip"), b"x") == 403
    assert put(url.replace("X-Amz-Expires=3600", "X-Amz-Expires=9999"), b"x") == 403
    assert send(urllib.request.Request(url)) == 403
    double.later = 3590
    assert put(url, b"x") == 200
    double.later = 3610
    assert put(url, b"x") == 403
    assert double.refused == ["SignatureDoesNotMatch"] * 3 + ["AccessDenied: Request has expired"]


async def test_what_is_not_there_is_none(bucket):
    assert await bucket.read("bench", KEY) is None
    assert await bucket.digest("bench", KEY) is None


async def test_what_is_too_large_is_not_read(bucket, double):
    double.objects[f"/{BUCKET}/bench/{KEY}"] = b"x" * 1001
    with pytest.raises(TooLarge, match="may have 1000 bytes at most, and this one has 1001"):
        await bucket.read("bench", KEY)
    with pytest.raises(TooLarge):
        await bucket.digest("bench", KEY)
    with pytest.raises(TooLarge):
        await bucket.url(Announced("bench", KEY, size=1001), "")


async def test_a_bucket_that_lets_nobody_in_is_a_failure_that_is_told(bucket, double):
    double.later = 10_000
    with pytest.raises(UploadsFailed, match="the bucket submissions cannot be read"):
        await bucket.read("bench", KEY)
    with pytest.raises(UploadsFailed, match="the bucket submissions cannot be read"):
        await bucket.digest("bench", KEY)


@pytest.mark.parametrize(
    "name, host", [("plain", "plain.s3.eu-central-1.amazonaws.com"), ("with.dots", "s3.eu-central-1.amazonaws.com")]
)
async def test_at_amazon_the_bucket_is_part_of_the_host_if_a_certificate_can_fit_it(name, host):
    url = urlsplit(await Bucket(name, REGION, None, largest=1).url(Announced("bench", KEY), ""))
    assert (url.scheme, url.netloc) == ("https", host)
    assert url.path == ("" if name == "plain" else f"/{name}") + f"/bench/{KEY}"
