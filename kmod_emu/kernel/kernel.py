"""Composition: what a running kernel is made of, and how it boots.

`KernelCore` is the base kernel on its machine. The rooms above (module, fs, user) add subsystems of their
own with `add`; nothing here knows their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from kmod_emu.abi import profile as profiles
from kmod_emu.abi.structs import StructView
from kmod_emu.kernel import layout
from kmod_emu.kernel.activation import GuestCall, to_int
from kmod_emu.kernel.clock import Clock
from kmod_emu.kernel.dispatch import Dispatcher
from kmod_emu.kernel.events import EventBus
from kmod_emu.kernel.exports import Convention, Fidelity, Handler, registered, symbol_name
from kmod_emu.kernel.faults import Faults
from kmod_emu.kernel.filemap import PhysicalPages
from kmod_emu.kernel.findings import Findings
from kmod_emu.kernel.format_context import FormatContext
from kmod_emu.kernel.ftrace import Ftrace
from kmod_emu.kernel.hrtimer import HrTimers
from kmod_emu.kernel.image import import_slots, load_image, map_image
from kmod_emu.kernel.ioremap import IoMappings
from kmod_emu.kernel.irq import Irqs
from kmod_emu.kernel.jiffies import Jiffies
from kmod_emu.kernel.kobject import Kobjects
from kmod_emu.kernel.kprobes import Kprobes
from kmod_emu.kernel.kretprobes import Kretprobes, Trampoline
from kmod_emu.kernel.kthread import Kthreads
from kmod_emu.kernel.limits import Usage
from kmod_emu.kernel.lockdep import LockChecker
from kmod_emu.kernel.lockdown import Lockdown
from kmod_emu.kernel.locking import LockQueues
from kmod_emu.kernel.mempool import Mempools
from kmod_emu.kernel.notifier import Notifiers
from kmod_emu.kernel.oops import Oopses
from kmod_emu.kernel.pages import PageAllocator
from kmod_emu.kernel.panic import Panics, believed
from kmod_emu.kernel.percpu import PerCpu
from kmod_emu.kernel.printk import Printk
from kmod_emu.kernel.probes import Probes
from kmod_emu.kernel.rcu import Rcu
from kmod_emu.kernel.sched import Scheduler
from kmod_emu.kernel.slab import Heap
from kmod_emu.kernel.softirq import SoftIrqs
from kmod_emu.kernel.symbols import Location, Origin, SymbolTable
from kmod_emu.kernel.sysctl import Sysctls
from kmod_emu.kernel.taint import KernelTaint
from kmod_emu.kernel.tasks import Tasks
from kmod_emu.kernel.timer import Timers
from kmod_emu.kernel.tracing import Tracing
from kmod_emu.kernel.uaccess import UserMemory
from kmod_emu.kernel.vmalloc import AreaAllocator
from kmod_emu.kernel.vmap import Vmaps
from kmod_emu.kernel.warnings import Warnings
from kmod_emu.kernel.workqueue import Workqueues
from kmod_emu.kernel.xarray import IndexedStores
from kmod_emu.machine.cpu import Cpu
from kmod_emu.machine.memory import PAGE_SIZE, READ, WRITE, Memory, page_align
from kmod_emu.machine.snapshot import SnapshotTree
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kmod_emu.abi.btf import Btf
    from kmod_emu.kernel.poll import PollTable
    from kmod_emu.kernel.syscalls import Entry

_RESERVED_RAM = layout.MIB  # the first megabyte of RAM, as on a PC, belongs to nobody


class Subsystem(Protocol):
    """A part of the kernel with state of its own, as plain data that JSON can hold."""

    def save(self) -> Any:
        """State for a snapshot or file."""

    def load(self, state: Any) -> None:
        """Put saved state back."""


S = TypeVar("S")


async def _no_modprobe(name: str) -> int:
    """There is no modprobe to ask for a module."""
    return -errno.ENOENT


class KernelCore:
    """A booted base kernel: machine, memory, symbols, tasks, log.

    Args:
        release: A kernel release that has a profile, or a series; None is the newest 6.1. Or a profile.
        permissive: Let unimplemented functions return 0 instead of ending the task.
        cmdline: Boot options: `module_blacklist=a,b`, `nomodule`.

    Raises:
        LookupError: There is no profile of that release.
    """

    modules_start = layout.MODULES_VADDR  # where the module area begins
    kernel_size = layout.KERNEL_SIZE  # room for the base kernel, from START_KERNEL_MAP on

    def __init__(
        self, release: str | profiles.Profile | None = None, *, permissive: bool = False, cmdline: str = ""
    ) -> None:
        self.cmdline = dict(word.partition("=")[::2] for word in cmdline.split())
        self.profile = release if isinstance(release, profiles.Profile) else profiles.load(release)
        self.events = EventBus()
        self.memory = Memory()
        self.memory.smep = True
        self._next_variable = layout.DATA_BASE + layout.DATA_SPACE  # those from Python go downwards
        self.cpu = Cpu(self.memory)
        self._subsystems: dict[type[Any], Any] = {}
        self.own_syscalls: dict[int, Entry] = {}  # by number: those that only this kernel has
        self.counted: dict[str, Callable[[], int]] = {}  # what `held` counts of other rooms
        self.stand_ins: set[str] = set()  # functions that merely answer, and were called
        self.locators: list[Callable[[int], Location | None]] = []  # address -> symbol, of modules
        self.name_locators: list[Callable[[str], int | None]] = []  # symbol -> address, of modules
        self.modules_text: Callable[[], str] = lambda: ""  # for "Modules linked in:"
        # What the module room answers for an owner's address; NULL, the base kernel, is always there.
        self.try_module_get: Callable[[int], bool] = lambda owner: True
        self.module_put: Callable[[int], None] = lambda owner: None
        self.request_module: Callable[[str], Coroutine[Any, Any, int]] = _no_modprobe
        self._boot(permissive)

    # --- boot ---------------------------------------------------------------------------------------

    def _boot(self, permissive: bool) -> None:
        self.snapshots = SnapshotTree(self.memory)
        self._lay_out()
        self._load_base()
        self._make_subsystems()
        self.faults.permissive = permissive
        self._start_base()
        self.tasks.switched(self.tasks.init_task)
        self.lockdown.boot()

    def _load_base(self) -> None:
        """Put the base kernel's code into memory: its symbols, and the functions of it that Python serves."""
        image = load_image()
        map_image(image, self.memory)
        self.symbols = SymbolTable(self.profile, image.symbols)
        self.traps = Dispatcher(self, image.traps)
        self._data = self._place_exports()

    def _start_base(self) -> None:
        """Fill in what the base kernel's code finds: its variables, and what it calls back for."""
        memory = self.memory
        self.jiffies = Jiffies(self)
        for handler, address in self._data:
            handler.function(self, address)
        for name, slot in import_slots(load_image(), memory).items():
            memory.write_u64(slot, self._import(name))
        if self.profile.has("exception_table_entry.handler"):  # older than the change to kstrtobool
            memory.write_u32(self.symbols.address("kstrtobool_knows_true"), 0)

    def _make_tasks(self) -> Tasks:
        return Tasks(self)

    def _make_printk(self) -> Printk:
        return Printk(self)

    def _make_irqs(self) -> Irqs:
        return Irqs(self)

    def _make_subsystems(self) -> None:
        """The rooms of the kernel, each with its state; what they need of others is there before them."""
        self.clock = Clock(self)
        self.taint = KernelTaint(self)
        self.sysctl = Sysctls()
        self.lockdown = Lockdown(self)
        self.allocations: dict[int, Any] = {}  # who has memory, where somebody keeps that; freeing removes it
        self.usage = Usage(self)
        self.pages = PageAllocator(self, _RESERVED_RAM)
        self.user_pages = PhysicalPages(self)
        self.vmalloc = AreaAllocator(self, layout.VMALLOC_START, self.allocations)
        self.module_area = AreaAllocator(self, self.modules_start, {}, for_modules=True)
        self.heap = Heap(self)
        self.percpu = PerCpu(self)
        self.user = UserMemory(self)
        self.tasks = self._make_tasks()
        self.sched = Scheduler(self)
        self.kthreads = Kthreads(self)
        self.timers = Timers(self)
        self.hrtimers = HrTimers(self)
        self.softirqs = SoftIrqs(self)
        self.irqs = self._make_irqs()
        self.io_mappings = IoMappings(self)
        self.rcu = Rcu(self)
        self.workqueues = Workqueues(self)
        self.printk = self._make_printk()
        self.findings = Findings(self)
        self.warnings = Warnings(self)
        self.panics = Panics(self)
        self.oopses = Oopses(self)
        self.faults = Faults(self)
        self.notifiers = Notifiers(self)
        self.kobjects = Kobjects(self)
        self.probes = Probes(self)
        self.kretprobes = Kretprobes(self)
        self.ftrace = Ftrace(self)
        self.probes.kinds = {"kprobe": Kprobes(self), "kretprobe": self.kretprobes, "ftrace": self.ftrace}
        self.probes.kinds["trampoline"] = Trampoline(self)
        self.lock_queues = LockQueues(self)
        self.lockdep = LockChecker(self)
        self.indexed = IndexedStores(self)
        self.tracing = Tracing(self)
        self.vmaps = Vmaps(self)
        self.mempools = Mempools()
        self.poll_tables: dict[int, PollTable] = {}  # of tasks in poll(2), by address
        self.format_context = FormatContext(self)

    def _lay_out(self) -> None:
        """Create the arenas; RAM comes first, so that the direct map begins with it."""
        memory = self.memory
        memory.add_arena("direct map", layout.PAGE_OFFSET, layout.RAM_SIZE)
        memory.add_arena("base kernel", layout.START_KERNEL_MAP, self.kernel_size)
        memory.add_arena("modules", self.modules_start, layout.MODULES_SIZE)
        memory.add_arena("vmalloc", layout.VMALLOC_START, layout.VMALLOC_SIZE)
        total = layout.RAM_SIZE + self.kernel_size + layout.MODULES_SIZE + layout.VMALLOC_SIZE
        size = (total >> 12) * layout.STRUCT_PAGE_SIZE
        vmemmap = memory.add_arena("vmemmap", layout.VMEMMAP_START, size)
        vmemmap.perms[:] = bytes([READ | WRITE]) * len(vmemmap.perms)
        memory.protect(layout.DATA_BASE, layout.DATA_SPACE, READ | WRITE)
        memory.direct_map(layout.PAGE_OFFSET)

    def _place_exports(self) -> list[tuple[Handler, int]]:
        """Bind every handler to a trap and give every data export space; returns the data, unfilled."""
        data, trapped, free = [], [], layout.DATA_BASE
        for name, handler in sorted(registered().items()):
            if handler.is_data:
                size = handler.size(self) if callable(handler.size) else handler.size
                if size >= PAGE_SIZE:
                    free = page_align(free)
                self.symbols.place(name, free, Origin.DATA)
                data.append((handler, free))
                free += (size + 63) & ~63
            elif not self.symbols.placed(name):
                trapped.append(handler)
        for handler, address in zip(trapped, self.traps.bind_all(trapped), strict=True):
            self.symbols.place(handler.name, address, Origin.TRAP)
        for name in registered():
            # Where allocations can be profiled, the function behind the macro of the old name.
            behind = f"{name}_noprof"
            if behind in self.profile.exports and not self.symbols.placed(behind):
                self.symbols.place(behind, self.symbols.address(name), Origin.TRAP)
        return data

    def _import(self, name: str) -> int:
        """What guest code of the image asks for.

        A symbol's address, or "offsetof STRUCT.MEMBER|OTHER", 0 for none.
        """
        path = name.removeprefix("offsetof ")
        if path == name:
            return self.symbols.address(name)
        struct, _, members = path.partition(".")
        layout = self.profile.struct(struct)
        return next((layout.offset(name) for name in members.split("|") if name in layout.members), 0)

    # --- subsystems of other rooms -------------------------------------------------------------------

    def add(self, subsystem: object, kind: type | None = None) -> None:
        """Install a part of another room; it is found by its class, and saved if it is a `Subsystem`.

        Args:
            subsystem: The part.
            kind: The class to find it by, where it is of a subclass.
        """
        self._subsystems[kind or type(subsystem)] = subsystem

    def has(self, kind: type[Any]) -> bool:
        """Whether there is a subsystem of that class."""
        return kind in self._subsystems

    def __getitem__(self, kind: type[S]) -> S:
        """The subsystem of that class."""
        subsystem = self._subsystems[kind]
        assert isinstance(subsystem, kind)
        return subsystem

    # --- views and names ------------------------------------------------------------------------------

    def view(self, struct: str, address: int) -> StructView:
        """A typed view on a guest structure."""
        return StructView(self.memory, self.profile.struct(struct), address)

    def array(self, struct: str, first: int, count: int) -> range:
        """Addresses of structures behind each other, the last of which is there.

        Raises:
            PageFault: It is not: the count is a lie, which must not cost the host anything.
        """
        size = self.profile.struct(struct).size
        if count > 0:
            self.memory.read_u8(first + (count - 1) * size)
        return range(first, first + count * size, size)

    def direct_address(self, paddr: int) -> int:
        """Direct-map address of a physical address (`__va`)."""
        return layout.PAGE_OFFSET + paddr

    @property
    def types(self) -> Btf | None:
        """The base kernel's own description of its types; None if it brings none."""
        return None

    def locate(self, address: int) -> Location | None:
        """The symbol that holds an address: of the base kernel or of a module."""
        for locator in self.locators:
            if location := locator(address):
                return location
        return self.symbols.locate(address)

    def lookup_name(self, name: str) -> int:
        """Address of any symbol, exported or not, of the base kernel or of a module; 0 for none.

        A function of the base kernel that modules may import but nobody serves counts as not there.
        """
        if self.symbols.placed(name) or self.symbols.internal(name):
            return self.symbols.address(name)
        for locator in self.name_locators:
            if address := locator(name):
                return address
        return 0

    def describe(self, address: int) -> str:
        """An address as `%pS` prints it: `symbol+0x1/0x20 [module]`, or the number."""
        location = self.locate(address)
        return str(location) if location else f"{address:#x}"

    # --- calling ------------------------------------------------------------------------------------

    async def call_guest(self, address: int, *arguments: int) -> int:
        """From a coroutine: call a guest function; RAX, unsigned."""
        return await GuestCall(address, *arguments)

    async def call_guest_int(self, address: int, *arguments: int) -> int:
        """From a coroutine: call a guest function that returns `int`."""
        return to_int(await GuestCall(address, *arguments))

    def call(self, address: int, *arguments: int) -> int:
        """Call a guest function and wait for it; RAX, unsigned.

        Raises:
            Killed: The function oopsed.
        """
        return int(self.run(self.call_guest(address, *arguments)))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on a kernel task and wait for it."""
        with believed():
            worker = self.tasks.worker()
        return self.sched.run(worker, work)

    def symbol(self, name: str) -> int:
        """Address of a symbol of the base kernel.

        Raises:
            LookupError: There is none of that name.
        """
        return self.symbols.address(name)

    def export(
        self, prototype: str, fidelity: Fidelity = Fidelity.EXACT
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: add or replace an export of this machine from Python (see exports.py).

        A declaration without parentheses is a variable's: the function gets the kernel and the address of a
        page of zeros.

        >>> from kmod_emu import Kernel
        >>> k = Kernel()
        >>> @k.export("int sixteen")
        ... def sixteen(kernel, address):
        ...     kernel.memory.write_u32(address, 16)
        >>> k.memory.read_u32(k.symbol("sixteen"))
        16
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            name = symbol_name(prototype)
            if "(" not in prototype:
                address = self._next_variable = self._next_variable - PAGE_SIZE
                self.memory.clear(address, PAGE_SIZE)
                function(self, address)
                self.symbols.place(name, address, Origin.DATA, add=not self.symbols.exports(name))
                return function
            handler = Handler(name, prototype, function, fidelity, Convention.C)
            self.symbols.place(
                name, self.traps.bind(handler), Origin.TRAP, add=not self.symbols.exports(name)
            )
            return function

        return register

    def held(self) -> dict[str, int]:
        """What is allocated and registered now, by kind: two of these tell whether something leaked.

        Pages in the heap's caches count as objects, not as pages: caches keep them.
        """
        return {
            "pages": self.pages.allocated - self.heap.slab_pages,
            "heap objects": len(self.heap.live),
            "vmalloc bytes": self.vmalloc.allocated,
            "module bytes": self.module_area.allocated,
            "per-CPU bytes": self.percpu.allocated,
            "tasks": len(self.tasks.by_pid),
            "notifiers": self.notifiers.registered,
            "fault tables": len(self.faults.tables),
            **{kind: count() for kind, count in self.counted.items()},
        }

    # --- snapshots ----------------------------------------------------------------------------------

    def _stateful(self) -> dict[str, Subsystem]:
        """Everything with state besides guest memory, by a name that saved files use."""
        own: dict[str, Subsystem] = {
            "usage": self.usage,
            "clock": self.clock,
            "taint": self.taint,
            "user_pages": self.user_pages,
            "sysctl": self.sysctl,
            "lockdown": self.lockdown,
            "pages": self.pages,
            "vmalloc": self.vmalloc,
            "module_area": self.module_area,
            "heap": self.heap,
            "percpu": self.percpu,
            "tasks": self.tasks,
            "sched": self.sched,
            "kthreads": self.kthreads,
            "timers": self.timers,
            "hrtimers": self.hrtimers,
            "irqs": self.irqs,
            "io_mappings": self.io_mappings,
            "rcu": self.rcu,
            "lock_queues": self.lock_queues,
            "lockdep": self.lockdep,
            "indexed": self.indexed,
            "mempools": self.mempools,
            "workqueues": self.workqueues,
            "printk": self.printk,
            "faults": self.faults,
            "oopses": self.oopses,
            "warnings": self.warnings,
            "panics": self.panics,
            "notifiers": self.notifiers,
            "probes": self.probes,
            "kretprobes": self.kretprobes,
            "ftrace": self.ftrace,
            "tracing": self.tracing,
            "vmaps": self.vmaps,
        }
        own.update({kind.__name__: part for kind, part in self._subsystems.items() if hasattr(part, "save")})
        return own

    def fingerprint(self) -> str:
        """What the addresses in a saved machine depend on."""
        from kmod_emu.kernel.state import fingerprint

        return fingerprint()

    def save_tables(self) -> dict[str, Any]:
        """The state of all subsystems, as plain data.

        Raises:
            KernelError: A module has overwritten what they are.
        """
        with believed():
            return {name: part.save() for name, part in self._stateful().items()}

    def load_tables(self, tables: dict[str, Any]) -> None:
        """Put the state of all subsystems back."""
        for name, part in self._stateful().items():
            part.load(tables[name])
