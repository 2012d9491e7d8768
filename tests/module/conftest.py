from __future__ import annotations

import pytest

from tests.module.linking import ORACLE, module_file


@pytest.fixture(scope="session", autouse=True)
def oracle() -> None:
    """Without the recordings these tests prove nothing, so their absence is an error."""
    assert ORACLE.is_dir(), f"the recordings are missing: {ORACLE}"


@pytest.fixture(scope="session")
def hello() -> bytes:
    return module_file("h_hello")
