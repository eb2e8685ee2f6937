"""Where settings are looked for: the names of the file and of the environment variables."""

from __future__ import annotations

import re

PREFIX = "BENCHHOST_"
CONFIG_VARIABLE = "BENCHHOST_CONFIG"
CONFIG_FILE = "benchhost.toml"
TOKEN_VARIABLE = "BENCHHOST_TOKEN"  # noqa: S105 - the name of a variable
"""Where commands look for the token that a remote host wants. It is no setting of a host."""
VALS_API_KEY_VARIABLE = "BENCHMARK_API_KEY"

VALS_VARIABLES = {
    VALS_API_KEY_VARIABLE: "api_key",
    "AUTH_REQUIRED": "auth_required",
    "DESCOPE_PROJECT_ID": "descope_project_id",
    "DESCOPE_BASE_URI": "descope_base_uri",
    "DESCOPE_AUTH_CACHE_TTL_SECONDS": "descope_cache_seconds",
    "DESCOPE_TENANT_ALLOWLIST_JSON": "allowlist_json",
    "DESCOPE_ALLOWLIST_PATH": "allowlist",
    "SUBMISSION_ARTIFACT_BUCKET": "upload_bucket",
    "AWS_REGION": "upload_region",
    "SUBMISSION_ARTIFACT_MAX_DOWNLOAD_BYTES": "max_upload_bytes",
}
"""Where services of the Vals contract look for what is a setting here; the setting's own variable wins over it."""

NO_SETTINGS = frozenset({CONFIG_VARIABLE, TOKEN_VARIABLE})
"""Variables that begin with the prefix and set nothing."""


def plain(name: str) -> str:
    """Return the name of a benchmark as a variable can say it."""
    return re.sub(r"[^a-z0-9]", "_", name.lower())
