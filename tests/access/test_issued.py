"""Hosts whose callers are known to Descope, or to an issuer of tokens."""

from __future__ import annotations

import json

import pytest
import yaml

from benchhost.testing import install_plugin, serving

IDS = "/b/my-bench/verify-task-ids"
TASKS = "/b/my-bench/v1/datasets/default/tasks"


@pytest.fixture
def serve(operator, tmp_path):
    """Run a host with these variables, its state of its own."""

    def serve(*flags, **environ):
        return serving(tmp_path / "state", "--only", "my-bench", *flags, plugins=[operator.plugins], environ=environ)

    return serve


def descope_host(serve, descope, project, **environ):
    """A host as a deployment of create-benchmark-service is told to be one."""
    told = {"AUTH_REQUIRED": "TRUE", "DESCOPE_PROJECT_ID": project, "DESCOPE_BASE_URI": descope.url}
    return serve(**told | environ)


def shown(key):
    return {"x-descope-api-key": key}


def test_a_deployment_of_a_service_can_be_moved(serve, descope, project, ask, tmp_path):
    descope.keys |= {
        "key-of-acme": ["acme"],
        "key-of-newcomer": ["newcomer"],
        "key-of-stranger": ["stranger"],
        "key-of-two": ["acme", "newcomer"],
        "key-of-none": [],
    }
    tenants = {"acme": {"datasets": ["default"]}, "newcomer": {"datasets": ["default"], "trial_mode": True}}
    (tmp_path / "tenants.yaml").write_text(yaml.safe_dump({"tenants": tenants}))
    environ = {"DESCOPE_ALLOWLIST_PATH": str(tmp_path / "tenants.yaml"), "BENCHMARK_API_KEY": "a-static-key-0123456789"}
    with descope_host(serve, descope, project, **environ) as host:

        def get(path, key=None, headers=None):
            answer = ask(host.url, "GET", path, None, shown(key) if key else headers)
            return answer.status, answer.json.get("detail")

        assert get(IDS, "key-of-acme") == (200, None)
        assert get(TASKS, "key-of-acme") == (200, None)
        assert get(f"{IDS}?dataset=validation", "key-of-acme") == (403, "Dataset not allowed")
        assert get(TASKS, "key-of-newcomer") == (200, None)
        assert get(IDS, "key-of-newcomer") == (403, "Trial tenants may only access approved /v1 endpoints (/v1/*)")
        for refused in ("key-of-stranger", "key-of-two", "key-of-none", "wrong"):
            assert get(IDS, refused) == (401, "Unauthorized")
        assert get(IDS) == (401, "Unauthorized")
        assert get(IDS, headers={"authorization": "Bearer a-static-key-0123456789"}) == (401, "Unauthorized")
        assert get(IDS, headers={"authorization": "Bearer key-of-acme"}) == (401, "Unauthorized")
        assert get("/health") == (200, None)
        assert get("/b/my-bench/version") == (200, None)
        descope.fails = 500
        assert get(IDS, "another")[0] == 503
        said = host.said()
    assert "whoever shows a key of Descope" in said
    assert "a static key" not in said
    for secret in ("key-of-acme", "key-of-stranger", "a-static-key-0123456789", "another-key"):
        assert secret not in said


def test_json_wins_over_the_file_of_the_allowlist(serve, descope, project, ask, tmp_path):
    descope.keys["key"] = ["acme"]
    (tmp_path / "tenants.yaml").write_text("tenants: {}")
    text = json.dumps({"tenants": {"acme": {"datasets": ["default"]}}})
    environ = {"DESCOPE_ALLOWLIST_PATH": str(tmp_path / "tenants.yaml"), "DESCOPE_TENANT_ALLOWLIST_JSON": text}
    with descope_host(serve, descope, project, **environ) as host:
        assert ask(host.url, "GET", IDS, None, shown("key")).status == 200


def test_without_an_allowlist_every_tenant_of_the_project_may_use_everything(serve, descope, project, ask):
    descope.keys["key"] = ["anybody"]
    with descope_host(serve, descope, project) as host:
        for dataset in ("default", "validation"):
            assert ask(host.url, "GET", f"{IDS}?dataset={dataset}", None, shown("key")).status == 200
        assert "there is no allowlist: every tenant of the Descope project may use every dataset" in host.said()


def test_an_empty_allowlist_lets_nobody_in(serve, descope, project, ask):
    descope.keys["key"] = ["anybody"]
    with descope_host(serve, descope, project, DESCOPE_TENANT_ALLOWLIST_JSON='{"tenants": {}}') as host:
        assert ask(host.url, "GET", IDS, None, shown("key")).status == 401


def test_without_a_project_everything_but_what_is_public_is_refused(serve, ask):
    with serve(AUTH_REQUIRED="1") as host:
        assert ask(host.url, "GET", IDS, None, shown("key")).status == 401
        assert ask(host.url, "GET", "/health").status == 200
        assert "no DESCOPE_PROJECT_ID is set" in host.said()


@pytest.mark.parametrize("word", ["false", "0", "no", "OFF", ""])
def test_a_host_that_requires_nothing_is_open_or_has_its_static_key(serve, ask, word):
    with serve(AUTH_REQUIRED=word, BENCHMARK_API_KEY="a-static-key-0123456789") as host:
        assert ask(host.url, "GET", TASKS).status == 401
        assert ask(host.url, "GET", TASKS, None, {"authorization": "Bearer a-static-key-0123456789"}).status == 200


def test_tokens_of_an_issuer_are_let_in_beside_keys_of_the_host(serve, issuer, ask, operator):
    flags = ("--auth", "oidc,keys", "--oidc-issuer", issuer.url, "--oidc-audience", "benchhost")
    allowlist = json.dumps({"tenants": {"acme": {"datasets": ["my-bench/default"]}}})
    with serve(*flags, BENCHHOST_ALLOWLIST_JSON=allowlist) as host:

        def status(path, token):
            return ask(host.url, "GET", path, None, {"authorization": f"Bearer {token}"}).status

        good = issuer.token().decode()
        assert status(TASKS, good) == 200
        assert status(f"{IDS}?dataset=validation", good) == 403
        assert status(TASKS, issuer.token(tenant="stranger").decode()) == 401
        assert status(TASKS, issuer.token(aud="another").decode()) == 401
        assert status(TASKS, operator.key("acme", "my-bench/default")["authorization"][7:]) == 401  # of another state
        assert good not in host.said()


RULED = '''
from benchhost import Benchmark, Result, Task


class Plugin(Benchmark[Task]):
    """Decides for itself."""

    def load_datasets(self):
        one = [Task(id="t", question="?")]
        return {"default": one, "open": one, "odd": one}

    def evaluate_response(self, task, response):
        return Result(score=0.5, passed=True, metrics={"hidden": 1.0}, feedback="long")
'''

TENANT = """
    async def resolve_tenant(self, headers):
        said = headers.get("x-tenant")
        if said == "raise":
            raise ValueError("the hidden list")
        return {"number": 7, "none": None, "nobody": "unauthenticated"}.get(said, said)
"""

DATASETS = """
    def check_dataset_access(self, tenant, dataset):
        if dataset == "odd":
            return "yes"
        return dataset == "open" or tenant == "chief"
"""

TRIAL = """
    def project_trial_result(self, result):
        assert result.metrics == {"hidden": 1.0}
        return Result(score=round(result.score), feedback="short")
"""

BROKEN_TRIAL = """
    def project_trial_result(self, result):
        return result.feedback
"""


@pytest.fixture(scope="module")
def ruled(tmp_path_factory):
    """A host with keys, and benchmarks with rules of their own."""
    plugins, state = tmp_path_factory.mktemp("plugins"), tmp_path_factory.mktemp("state")
    for name, rules in {
        "tenants": TENANT,
        "datasets": DATASETS,
        "both": TENANT + DATASETS,
        "shown": TRIAL,
        "broken": BROKEN_TRIAL,
    }.items():
        install_plugin(plugins, name, RULED + rules)
    return plugins, state


@pytest.fixture(scope="module")
def ruling(ruled, operator_of):
    """The operator of that host, and the host."""
    plugins, state = ruled
    operator = operator_of(state, plugins)
    operator("grant", "acme", "tenants/default")
    only = "tenants,datasets,both,shown,broken"
    with serving(state, "--auth", "keys", "--only", only, plugins=[plugins]) as host:
        yield operator, host


@pytest.fixture
def status(ruling, ask):
    _, host = ruling

    def status(benchmark, dataset="default", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(host.url, "GET", f"/b/{benchmark}/verify-task-ids?dataset={dataset}", None, named).status

    return status


def test_a_benchmark_says_itself_to_whom_a_caller_belongs_and_the_operator_what_that_tenant_may_use(status):
    assert status("tenants", x_tenant="acme") == 200
    assert status("tenants", "open", x_tenant="acme") == 403
    assert status("tenants", x_tenant="stranger") == 401  # whom nobody has granted anything
    assert status("tenants", x_tenant="none") == status("tenants") == 401
    assert status("tenants", x_tenant="nobody") == 401
    assert status("tenants", x_tenant="raise") == status("tenants", x_tenant="number") == 500


def test_a_benchmark_says_itself_what_a_tenant_may_use(ruling, status):
    operator, _ = ruling
    key = operator.key("small", "datasets/default", "datasets/odd")
    whole = operator.key("small")
    assert status("datasets") == 401
    assert status("datasets", "default", **whole) == 403  # although it was granted
    assert status("datasets", "open", **whole) == 200  # although it was not
    assert status("datasets", "odd", **whole) == 500
    assert status("datasets", "open", **key) == 403  # what a key is narrowed to still counts


def test_with_both_rules_the_operator_need_not_know_the_tenant(status):
    assert status("both", x_tenant="chief") == 200
    assert status("both", x_tenant="stranger") == 403
    assert status("both", "open", x_tenant="stranger") == 200
    assert status("both", "none", x_tenant="stranger") == 403
    assert status("both", x_tenant="none") == 401


def test_a_tenant_of_one_benchmark_is_not_one_of_another(status):
    assert status("datasets", "open", x_tenant="chief") == 401


@pytest.mark.parametrize(
    "benchmark, status, told", [("shown", 200, {"score": 0.0, "feedback": "short"}), ("broken", 500, None)]
)
def test_a_benchmark_says_itself_what_a_tenant_on_trial_is_shown(ruling, ask, benchmark, status, told):
    operator, host = ruling
    operator("grant", f"trial-{benchmark}", "--trial")
    key = operator.key(f"trial-{benchmark}", f"{benchmark}/default")
    payload = {"type": "text", "schema": "", "data": ""}
    body = {"run_id": "r", "task_id": "t", "payload": payload}
    answer = ask(host.url, "POST", f"/b/{benchmark}/v1/evaluate", body, key)
    assert answer.status == status
    assert b"long" not in answer.body
    if told:
        assert answer.json["result"] == {"passed": None, "metrics": {}, **told}


@pytest.mark.parametrize(
    "flags, environ, told",
    [
        (("--host", "0.0.0.0"), {}, "nobody is asked for a credential, and 0.0.0.0 can be reached"),
        (("--auth", "bearer"), {}, "auth names bearer, which needs an api_key"),
        (("--auth", "open"), {"BENCHHOST_API_KEY": "k"}, "auth names open, which lets everybody in"),
        (("--auth", "magic"), {}, "auth: expected some of open, bearer, keys, descope, oidc, got 'magic'"),
        (("--auth", "oidc", "--oidc-issuer", "https://a.example"), {}, "needs an oidc_issuer and an oidc_audience"),
        ((), {"AUTH_REQUIRED": "maybe"}, "auth_required: expected true or false, got 'maybe'"),
        ((), {"AUTH_REQUIRED": "1", "DESCOPE_TENANT_ALLOWLIST_JSON": "{"}, "the allowlist in JSON is no JSON"),
        ((), {"BENCHMARK_API_KEY": ""}, "api_key: expected a value, or no variable at all"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "-",
)
def test_a_host_that_cannot_say_who_is_let_in_does_not_start(serve, flags, environ, told):
    with pytest.raises(RuntimeError) as raised, serve(*flags, **environ):
        pass
    said = str(raised.value)
    assert "the server ended with 2" in said
    assert told in said
    assert "Traceback" not in said


def test_an_open_host_starts_at_any_address_when_that_is_meant(serve, ask):
    with serve("--host", "0.0.0.0", "--allow-open") as host:
        assert ask(host.url, "GET", TASKS).status == 200
        assert "no API key is set: everybody who can reach this server" in host.said()
