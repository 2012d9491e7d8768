"""Loaded modules: the `modules` list in guest memory, reference counts, dependencies (kernel/module/main.c).

What users see (lsmod, /proc/modules) is read from guest memory: the doubly linked list and `struct module`
itself, so that code which changes them is believed, as in Linux. Python keeps beside each struct what the
kernel keeps in private tables: sections, symbols, who uses whom.
"""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.abi import lists
from kmod_emu.errors import KernelError
from kmod_emu.fs.order import sysfs_key
from kmod_emu.html import table
from kmod_emu.kernel.activation import INTERRUPTED, Block
from kmod_emu.kernel.exports import export_data
from kmod_emu.kernel.symbols import Location
from kmod_emu.kernel.taint import module_letters
from kmod_emu.machine.memory import EXEC, PageFault
from kmod_emu.module.memory import KINDS
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

Exported = tuple[int, int | None, bool, str]  # address, crc, gpl, namespace
MODULE_NAME_LEN = 56
MODULE_REF_BASE = 1


class ModuleState(IntEnum):
    """enum module_state."""

    LIVE = 0
    COMING = 1
    GOING = 2
    UNFORMED = 3


STATE_NAMES = {ModuleState.LIVE: "Live", ModuleState.COMING: "Loading", ModuleState.GOING: "Unloading"}


class Region:
    """A piece of the module area: `core` or `init`, or one kind of memory in newer kernels.

    Attributes:
        text_size: Bytes of code at its start, where it holds more than code.
        sealed: The part that becomes read-only when init has returned: (start, end).
    """

    def __init__(self, name: str, base: int, size: int, text_size: int, start: int, end: int) -> None:
        self.name, self.base, self.size, self.text_size = name, base, size, text_size
        self.sealed = start, end

    @property
    def code_size(self) -> int:
        """Bytes of code at its start."""
        return self.size if KINDS.get(self.name, 0) & EXEC else self.text_size


class Parameter(NamedTuple):
    """One `struct kernel_param` of a module."""

    name: str
    address: int
    ops: int
    permissions: int
    flags: int


class Module:
    """One module: its struct in guest memory and what the kernel knows besides.

    Attributes:
        address: Of its `struct module`, which lies in its own core memory.
        init_rc: What its init returned; None when it never returned or there is none.
        sections: (name, address, size) of its sections in memory, as /sys/module/NAME/sections has them.
        notes: Likewise the notes among them, whose bytes /sys/module/NAME/notes shows.
        symbols: (address, type letter, name) in symbol-table order, as /proc/kallsyms lists them.
        exports: What later modules may import: name -> (address, crc, gpl, namespace).
        uses: Modules whose symbols it imports.
        in_sysfs: Whether it has a directory in /sys/module.
    """

    def __init__(self, kernel: KernelCore, address: int) -> None:
        self._kernel = kernel
        self.address = address
        self._view = kernel.view("module", address)
        self.init_rc: int | None = None
        self.regions: dict[str, Region] = {}
        self.sections: list[tuple[str, int, int]] = []
        self.notes: list[tuple[str, int, int]] = []
        self.symbols: list[tuple[int, str, str]] = []
        self.core_symbols: list[tuple[int, str, str]] = []
        self.exports: dict[str, Exported] = {}
        self.uses: list[Module] = []
        self.users: list[Module] = []
        self.modinfo: dict[str, str] = {}
        self.owned: list[int] = []  # heap memory freed with the module: arguments, parameter strings
        self.percpu = 0
        self.file = b""  # what it was loaded from, where that is at hand; not saved
        self.in_sysfs = False
        self.dyndbg = (0, 0)  # address and count of its `struct _ddebug`s
        self.parameters: list[Parameter] = []  # those that /sys/module/NAME/parameters shows

    @property
    def view(self) -> StructView:
        """Its `struct module`."""
        if self._view.address != self.address:
            self._view = self._kernel.view("module", self.address)
        return self._view

    @property
    def name(self) -> str:
        """The name in `struct module`."""
        raw = self._kernel.memory.read(self.address + self.view.layout.offset("name"), MODULE_NAME_LEN)
        return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")

    @property
    def state(self) -> ModuleState:
        """The state in `struct module`; a value that is none counts as UNFORMED."""
        value = self.view.state
        return ModuleState(value) if value < len(ModuleState) else ModuleState.UNFORMED

    @state.setter
    def state(self, state: ModuleState) -> None:
        self.view.state = state

    @property
    def refcnt(self) -> int:
        """Users, as lsmod counts them: the base reference is not shown."""
        raw = self.view.get("refcnt")
        return (raw - (1 << 32) if raw >> 31 else raw) - MODULE_REF_BASE

    @property
    def taints(self) -> int:
        """The module's own taint mask."""
        return self.view.taints

    @property
    def size(self) -> int:
        """Bytes of module memory, init's only until it is freed."""
        return sum(region.size for region in self.regions.values())

    @property
    def core_size(self) -> int:
        """Bytes that stay when init's memory is freed."""
        return sum(region.size for name, region in self.regions.items() if not name.startswith("init"))

    @property
    def base(self) -> int:
        """The address that /proc/modules shows."""
        region = self.regions.get("core") or self.regions.get("text")
        return region.base if region else 0

    def __repr__(self) -> str:
        if not self.regions:
            return f"<Module at {self.address:#x}, freed>"
        return f"<Module {self.name} {self.size} {self.refcnt} {STATE_NAMES.get(self.state, 'Unformed')}>"

    def _repr_html_(self) -> str:
        """For notebooks: its state, and its sections in memory."""
        if not self.regions:
            return table(repr(self), (), ())
        facts = (
            ("state", STATE_NAMES.get(self.state, "Unformed")),
            ("size", self.size),
            ("reference count", self.refcnt),
            ("used by", ", ".join(user.name for user in self.users) or "nobody"),
            ("init returned", "nothing yet" if self.init_rc is None else self.init_rc),
            ("struct module", f"{self.address:#x}"),
        )
        placed = ((name, f"{address:#x}", size) for name, address, size in self.sections)
        return table(f"Module {self.name}", (), facts) + table("", ("section", "address", "bytes"), placed)

    @property
    def letters(self) -> str:
        """Of its taint flags."""
        return module_letters(self.taints, every=self.view.has("flagstab"))

    def flags(self) -> str:
        """Taint letters with `+` while coming and `-` while going, as /proc/modules has them."""
        letters = self.letters
        if not letters:
            return ""
        return f" ({letters}{self._progress()})"

    def _progress(self) -> str:
        return {ModuleState.COMING: "+", ModuleState.GOING: "-"}.get(self.state, "")

    def oops_text(self) -> str:
        """As "Modules linked in:" has it: here an untainted module shows its `+` or `-` too."""
        marks = self.letters + self._progress()
        return f"{self.name}({marks})" if marks else self.name

    def holds(self, address: int) -> bool:
        """Whether an address lies in the module's memory."""
        return any(region.base <= address < region.base + region.size for region in self.regions.values())


class _Waiter:
    """A task that waits for modules; one object a wait."""

    def __init__(self, task: Task) -> None:
        self.task = task


class Modules:
    """All modules, through the guest's list."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.head = kernel.symbols.address("modules")
        self.known: dict[int, Module] = {}  # by address of struct module
        self._loads: dict[int, Module] = {}  # by pid, what each task's latest load_module put on the list
        self.last_unloaded = ""
        self.disabled = "nomodule" in kernel.cmdline
        self.sig_enforce = kernel.cmdline.get("module.sig_enforce") in ("", "1", "y", "Y")
        self.told: set[str] = set()  # messages that are printed once a boot
        self.leaving: list[Callable[[Module], None]] = []  # called when exit has run, or init has failed
        self._waiters: list[_Waiter] = []  # module_wq
        # Files that finit_module is loading, by the inode's identity: it, and where waiters get the result.
        self.loading_files: dict[int, tuple[object, list[list[int]]]] = {}
        lists.init(kernel.memory, self.head)
        kernel.locators.append(self.locate)
        kernel.name_locators.append(self.lookup_name)
        kernel.modules_text = self.linked_in
        kernel.try_module_get, kernel.module_put = self._get_owner, self._put_owner

    def __iter__(self) -> Iterator[Module]:
        """Modules on the list, newest first, unformed ones too; where a module has broken it, it ends."""
        offset = self._kernel.profile.offset("module", "list")
        with suppress(lists.ListCorruption, PageFault):
            for entry in lists.walk(self._kernel.memory, self.head):
                module = self.known.get(entry - offset)
                if module is not None:
                    yield module

    def exporter(self, name: str, *, gplok: bool = True) -> Module | None:
        """The first module that anybody may see and that exports a symbol, if need be to any licence."""
        if not any(name in module.exports for module in self.known.values()):
            return None
        for module in self:
            known = module.exports.get(name)
            if known is not None and (gplok or not known[2]) and module.state is not ModuleState.UNFORMED:
                return module
        return None

    def formed(self) -> list[Module]:
        """Modules that anybody may see."""
        return [module for module in self if module.state is not ModuleState.UNFORMED]

    def rows(self) -> list[tuple[str, int, int, list[str]]]:
        """What lsmod finds in /proc/modules and /sys/module: name, core size, use count, holders."""
        return [
            (m.name, m.core_size, m.refcnt, sorted((user.name for user in m.users), key=sysfs_key))
            for m in self.formed()
        ]

    def find(self, name: str, *, even_unformed: bool = False) -> Module | None:
        """find_module(): by exact name."""
        for module in self:
            if module.name == name and (even_unformed or module.state is not ModuleState.UNFORMED):
                return module
        return None

    def note_load(self, module: Module | None) -> None:
        """The current task loads a module; None while it has made none of the file yet."""
        pid, alive = self._kernel.sched.current.pid, self._kernel.tasks.by_pid
        self._loads = {other: made for other, made in self._loads.items() if other in alive and other != pid}
        if module is not None:
            self._loads[pid] = module

    def loaded_by(self, pid: int) -> Module | None:
        """What a process's latest load_module put on the list, whatever came of it; others load meanwhile."""
        return self._loads.get(pid)

    def stuck(self) -> list[Module]:
        """Modules that are loading for ever: an oops killed who loaded them."""
        tasks = self._kernel.tasks.by_pid
        loading = [made for pid, made in self._loads.items() if pid not in tasks or not tasks[pid].dead]
        return [m for m in self.formed() if m.state is ModuleState.COMING and m not in loading]

    def insert(self, module: Module) -> None:
        """Put a module at the head of the list."""
        self.known[module.address] = module
        lists.add(self._kernel.memory, module.view.addressof("list"), self.head)

    def remove(self, module: Module) -> None:
        """Take a module off the list."""
        if module.address in (m.address for m in self):
            lists.delete(self._kernel.memory, module.view.addressof("list"))
        self.known.pop(module.address, None)

    def holding(self, address: int) -> Module | None:
        """The module whose memory holds an address."""
        return next((module for module in self.known.values() if module.holds(address)), None)

    def get(self, module: Module) -> bool:
        """try_module_get(): one more user, unless the module is going."""
        if module.state is ModuleState.GOING or not module.view.get("refcnt"):
            return False
        self._count(module, 1)
        return True

    def put(self, module: Module) -> bool:
        """module_put(): one user less; False if there is none."""
        if module.refcnt < 0:
            return False
        self._count(module, -1)
        return True

    def _get_owner(self, owner: int) -> bool:
        module = self.known.get(owner)
        return module is None or self.get(module)

    def _put_owner(self, owner: int) -> None:
        module = self.known.get(owner)
        if module is not None:
            self.put(module)

    def _count(self, module: Module, change: int) -> None:
        module.view.set("refcnt", module.view.get("refcnt") + change)

    def use(self, user: Module, owner: Module) -> None:
        """ref_module(): `user` imports from `owner`."""
        if owner not in user.uses:
            self._count(owner, 1)
            user.uses.append(owner)
            owner.users.insert(0, user)

    def drop_uses(self, module: Module) -> None:
        """module_unload_free(): give back the references on dependencies."""
        for owner in module.uses:
            self._count(owner, -1)
            owner.users.remove(module)
        module.uses.clear()

    # --- waiting for modules -------------------------------------------------------------------------

    async def wait(self, until_ns: int | None = None) -> bool:
        """Sleep until some module's state changes (module_wq); False if time comes to `until_ns` first.

        Raises:
            KernelError: EINTR, a signal came.
        """
        sched = self._kernel.sched
        waiter = _Waiter(sched.current)
        self._waiters.append(waiter)
        if until_ns is not None:
            sched.at(until_ns, lambda: self._wake(waiter, in_time=False))
        result = await Block(interruptible=True)
        if result is INTERRUPTED:
            self._waiters.remove(waiter)
            raise KernelError(errno.EINTR, "a signal ended the wait for another module")
        return bool(result)

    def wake_all(self) -> None:
        """A module's state has changed (wake_up_all(&module_wq))."""
        for waiter in list(self._waiters):
            self._wake(waiter, in_time=True)

    def _wake(self, waiter: _Waiter, *, in_time: bool) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self._kernel.sched.wake(waiter.task, in_time)

    # --- names of addresses -------------------------------------------------------------------------

    def locate(self, address: int) -> Location | None:
        """Symbol of an address in module memory (kernel/module/kallsyms.c: find_kallsyms_symbol)."""
        module = self.holding(address)
        if module is None or module.state is ModuleState.UNFORMED:
            return None
        region = next(r for r in module.regions.values() if r.base <= address < r.base + r.size)
        end = region.base + (region.text_size or region.size)
        best: tuple[int, str] | None = None
        for value, letter, name in module.symbols:
            if not name or letter in "uU" or name.startswith((".L", "$a", "$t", "$x", "$d")):
                continue
            if value <= address and value >= region.base and (best is None or value > best[0]):
                best = value, name
            elif address < value < end:
                end = value
        if best is None:
            return None
        return Location(best[1], address - best[0], max(end - best[0], 0), module.name)

    def lookup_name(self, wanted: str) -> int | None:
        """Address of a symbol `name` or `module:name` (kernel/module/kallsyms.c)."""
        owner, colon, inner = wanted.rpartition(":")
        for module in self.formed():
            if colon and module.name != owner:
                continue
            for value, letter, name in module.symbols:
                if name == inner and letter not in "uU":
                    return value
        return None

    def linked_in(self) -> str:
        """The list behind "Modules linked in:"."""
        text = "".join(f" {module.oops_text()}" for module in self.formed())
        return f"{text} [last unloaded: {self.last_unloaded}]" if self.last_unloaded else text

    # --- state ---------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "modules": [_module_state(module) for module in self.known.values()],
            "last_unloaded": self.last_unloaded,
            "disabled": self.disabled,
            "sig_enforce": self.sig_enforce,
            "told": sorted(self.told),
        }

    def load(self, state: Any) -> None:
        """Put saved state back; `Module` objects that still exist are reused."""
        before, self.known = self.known, {}
        for item in state["modules"]:
            module = before.get(item["address"]) or Module(self._kernel, item["address"])
            self.known[module.address] = module
            module.init_rc, module.modinfo, module.percpu = item["init_rc"], item["modinfo"], item["percpu"]
            module.regions = {region[0]: Region(*region) for region in item["regions"]}
            module.sections, module.notes = [*map(tuple, item["sections"])], [*map(tuple, item["notes"])]
            module.symbols = [*map(tuple, item["symbols"])]  # of those that are tuples none is made
            module.core_symbols = [*map(tuple, item["core_symbols"])]
            module.exports = {name: tuple(found) for name, found in item["exports"].items()}
            module.owned = list(item["owned"])
            module.in_sysfs = item["in_sysfs"]
            start, count = item["dyndbg"]
            module.dyndbg = (start, count)
            module.parameters = [Parameter(*row) for row in item["parameters"]]
        for item in state["modules"]:
            module = self.known[item["address"]]
            module.uses = [self.known[address] for address in item["uses"]]
            module.users = [self.known[address] for address in item["users"]]
        self._waiters.clear()
        self.loading_files.clear()
        self.last_unloaded, self.disabled = state["last_unloaded"], state["disabled"]
        self.sig_enforce = state["sig_enforce"]
        self.told = set(state["told"])


def _module_state(module: Module) -> dict[str, Any]:
    return {
        "address": module.address,
        "init_rc": module.init_rc,
        "modinfo": module.modinfo,
        "percpu": module.percpu,
        "regions": [[r.name, r.base, r.size, r.text_size, *r.sealed] for r in module.regions.values()],
        "sections": module.sections,
        "notes": module.notes,
        "symbols": module.symbols,
        "core_symbols": module.core_symbols,
        "exports": module.exports,
        "owned": list(module.owned),
        "in_sysfs": module.in_sysfs,
        "dyndbg": list(module.dyndbg),
        "parameters": [list(parameter) for parameter in module.parameters],
        "uses": [other.address for other in module.uses],
        "users": [other.address for other in module.users],
    }


@export_data("struct list_head modules", 16)
def modules(kernel: KernelCore, address: int) -> None:
    """Head of the list of modules (kernel/module/main.c); not exported, but in System.map."""
