from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.guest_kernel_stubs.guest_machine import Guest

SHIPPED = Path(__file__).parents[2] / "kmod_emu" / "data" / "base_kernel"


@pytest.fixture(scope="session")
def image_directory() -> Path:
    """Where base_kernel.elf and System.map are: the shipped ones, unless another build is to be tested."""
    return Path(os.environ.get("GUEST_KERNEL_IMAGE", SHIPPED))


@pytest.fixture(scope="session")
def machine(image_directory: Path) -> Guest:
    return Guest(image_directory)


@pytest.fixture
def guest(machine: Guest) -> Guest:
    machine.reset()
    return machine
