"""The client uploads what is to be judged."""

import pytest
from s3_double import BUCKET, ENVIRON, REGION, s3

from benchhost.client import Client, Retries
from benchhost.errors import ClientError, UsageError
from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

SIZES = """
from benchhost import Benchmark, Environment, Result, Task

PLACE = "/work"


class Plugin(Benchmark[Task]):
    accepted_submission_schemas = {"artifact": {"any"}}

    def load_datasets(self):
        return {"default": [Task(id="t", question="?")]}

    def retrieve_task(self, task):
        return Environment(image="python:3.11", problem_path=f"{PLACE}/problem", cwd=PLACE)

    async def place_submission(self, task, submission, sandbox):
        await sandbox.write(f"{PLACE}/submitted", submission.data)

    async def evaluate_instance(self, task, sandbox):
        yield Result(score=float(len(await sandbox.read(f"{PLACE}/submitted"))))
"""


@pytest.fixture(scope="module")
def bucket():
    with s3() as running:
        yield running


@pytest.fixture(scope="module")
def url(bucket, tmp_path_factory, folders, token):
    """A host whose uploads go to a bucket, which refuses whoever shows it the token of the host."""
    plugins = tmp_path_factory.mktemp("plugins")
    install_plugin(plugins, "sizes", SIZES)
    folders.install(plugins)
    environ = {
        **ENVIRON,
        "SUBMISSION_ARTIFACT_BUCKET": BUCKET,
        "AWS_REGION": REGION,
        "BENCHHOST_UPLOAD_ENDPOINT": bucket.url,
        "BENCHMARK_API_KEY": token,
    }
    flags = ["--only", "sizes", "--sandbox", "folders"]
    with serving(tmp_path_factory.mktemp("state"), *flags, plugins=[plugins], environ=environ) as running:
        yield running.url


async def test_bytes_and_files_are_uploaded_and_judged(url, bucket, token, tmp_path):
    (tmp_path / "work").write_bytes(b"x" * 3_000_000)
    async with Client(url, "sizes", token=token) as client:
        outcome = await client.evaluate_artifact("r", "t", "any", b"four")
        assert (outcome.status, outcome.result["score"]) == ("evaluated", 4.0)
        assert (await client.evaluation(outcome.evaluation_id)).result.score == 4.0
        outcome = await client.evaluate_artifact("r", "t", "any", tmp_path / "work", filename="work.bin")
        assert outcome.result["score"] == 3_000_000.0
    assert bucket.refused == []
    assert [name.rpartition("/")[2] for name in bucket.objects] == ["artifact", "work.bin"]


async def test_a_url_that_is_refused_is_told_without_what_is_secret_in_it(url, bucket, token, quick):
    bucket.later = 10_000
    async with Client(url, "sizes", token=token, retries=quick) as client:
        with pytest.raises(
            ClientError, match=r"Uploading a failed: PUT .*/a answered 403\. Has the URL expired"
        ) as told:
            await client.upload("r", "t", "a", b"x")
    bucket.later = 0.0
    assert "Signature" not in str(told.value)


async def test_what_a_bucket_sends_elsewhere_is_not_taken_for_uploaded(url, bucket, token, quick):
    bucket.moved = "https://elsewhere.example.org/there?X-Amz-Signature=secret"
    async with Client(url, "sizes", token=token, retries=quick) as client:
        with pytest.raises(
            ClientError, match=r"answered 307\. It points to https://elsewhere\.example\.org/there\. Redirects are not"
        ):
            await client.upload("r", "t", "moved", b"x")
    bucket.moved = None


async def test_a_host_without_a_bucket_keeps_it_itself(host, token):
    async with Client(host, "pets", token=token) as client:
        key = await client.upload("r", "pet-1", "work.zip", b"x" * 2_000_000)
        assert key == "submission-artifacts/unauthenticated/default/r/pet-1/work.zip"
        with pytest.raises(ClientError, match="This benchmark does not accept artifact submissions"):
            await client.evaluate_artifact("r", "pet-1", "any", b"x")


async def test_what_cannot_be_uploaded_is_told(host, token, tmp_path):
    async with Client(host, "pets", token=token) as client:
        with pytest.raises(UsageError, match=r"nothing-here cannot be uploaded: No such file"):
            await client.upload("r", "pet-1", "a", tmp_path / "nothing-here")
        with pytest.raises(ClientError, match=r"Asking where to upload \.\./a failed: .* answered 422: body\.filename"):
            await client.upload("r", "pet-1", "../a", b"x")
        with pytest.raises(ClientError, match=r"/upload-url answered 413: An upload may have 67108864 bytes at most"):
            await client.upload("r", "pet-1", "a", b"x" * (64 * 1024 * 1024 + 1))


async def test_a_host_that_takes_none_is_not_asked_again(tmp_path):
    with serving(tmp_path, "--only", "arithmetic", "--no-allow-uploads") as server:
        slow = Retries(first=100.0)
        async with Client(server.url, "arithmetic", retries=slow) as client:
            with pytest.raises(ClientError, match="Submission uploads are not configured") as told:
                await client.upload("r", "addition-0000", "a", b"x")
    assert (told.value.status, told.value.problem) == (503, "uploads-not-configured")
