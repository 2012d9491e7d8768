from __future__ import annotations

import errno

from kmod_emu.errors import KernelError
from kmod_emu.module.errors import KernelWouldCrash, LoadError


def test_a_refusal_is_an_os_error_with_the_kernels_lines() -> None:
    error = LoadError(errno.ENOEXEC, "why", (3, "first"), (3, "second"))
    assert isinstance(error, KernelError)
    assert (error.errno, error.dmesg) == (8, ((3, "first"), (3, "second")))


def test_a_refusal_may_be_silent() -> None:
    assert LoadError(errno.EBADMSG).dmesg == ()


def test_a_crash_is_no_refusal() -> None:
    """Nothing is undone after an oops, so handlers of KernelError must not see it."""
    assert not issubclass(KernelWouldCrash, KernelError)


def test_a_crash_address_wraps_like_the_processors() -> None:
    assert KernelWouldCrash((1 << 64) + 0x1000).address == 0x1000
