"""What every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real benchmark data that lies beside a checkout."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    assert folder.is_dir(), f"the tests need the real benchmark data in {folder}"
    return folder
