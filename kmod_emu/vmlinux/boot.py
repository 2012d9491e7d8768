"""Booting: the kernel's own start_kernel(), from which everything else follows in the kernel's order."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel import layout
from kmod_emu.kernel.report import MACHINE
from kmod_emu.machine.memory import PAGE_SHIFT
from kmod_emu.vmlinux.errors import BootFailed
from kmod_emu.vmlinux.frontier.initcalls import LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_COMMAND_LINE = b"console=ttyS0 quiet\0"
_RSDP = 0x70  # in struct boot_params, by the boot protocol: where ACPI's tables begin
_BEGIN = "start_kernel"
_LIMIT = 60.0  # seconds of processor time that a boot may take
_PATIENCE = 1.0  # seconds after which code of it is looked at, which costs all translations
_SETTLE = 1.0  # seconds in which keyboard and mouse are asked what they are, and what was begun ends
_XSAVE, _OSXSAVE, _RDRAND, _FSGSBASE = 4 * 32 + 26, 4 * 32 + 27, 4 * 32 + 30, 9 * 32 + 0
_NOT_EMULATED = (
    _XSAVE,
    _OSXSAVE,
    _RDRAND,
    _FSGSBASE,
)  # features that the processor names, and that would not be the same
_N_CPU, _NODE_MASKS = 4, 640  # the last of node_states[] that is set; bytes of them all
_NODE_SIZE = 0x40000  # struct pglist_data and some


class Initcall(NamedTuple):
    """One of the kernel's initcalls.

    Attributes:
        result: What it returned; None if it was left out.
        seconds: How long it took.
        reason: Why there is no result.
    """

    name: str
    result: int | None
    seconds: float
    reason: str = ""


class Boot:
    """The kernel's way from start_kernel() to the point where it would run the first program.

    Attributes:
        skip: Initcalls that the user wants left out, by name.
        initcalls: What has been called so far.
        finished: Whether it came to its end.
    """

    def __init__(
        self, kernel: VmlinuxKernel, told: Callable[[Initcall], None] | None, skip: frozenset[str]
    ) -> None:
        self.skip = skip
        self._kernel = kernel
        self._told = told
        self.initcalls: list[Initcall] = []
        self.finished = False
        self._calling = _BEGIN

    def run(self) -> None:
        """Boot.

        Raises:
            BootFailed: It died or hung on the way.
        """
        kernel, patience = self._kernel, self._kernel.sched.patience
        before, patience.seconds = patience.seconds, _PATIENCE
        kernel.sched.start(kernel.tasks.init_task, kernel.call_guest(kernel.symbol("start_kernel")))
        end = time.process_time() + _LIMIT
        while not self.finished:
            stuck = not kernel.sched.advance_once() or time.process_time() > end
            if stuck or (kernel.tasks.init.finished and kernel.tasks.init is not kernel.tasks.init_task):
                raise self._failed()
        kernel.advance(_SETTLE)
        patience.seconds = before
        if missing := self.skip - {initcall.name for initcall in self.initcalls}:
            raise BootFailed(f"this kernel has no initcall {' or '.join(sorted(missing))}")

    def _failed(self) -> BootFailed:
        """Why it did not boot, and how it may without what it was doing."""
        reports = self._kernel.findings.reports
        why = reports[0]["text"] if reports else "it waits for something that never comes"
        hint = f"; --skip-initcall {self._calling} leaves that out" if self._calling != _BEGIN else ""
        return BootFailed(
            f"the kernel did not boot: in {self._calling}, {why}{hint}", tuple(self._kernel.dmesg())
        )

    def load(self, initcalls: list[list[Any]]) -> None:
        """A machine that had booted is there again."""
        self.initcalls = [Initcall(*row) for row in initcalls]
        self.finished = True

    async def setup_arch(self, cmdline_p: int) -> None:
        """What is known of processor and memory (arch/x86/kernel/setup.c)."""
        kernel, memory = self._kernel, self._kernel.memory
        line = kernel.symbol("boot_command_line")
        memory.write(line, _COMMAND_LINE)
        memory.write_u64(cmdline_p, line)
        memory.write(kernel.symbol("dump_stack_arch_desc_str"), MACHINE.encode() + b"\0")
        self._say_memory()
        await kernel.call_guest(kernel.symbol("memblock_add"), 0, layout.RAM_SIZE)
        if kernel.symbols.internal("conswitchp"):
            memory.write_u64(kernel.symbol("conswitchp"), kernel.symbol("dummy_con"))
        node = kernel.vmalloc.allocate(_NODE_SIZE)
        memory.write_u64(kernel.symbol("node_data"), node)
        told = kernel.profile.struct("pglist_data").members
        memory.write_u64(node + told["per_cpu_nodestats"].offset, kernel.symbol("boot_nodestats"))
        if "first_deferred_pfn" in told:  # no pages are left to be found
            memory.write_u64(node + told["first_deferred_pfn"].offset, (1 << 64) - 1)
        of_node = 0 if kernel.takes("free_area_init_core_hotplug", "nid") else node
        await kernel.call_guest(kernel.symbol("free_area_init_core_hotplug"), of_node)
        if kernel.symbols.internal("lru_gen_init_pgdat"):
            await kernel.call_guest(kernel.symbol("lru_gen_init_pgdat"), node)
        for name in ("x86_early_init_platform_quirks", "reserve_standard_io_resources", "early_cpu_init"):
            await kernel.call_guest(kernel.symbol(name))
        capability = kernel.symbol("boot_cpu_data") + kernel.profile.offset("cpuinfo_x86", "x86_capability")
        for bit in _NOT_EMULATED:
            word = capability + bit // 32 * 4
            memory.write_u32(word, memory.read_u32(word) & ~(1 << bit % 32))
        memory.write_u64(kernel.symbol("boot_params") + _RSDP, kernel.pc.leave_tables())
        for name in ("acpi_boot_table_init", "early_acpi_boot_init", "acpi_boot_init", "fpu__init_system",
                     "jump_label_init", "static_call_init", "unwind_init", "setup_node_to_cpumask_map",
                     "sfi_init"):  # fmt: skip
            if kernel.symbols.internal(name):
                await kernel.call_guest(kernel.symbol(name))

    def _say_memory(self) -> None:
        """One processor, one node with all memory."""
        kernel, memory = self._kernel, self._kernel.memory
        pages = layout.RAM_SIZE >> PAGE_SHIFT
        end = layout.PAGE_OFFSET + layout.RAM_SIZE
        for name, value in (("max_pfn", pages), ("max_low_pfn", pages), ("high_memory", end),
                            ("_totalram_pages", pages), ("vm_zone_stat", pages),
                            ("highest_memmap_pfn", memory.ram_end >> PAGE_SHIFT)):  # fmt: skip
            memory.write_u64(kernel.symbol(name), value)
        for name in ("nr_cpu_ids", "nr_node_ids"):
            memory.write_u32(kernel.symbol(name), 1)
        for mask in ("possible", "present"):
            memory.write_u64(kernel.symbol(f"__cpu_{mask}_mask"), 1)
        kernel.percpu.write("x86_cpu_to_node_map", 0, 4)
        memory.write_u64(kernel.symbol("x86_cpu_to_node_map_early_ptr"), 0)
        states = kernel.symbol("node_states")  # N_POSSIBLE is full, N_ONLINE has the one node
        contents = memory.read(states, _NODE_MASKS)
        size = len(contents) - len(contents.lstrip(b"\xff"))
        for state in range(_N_CPU + 1):
            memory.write(states + state * size, b"\1".ljust(size, b"\0"))

    async def initcall(self, function: int) -> int:
        """One initcall, which may be left out."""
        kernel = self._kernel
        location = kernel.symbols.locate(function)
        name = location.name if location is not None else f"{function:#x}"
        reason = next((reason for pattern, reason in LEFT_OUT.items() if re.fullmatch(pattern, name)), "")
        if name in self.skip:
            reason = "it was asked to be left out"
        result: int | None = None
        self._calling, began = name, time.perf_counter()
        if not reason:
            result = await kernel.call_guest_int(function)
        initcall = Initcall(name, result, time.perf_counter() - began, reason)
        self.initcalls.append(initcall)
        kernel.events.emit("initcall", **initcall._asdict())
        if self._told is not None:
            self._told(initcall)
        return result or 0
