"""What all tests share: the recordings of a real kernel, and machines."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORACLE = ROOT.parent / "shared" / "oracle"


def recording(name: str) -> list[dict]:
    """A recording of a real Debian 6.1 kernel; it lies beside the checkout, and tests need it."""
    return json.loads((ORACLE / name).read_text())


@pytest.fixture(scope="session")
def oracle() -> Path:
    assert ORACLE.is_dir(), f"the recordings of a real kernel are missing: {ORACLE}"
    return ORACLE
