"""A distribution's kernel that is installed, booted once for all tests of a worker."""

import glob
import os
from pathlib import Path

import pytest

from kmod_emu.vmlinux.kernel import VmlinuxKernel

IMAGES = "/boot/vmlinuz-6.1.0-*-amd64"


@pytest.fixture(scope="session")
def vmlinuz():
    """Path of the newest of Debian's 6.1 kernels whose modules are installed too."""
    for path in sorted(glob.glob(IMAGES), key=os.path.getmtime, reverse=True):
        if os.path.isdir(f"/lib/modules/{path.partition('-')[2]}/kernel") and os.access(path, os.R_OK):
            return path
    pytest.skip("no kernel of Debian's is installed (linux-image-amd64)")


@pytest.fixture(scope="session")
def distribution_module(vmlinuz):
    """Path of one of the kernel's modules, by its path without `.ko` below kernel/."""
    root = f"/lib/modules/{vmlinuz.partition('-')[2]}/kernel"
    return lambda name: f"{root}/{name}.ko"


@pytest.fixture(scope="session")
def booted(vmlinuz):
    """A machine with it, and the moment after its boot."""
    machine = VmlinuxKernel(vmlinuz)  # kept where nothing of the user's is: others need not boot
    return machine, machine.snapshot()


@pytest.fixture
def real(booted):
    """The machine, just booted."""
    machine, moment = booted
    machine.restore(moment)
    machine.findings.reports.clear()
    return machine


@pytest.fixture
def load(real, vmlinuz):
    """Loads modules of the distribution with all that they need."""
    directory = f"/lib/modules/{vmlinuz.partition('-')[2]}"
    with open(f"{directory}/modules.dep") as file:
        needs = {Path(line.partition(":")[0]).stem.replace("-", "_"): line.split() for line in file}

    def load(*names):
        for name in names:
            for path in reversed(needs[name]):
                if Path(path.rstrip(":")).stem.replace("-", "_") not in {
                    module.name for module in real.modules
                }:
                    real.insmod(f"{directory}/{path.rstrip(':')}")

    return load
