"""The base kernel's exports: where they are and what they are made of."""

import pytest

from kmod_emu.kernel.layout import ABSENT_BASE
from kmod_emu.kernel.symbols import Origin


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("strlen", Origin.IMAGE),
        ("__kmalloc", Origin.TRAP),
        ("jiffies", Origin.DATA),
    ],
)
def test_find(kernel, name, origin):
    symbol = kernel.symbols.find(name)
    assert (symbol.name, symbol.origin, symbol.address) == (name, origin, kernel.symbol(name))
    assert symbol.crc == kernel.profile.exports[name].crc
    assert symbol.gpl is kernel.profile.exports[name].gpl


def test_unknown_symbol(kernel):
    assert kernel.symbols.find("no_such_symbol") is None
    assert not kernel.symbols.exports("no_such_symbol")
    with pytest.raises(LookupError, match="no_such_symbol"):
        kernel.symbol("no_such_symbol")


def test_helper_of_the_image_is_not_exported(kernel):
    """An address, for the debugger; but no module may import it."""
    assert kernel.symbol("__start_imports")
    assert kernel.symbols.find("__start_imports") is None


def test_handler_that_this_release_does_not_export(kernel):
    """`printk` is the name that 5.10 exports; 6.1 has `_printk` only."""
    assert kernel.symbols.find("printk") is None
    assert kernel.symbols.find("_printk").origin is Origin.TRAP


def test_absent_exports_have_an_unmapped_page_each(kernel, guest):
    absent = [symbol for symbol in kernel.symbols if symbol.origin is Origin.ABSENT]
    assert len({symbol.address & ~0xFFF for symbol in absent}) == len(absent)
    for symbol in absent[:20] + absent[-20:]:
        assert kernel.symbols.absent(symbol.address) == symbol.name
        assert kernel.symbols.absent(symbol.address + 0xFFF) == symbol.name
        assert not kernel.memory.mapped(symbol.address)
    assert kernel.symbols.absent(ABSENT_BASE - 1) is None
    assert kernel.symbols.absent(0) is None
    assert kernel.symbols.absent((1 << 64) - 1) is None


def test_absent_exports_are_in_reach_of_modules(kernel):
    """A 32-bit signed distance from anywhere in the module area."""
    from kmod_emu.kernel.layout import MODULES_SIZE, MODULES_VADDR

    addresses = [symbol.address for symbol in kernel.symbols if symbol.address >> 32]  # not per-CPU offsets
    assert MODULES_VADDR + MODULES_SIZE - min(addresses) < 1 << 31
    assert max(addresses) < 1 << 64


def test_iteration_is_every_export_once(kernel):
    names = [symbol.name for symbol in kernel.symbols]
    assert names == sorted(kernel.profile.exports)
    kernel.export("int zzz_mine(void)")(lambda kernel: 0)
    assert [symbol.name for symbol in kernel.symbols] == [*names, "zzz_mine"]


def test_locate(kernel):
    start = kernel.symbol("strlen")
    location = kernel.locate(start + 3)
    assert (location.name, location.offset, location.module) == ("strlen", 3, None)
    assert 3 < location.size < 0x1000
    assert str(location) == f"strlen+0x3/{location.size:#x}"
    assert kernel.describe(kernel.symbol("kfree") + 1) == "kfree+0x1/0x10"


@pytest.mark.parametrize("address", [0, 0xFFFF_8880_0000_0000, 0xFFFF_FFFF_C000_0000, (1 << 64) - 1])
def test_locate_where_nothing_is(kernel, address):
    assert kernel.locate(address) is None
    assert kernel.describe(address) == f"{address:#x}"


def test_added_export(kernel):
    kernel.export("int mine(int x)")(lambda kernel, x: x)
    symbol = kernel.symbols.find("mine")
    assert (symbol.origin, symbol.crc, symbol.gpl, symbol.namespace) == (Origin.TRAP, None, False, "")
    assert kernel.symbols.exports("mine")


def test_replaced_export_keeps_its_attributes(kernel):
    before = kernel.symbols.find("kfree")
    kernel.export("void kfree(const void *p)")(lambda kernel, p: None)
    after = kernel.symbols.find("kfree")
    assert after.address != before.address
    assert after._replace(address=before.address) == before
