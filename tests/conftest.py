"""What every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests share the machine, so how long an example took says nothing about what was tested.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real benchmark data that lies beside a checkout."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    assert folder.is_dir(), f"the tests need the real benchmark data in {folder}"
    return folder
