"""Lockdown and enforced signatures; the recorded case is perm:lockdown_integrity."""

import os

import pytest

from kmod_emu import Kernel, KernelError
from kmod_emu.uapi import errno
from tests.module.replay import CASES

LOCKDOWN = "/sys/kernel/security/lockdown"
RESTRICTED = "Lockdown: insmod: unsigned module loading is restricted; see man kernel_lockdown.7"


def refusal(kernel: Kernel, name: str) -> int:
    with pytest.raises(KernelError) as error:
        kernel.insmod(CASES / f"{name}.ko")
    return error.value.errno


def write(kernel: Kernel, path: str, text: bytes) -> None:
    with kernel.process() as process:
        process.write(process.open(path, os.O_WRONLY), text)


def test_integrity_forbids_unsigned_modules():
    kernel = Kernel()
    assert kernel.cat(LOCKDOWN) == b"[none] integrity confidentiality\n"
    write(kernel, LOCKDOWN, b"integrity")
    assert kernel.dmesg() == ["Kernel is locked down from securityfs; see man kernel_lockdown.7"]
    assert refusal(kernel, "h_hello") == errno.EPERM
    assert refusal(kernel, "text100") == errno.EPERM, "before the ELF header is looked at"
    assert kernel.dmesg()[1:] == [RESTRICTED] * 2
    assert kernel.cat(LOCKDOWN) == b"none [integrity] confidentiality\n"


@pytest.mark.parametrize(("text", "number"), [(b"none\n", errno.EPERM), (b"full", errno.EINVAL)])
def test_there_is_no_way_back(text, number):
    kernel = Kernel(cmdline="lockdown=integrity")
    assert kernel.dmesg() == ["Kernel is locked down from command line; see man kernel_lockdown.7"]
    with pytest.raises(KernelError) as error:
        write(kernel, LOCKDOWN, text)
    assert error.value.errno == number
    write(kernel, LOCKDOWN, b"confidentiality\n")


def test_enforced_signatures():
    kernel = Kernel()
    path = "/sys/module/module/parameters/sig_enforce"
    assert kernel.cat(path) == b"N\n"
    write(kernel, path, b"Y\n")
    assert refusal(kernel, "h_hello") == errno.EKEYREJECTED
    assert kernel.dmesg() == ["Loading of unsigned module is rejected"]
    with pytest.raises(KernelError) as error:
        write(kernel, path, b"0")
    assert error.value.errno == errno.EROFS
