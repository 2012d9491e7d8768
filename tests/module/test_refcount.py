"""Reference counts and symbol_get(), as guest code has them (kernel/module/main.c)."""

import pytest

from kmod_emu import Kernel, Killed
from tests.module.builder import Builder


@pytest.fixture
def kernel():
    kernel = Kernel()
    exporter = Builder(name="exporter").prints("hello", "bye")
    exporter.exports_function("for_gpl", gpl=True).exports_function("for_all")
    kernel.insmod(exporter.build())
    return kernel


@pytest.fixture
def module(kernel):
    return kernel.modules[0]


def call(kernel: Kernel, function: str, *arguments: int | str) -> int:
    """Call an export; text is laid out in memory."""
    values = []
    for argument in arguments:
        if isinstance(argument, str):
            address = kernel.heap.kmalloc(64)
            kernel.memory.write(address, argument.encode() + b"\0")
            argument = address
        values.append(argument)
    return kernel.call(kernel.symbol(function), *values)


def test_symbol_get_holds_the_module_that_exports_it(kernel, module):
    address = call(kernel, "__symbol_get", "for_gpl")
    assert kernel.describe(address).startswith("for_gpl+0x0/")
    assert module.refcnt == 1
    call(kernel, "__symbol_put", "for_gpl")
    assert module.refcnt == 0
    call(kernel, "__symbol_get", "for_gpl")
    call(kernel, "symbol_put_addr", address + 1)
    assert module.refcnt == 0


def test_symbol_get_is_for_gpl_only_symbols(kernel, module):
    assert call(kernel, "__symbol_get", "for_all") == 0
    assert kernel.dmesg()[-1] == "failing symbol_get of non-GPLONLY symbol for_all."
    assert call(kernel, "__symbol_get", "nobody_exports_this") == 0
    assert module.refcnt == 0


def test_nothing_holds_the_base_kernel(kernel):
    address = call(kernel, "__symbol_get", "hrtimer_cancel")
    assert address == kernel.symbol("hrtimer_cancel")
    call(kernel, "__symbol_put", "hrtimer_cancel")
    call(kernel, "symbol_put_addr", address)
    assert call(kernel, "try_module_get", 0) & 1
    call(kernel, "__module_get", 0)
    call(kernel, "module_put", 0)
    assert call(kernel, "module_refcount", 0) == 0


@pytest.mark.parametrize(
    ("function", "argument"), [("__symbol_put", "no_such_symbol"), ("symbol_put_addr", 8)]
)
def test_a_put_of_what_was_not_got_is_a_bug(kernel, function, argument):
    with pytest.raises(Killed):
        call(kernel, function, argument)


def test_a_module_that_is_going_cannot_be_got(kernel, module):
    module.view.set("refcnt", 0)
    assert call(kernel, "__symbol_get", "for_gpl") == 0


# --- what Python shows of it --------------------------------------------------------------------------------


def test_a_module_shows_itself_as_long_as_it_is_there(kernel, module):
    assert repr(module).startswith("<Module exporter ")
    assert ">exporter<" not in module._repr_html_()
    assert "nobody" in module._repr_html_()
    kernel.rmmod("exporter")
    assert repr(module) == f"<Module at {module.address:#x}, freed>"
    assert "freed" in module._repr_html_()


@pytest.mark.parametrize("name", ["for_all", "exporter:for_all"])
def test_names_of_a_modules_symbols(kernel, module, name):
    modules = kernel.name_locators
    assert any(find(name) == {n: a for a, _, n in module.symbols}["for_all"] for find in modules)
    assert not any(find(f"other:{name}") for find in modules)
    assert not any(find("exporter:nothing") for find in modules)
