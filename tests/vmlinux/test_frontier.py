"""The table of functions that Python serves instead of the kernel."""

from pathlib import Path

import pytest

from kmod_emu.kernel.layout import TRAP_BASE, TRAP_SPACE
from kmod_emu.vmlinux.frontier import files as _files  # noqa: F401 - importing them fills the table
from kmod_emu.vmlinux.frontier.table import declared
from kmod_emu.vmlinux.vmlinux import Vmlinux


def test_every_row_has_a_reason_and_a_subsystem():
    for row in declared().values():
        assert len(row.reason) > 20, row.name
        assert row.subsystem in {"memory", "sched", "time", "rcu", "text", "console", "entropy", "boot",
                                 "hardware", "usermode", "mm", "mpi", "pages", "sheaves",
                                 "kallsyms"}  # fmt: skip


def test_what_has_a_result_is_not_called_nothing(real):
    """The kernel's own types know which functions have one; which of these were called is kept."""
    rows = {
        row.name: row.handler
        for row in real.frontier
        if row.handler.function.__name__ in ("_nothing", "answer")
    }
    known = {name: text for name in rows if (text := real.types.prototype(name))}
    assert len(known) > 50
    for name, text in known.items():
        nothing = rows[name].function.__name__ == "_nothing"
        assert text.startswith(f"void {name}(") is nothing, text
    real.stand_ins.clear()
    assert real.call(real.symbol("timekeeping_notify"), 0) == 0
    real.call(real.symbol("rcu_note_context_switch"), 0)
    assert real.stand_ins == {"timekeeping_notify"}
    real.stand_ins.clear()


def test_functions_enter_python_by_a_jump(real):
    place = real.symbol("__schedule")
    assert real.memory.read_u8(place) == 0xE9
    target = place + 5 + int.from_bytes(real.memory.read(place + 1, 4), "little", signed=True)
    assert TRAP_BASE <= target < TRAP_BASE + TRAP_SPACE


def test_most_of_the_frontier_is_in_this_kernel(real):
    assert len(real.frontier) > 150
    assert len(real.frontier) < 250  # the smaller the better


@pytest.fixture
def own_code(vmlinuz):
    """What the image has at an address, in place of a jump of ours."""
    image = Vmlinux.from_image(Path(vmlinuz).read_bytes())

    def at(address):
        section = next(each for each in image.sections if 0 <= address - each.address < each.size)
        start = section.offset + address - section.address
        return image.elf[start : start + 16]

    return at


def test_addresses_in_modules_are_named_as_the_kernel_does(real, own_code, distribution_module):
    function = real.symbol("find_kallsyms_symbol")
    module = real.insmod(distribution_module("fs/fat/fat"))
    first, last = module.regions["core"].base, module.regions["core"].base + module.regions["core"].size
    place = real.heap.kmalloc(16)

    def named(address):
        real.memory.write(place, bytes(16))
        name = real.call(function, module.address, address, place, place + 8)
        return name, real.memory.read(place, 16)

    addresses = [*range(first - 8, last + 8, 509), *(value for value, _, _ in module.core_symbols[:40])]
    ours = [named(address) for address in addresses]
    real.memory.write(function, own_code(function))
    assert [named(address) for address in addresses] == ours
    assert len(set(ours)) > 20


def test_places_of_tracers_are_valid_where_the_kernel_says(real, own_code, distribution_module):
    function = real.symbol("test_for_valid_rec")
    module = real.insmod(distribution_module("fs/fat/fat"))
    begin = module.regions["core"].base
    record = real.heap.kmalloc(16)

    def valid(address):
        real.memory.write(record, address.to_bytes(16, "little"))
        return real.call(function, record)

    named = [value for value, letter, _ in module.core_symbols if letter in "tT"]
    in_kernel = [real.symbol("vfs_read") + offset for offset in (0, 4, 5)]
    addresses = [value + offset for value in named[:40] for offset in (0, 4, 5)]
    addresses += [begin - 8, begin, *in_kernel]
    ours = [valid(address) for address in addresses]
    real.memory.write(function, own_code(function))
    assert [valid(address) for address in addresses] == ours
    assert set(ours) == {0, 1}
