"""The table of functions that Python serves instead of the kernel."""

from pathlib import Path

from kmod_emu.kernel.layout import TRAP_BASE, TRAP_SPACE
from kmod_emu.vmlinux.frontier import files as _files  # noqa: F401 - importing them fills the table
from kmod_emu.vmlinux.frontier.table import declared
from kmod_emu.vmlinux.vmlinux import Vmlinux


def test_every_row_has_a_reason_and_a_subsystem():
    for row in declared().values():
        assert len(row.reason) > 20, row.name
        assert row.subsystem in {"memory", "sched", "time", "rcu", "text", "console", "entropy", "boot",
                                 "hardware", "usermode", "mm", "pages", "sheaves", "kallsyms"}  # fmt: skip


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


def test_addresses_in_modules_are_named_as_the_kernel_does(real, distribution_module, vmlinuz):
    """The kernel's own function is what the image has in place of the jump to ours."""
    function, image = real.symbol("find_kallsyms_symbol"), Vmlinux.from_image(Path(vmlinuz).read_bytes())
    section = next(each for each in image.sections if 0 <= function - each.address < each.size)
    start = section.offset + function - section.address
    module = real.insmod(distribution_module("fs/fat/fat"))
    first, last = module.regions["core"].base, module.regions["core"].base + module.regions["core"].size
    place = real.heap.kmalloc(16)

    def named(address):
        real.memory.write(place, bytes(16))
        name = real.call(function, module.address, address, place, place + 8)
        return name, real.memory.read(place, 16)

    addresses = [*range(first - 8, last + 8, 509), *(value for value, _, _ in module.core_symbols[:40])]
    ours = [named(address) for address in addresses]
    real.memory.write(function, image.elf[start : start + 5])
    assert [named(address) for address in addresses] == ours
    assert len(set(ours)) > 20
