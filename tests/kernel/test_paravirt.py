"""Paravirt operations that the loader did not patch, called through the kernel's tables."""

import pytest

from kmod_emu import Kernel
from kmod_emu.abi import profile
from kmod_emu.errors import Unimplemented
from kmod_emu.kernel.paravirt import NATIVE, native_code


def operation(kernel, group, struct, member):
    """The function that a table points to."""
    if kernel.profile.has(f"paravirt_patch_template.{group}"):
        place = kernel.symbol("pv_ops") + kernel.profile.offset("paravirt_patch_template", group)
    else:
        place = kernel.symbol(f"pv_ops_{group}")
    return kernel.memory.read_u64(place + kernel.profile.offset(struct, member))


@pytest.mark.parametrize("release", profile.available())
def test_operations_do_what_a_call_is_replaced_by(release):
    kernel = Kernel(release)
    for (group, struct, member), (_, code) in NATIVE.items():
        if kernel.profile.has(f"{struct}.{member}"):
            function = operation(kernel, group, struct, member)
            assert kernel.memory.read(function, len(code) + 1) == code + b"\xc3"


def test_flags_and_unlocking():
    kernel = Kernel()
    assert kernel.call(operation(kernel, "irq", "pv_irq_ops", "save_fl")) & 0x200
    lock = kernel.heap.kmalloc(8)
    kernel.memory.write(lock, b"\x01\x02")
    kernel.call(operation(kernel, "lock", "pv_lock_ops", "queued_spin_unlock"), lock)
    assert kernel.memory.read(lock, 2) == b"\x00\x02"


def test_operation_that_is_not_implemented_says_so():
    kernel = Kernel()
    with pytest.raises(Unimplemented) as error:
        kernel.call(operation(kernel, "cpu", "pv_cpu_ops", "read_msr"))
    assert error.value.name == "pv_ops"


def test_index_of_an_operation():
    """The kernel numbers them by their place in the table (SPEC D2: save_fl is at 240 in 6.1)."""
    assert native_code(profile.load("6.1"))[240 // 8] == b"\x9c\x58"


def test_waiting_for_old_hardware_costs_nothing():
    kernel = Kernel()
    assert "io_delay" in kernel.describe(operation(kernel, "cpu", "pv_cpu_ops", "io_delay"))
