"""Static keys that are switched at run time (kernel/jump_label.c)."""

import pytest

from kmod_emu import Kernel, samples
from tests.module.test_life import warnings


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(samples.path("tracepoint"))
    return kernel


@pytest.fixture
def key(kernel):
    """A key of which nothing in the module's code knows."""
    address = kernel.heap.kmalloc(16)
    kernel.memory.write(address, bytes(16))
    return address


def call(kernel, function, key):
    return kernel.call(kernel.symbol(function), key)


def test_a_key_counts_who_wants_it(kernel, key):
    assert [call(kernel, "static_key_slow_inc", key) for _ in range(2)] == [1, 1]
    assert call(kernel, "static_key_count", key) == 2
    for _ in range(2):
        call(kernel, "static_key_slow_dec", key)
    assert call(kernel, "static_key_count", key) == 0
    before = len(warnings(kernel))
    call(kernel, "static_key_slow_dec", key)
    assert warnings(kernel)[before].startswith("jump label: negative count! | kernel/jump_label.c:266")


def test_a_key_is_on_or_off(kernel, key):
    for function, count in (("enable", 1), ("enable", 1), ("disable", 0), ("disable", 0)):
        call(kernel, f"static_key_{function}", key)
        assert call(kernel, "static_key_count", key) == count
    for _ in range(2):
        call(kernel, "static_key_slow_inc", key)
    call(kernel, "static_key_disable", key)  # two want it
    assert call(kernel, "static_key_count", key) == 2
