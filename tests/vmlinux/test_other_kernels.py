"""Kernels besides 6.1, where one is installed."""

import glob
import os

import pytest

from kmod_emu.vmlinux.kernel import VmlinuxKernel

OTHERS = [
    path for path in glob.glob("/boot/vmlinuz-*-amd64") if "-6.1." not in path and os.access(path, os.R_OK)
]


@pytest.mark.parametrize(
    "image", OTHERS or [pytest.param("", marks=pytest.mark.skip("only 6.1 is installed"))]
)
def test_another_kernel_boots(image):
    kernel = VmlinuxKernel(image, kept=False)
    assert kernel.profile.release == os.path.basename(image).removeprefix("vmlinuz-")
    assert not kernel.findings.reports
    assert "/sbin/init" in "".join(kernel.dmesg())
