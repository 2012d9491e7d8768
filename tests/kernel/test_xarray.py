"""Entries that an xarray keeps for itself (lib/xarray.c): what Debian's 6.1 answers, and warns of once."""

import errno

import pytest

from kmod_emu import Kernel

INTERNAL, RETRY, ABOVE = 2, 0x402, 0xFFFF_8880_0000_0002
EINVAL = -errno.EINVAL & (1 << 64) - 1
XA_ERROR = (-errno.EINVAL << 2 | 2) & (1 << 64) - 1
CALLS = {
    "xa_store": ((1,), (0,), XA_ERROR, 1548, "__xa_store+0x10c/0x120"),
    "__xa_insert": ((1,), (0,), EINVAL, 1651, "__xa_insert+0x101/0x120"),
    "__xa_cmpxchg": ((1, 0), (0,), XA_ERROR, 1614, "__xa_cmpxchg+0x78/0x140"),
    "xa_store_range": ((1, 3), (0,), XA_ERROR, 1726, "xa_store_range+0x295/0x2b0"),
}


@pytest.fixture
def xarray():
    kernel = Kernel()
    return kernel, kernel.heap.kmalloc(16)


@pytest.mark.parametrize("name", CALLS)
def test_an_internal_entry(xarray, name):
    kernel, array = xarray
    before, after, answer, line, place = CALLS[name]
    for entry in (INTERNAL, RETRY, INTERNAL):
        got = kernel.call(kernel.symbol(name), array, *before, entry, *after)
        assert got & 0xFFFF_FFFF == answer & 0xFFFF_FFFF
    warnings = [line for line in kernel.dmesg() if line.startswith("WARNING")]
    assert len(warnings) == 1
    assert warnings[0].endswith(f"at lib/xarray.c:{line} {place}")
    assert kernel.call(kernel.symbol("xa_load"), array, 1) == 0


def test_one_above_is_stored(xarray):
    kernel, array = xarray
    assert kernel.call(kernel.symbol("xa_store"), array, 1, ABOVE, 0) == 0
    assert kernel.call(kernel.symbol("xa_load"), array, 1) == ABOVE


def test_a_range(xarray):
    kernel, array = xarray
    store, load, entry = kernel.symbol("xa_store_range"), kernel.symbol("xa_load"), 0x1000
    assert kernel.call(store, array, 3, 5, entry, 0) == 0
    assert [kernel.call(load, array, index) for index in range(2, 7)] == [0, entry, entry, entry, 0]
    assert kernel.call(store, array, 8, 7, entry, 0) == XA_ERROR
