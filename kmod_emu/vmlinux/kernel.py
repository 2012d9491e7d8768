"""`VmlinuxKernel`: a machine whose base kernel is a distribution's own."""

from __future__ import annotations

import os
import re
from copy import copy
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kmod_emu.abi import profile as profiles
from kmod_emu.api import Kernel
from kmod_emu.errors import KernelError
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.fs.open import SpecialOperations
from kmod_emu.fs.pipe import Pipes
from kmod_emu.fs.syslog import Syslog
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel import layout
from kmod_emu.kernel.dispatch import Dispatcher
from kmod_emu.kernel.exports import Fidelity, Handler
from kmod_emu.kernel.faults import Tables
from kmod_emu.kernel.image import load_image
from kmod_emu.kernel.jiffies import Jiffies
from kmod_emu.kernel.symbols import Origin
from kmod_emu.kernel.tasks import PT_REGS_SIZE
from kmod_emu.machine.memory import PAGE_SIZE, READ, WRITE
from kmod_emu.module.host import ModuleHost
from kmod_emu.module.modules import Modules
from kmod_emu.uapi import errno
from kmod_emu.user.programs import Programs
from kmod_emu.vmlinux import cache, modprobe
from kmod_emu.vmlinux.areas import Areas
from kmod_emu.vmlinux.boot import Boot, Initcall
from kmod_emu.vmlinux.errors import NO_SYMBOLS, BadImage
from kmod_emu.vmlinux.frontier import files as _files  # noqa: F401 - importing them fills the table
from kmod_emu.vmlinux.frontier.table import declared
from kmod_emu.vmlinux.hardware.board import install_board
from kmod_emu.vmlinux.hardware.calls import methods
from kmod_emu.vmlinux.hardware.irqs import VmlinuxIrqs
from kmod_emu.vmlinux.hardware.pc import Pc
from kmod_emu.vmlinux.hardware.pci import PciBus
from kmod_emu.vmlinux.hostfs import HostFs
from kmod_emu.vmlinux.lockdown import VmlinuxLockdown
from kmod_emu.vmlinux.modules import VmlinuxHost, VmlinuxModules
from kmod_emu.vmlinux.mount import mount_all
from kmod_emu.vmlinux.own_modules import OwnModules
from kmod_emu.vmlinux.printk import VmlinuxPrintk
from kmod_emu.vmlinux.probes import VmlinuxProbes
from kmod_emu.vmlinux.streams import CONSOLE, NODE, HostStreams
from kmod_emu.vmlinux.symbols import VmlinuxSymbols
from kmod_emu.vmlinux.syscalls import functions, system_calls
from kmod_emu.vmlinux.taint import VmlinuxTaint
from kmod_emu.vmlinux.tasks import VmlinuxTasks
from kmod_emu.vmlinux.types import Structures
from kmod_emu.vmlinux.usermode import UserMode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from kmod_emu.abi.btf import Btf
    from kmod_emu.drivers.table import Driver
    from kmod_emu.kernel.kernel import KernelCore, Subsystem
    from kmod_emu.kernel.state import Saved
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.user.userland import Userland
    from kmod_emu.vmlinux.ahead import Unpacking
    from kmod_emu.vmlinux.frontier.kallsyms import Names
    from kmod_emu.vmlinux.frontier.table import Replaced

_PERCPU = ".data..percpu"
_SIGCHLD, _SIG_IGN = 17, 1
_GET_TIME = 48  # in struct hrtimer_clock_base


class Loader(Enum):
    """Whose code loads modules: this program's, or the kernel's own."""

    PYTHON = "python"
    KERNEL = "kernel"


class VmlinuxKernel(Kernel):
    """A booted machine with the kernel of a vmlinuz: its own code runs, all but the frontier (frontier/).

    Args:
        image: Path of a vmlinuz or vmlinux file, or its bytes. Where it has no symbols, a System.map beside
            the file has them.
        loader: Whose code loads modules.
        told: Called with each initcall of the boot when it has returned.
        skip: Initcalls that are left out, by name.
        permissive: As for `Kernel`.
        modules: A directory of modules with modules.dep and its kin.
        kept: Keep the booted machine in the user's cache directory, and take it from there.
        ahead: Who has begun to unpack it.
        sanitize: As for `Kernel`; the checks look at the whole call trace at each allocation of the kernel's.

    Attributes:
        frontier: The functions of this kernel that Python serves.
        methods: What the kernel calls of hardware that Python plays: name -> address.

    Raises:
        BadImage: It is no kernel, or of another machine, or has no symbols.
        BootFailed: It did not come to the point where it would run the first program.
    """

    kind = "distribution's"
    tasks: VmlinuxTasks
    symbols: VmlinuxSymbols
    _only_direct_leaks = True
    irqs: VmlinuxIrqs
    printk: VmlinuxPrintk

    def __init__(
        self,
        image: str | os.PathLike[str] | bytes,
        *,
        loader: Loader = Loader.PYTHON,
        told: Callable[[Initcall], None] | None = None,
        skip: Collection[str] = (),
        permissive: bool = False,
        modules: str | os.PathLike[str] | None = None,
        sanitize: str = "off",
        kept: bool = True,
        ahead: Unpacking | None = None,
    ) -> None:
        self._path = "" if isinstance(image, bytes) else os.path.abspath(image)
        self._digest = cache.digest(image) if isinstance(image, bytes) else cache.digest_of(self._path)
        self._name, self._kept = cache.key(self._digest, skip), kept
        self._entry = cache.find(self._name) if kept else None
        self._made: bytes | None = None  # a profile that is made of the image
        profile = self._from_cache(self._entry) if self._entry else self._from_image(image, ahead)
        profile = copy(profile)
        known = self._entry.facts["structures"] if self._entry else ""
        self._structures = Structures(profile.structs, lambda: self.types, known)
        profile.structs = self._structures
        self._parameters: dict[str, bool] = self._entry.facts["parameters"] if self._entry else {}
        self.loader = loader
        self.boot = Boot(self, told, frozenset(skip))
        super().__init__(profile, permissive=permissive, smap=False, modules=modules, sanitize=sanitize)

    def _from_image(self, image: str | os.PathLike[str] | bytes, ahead: Unpacking | None) -> profiles.Profile:
        """Unpack a kernel and read its symbols; its profile is the one that is known, else made of it."""
        from kmod_emu.vmlinux import facts, kallsyms
        from kmod_emu.vmlinux.build import from_vmlinux
        from kmod_emu.vmlinux.mapping import kernel_end
        from kmod_emu.vmlinux.systemmap import beside
        from kmod_emu.vmlinux.vmlinux import Vmlinux

        kernel, symbols = ahead.result(self._path) if ahead else (None, None)
        self.vmlinux = kernel or Vmlinux.from_image(
            image if isinstance(image, bytes) else Path(image).read_bytes()
        )
        found = symbols or kallsyms.find(self.vmlinux)
        found = found or (beside(Path(self._path)) if self._path else None)
        if found is None:
            raise BadImage(NO_SYMBOLS)
        self._kallsyms = found.table
        self.kernel_size = kernel_end(self.vmlinux) - layout.START_KERNEL_MAP
        profile = _known_profile(facts.identify(self.vmlinux, found).release)
        if profile is None:
            self._made = from_vmlinux(self.vmlinux, symbols=found)
            profile = profiles.Profile.from_bytes(self._made)
        return profile

    def _from_cache(self, entry: cache.Entry) -> profiles.Profile:
        self._kallsyms, self.kernel_size = entry.symbols(), entry.facts["kernel_size"]
        made = entry.profile()
        profile = profiles.Profile.from_bytes(made) if made else _known_profile(entry.facts["release"])
        assert profile is not None
        return profile

    # --- the base kernel ------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        if self._entry is None:
            super()._lay_out()
            return
        with self._entry.mapped(self.memory):
            super()._lay_out()
        self._entry.protect(self.memory)
        self._booted = (
            self.snapshots.take()
        )  # what is written while the machine is put together is taken back

    def _load_base(self) -> None:
        if self._entry is None:
            from kmod_emu.vmlinux.mapping import map_sections

            map_sections(self.vmlinux, self.memory)
        self.symbols = VmlinuxSymbols(self.profile, self._kallsyms)
        self._show_modules_jiffies()
        self.traps = Dispatcher(self, load_image().traps)
        pairs = self._replaced() if self._entry is None else self._entry.facts["frontier"]
        self.frontier: list[Replaced] = [declared()[name]._replace(name=symbol) for name, symbol in pairs]
        slots = self.traps.bind_all([row.handler for row in self.frontier])
        if self._entry is None:
            from kmod_emu.vmlinux.text import Text

            text = Text(self, self._kallsyms)
            text.settle()
            for row, slot in zip(self.frontier, slots, strict=True):
                text.lead(self.symbol(row.name), slot, row.first)
        hardware = methods()
        self.methods = dict(zip((each.name for each in hardware), self.traps.bind_all(hardware), strict=True))
        self.parked = self.traps.bind(Handler("parked", "int parked(void *data)", _parked, Fidelity.EXACT))
        self.streams = HostStreams(self)
        self.hostfs = HostFs(self)

    def _replaced(self) -> list[tuple[str, str]]:
        """The rows of the frontier for which there is a function, and that function's name."""
        # Where allocations can be profiled, the function is behind a macro of the old name.
        names = ((name, symbol) for name in declared() for symbol in (name, f"{name}_noprof"))
        return [(name, symbol) for name, symbol in names if symbol in self._kallsyms]

    def _show_modules_jiffies(self) -> None:
        """Modules look at a page of their own, so that it is noticed when one waits for time to pass."""
        page = layout.JIFFIES_PAGE
        if self._entry is None:
            from kmod_emu.vmlinux import ksymtab

            place, distance = ksymtab.move(
                self.vmlinux, "jiffies", page, self.profile.struct("kernel_symbol").size
            )
            self.memory.write(place, distance)
            self.memory.protect(page, PAGE_SIZE, READ | WRITE)
        self.symbols.place("jiffies", page, Origin.IMAGE)

    def _make_tasks(self) -> VmlinuxTasks:
        self.mm_offset = self.profile.offset("task_struct", "mm")
        comm = self.profile.struct("task_struct").members["comm"]
        self.comm_place = comm.offset, comm.size
        self.pgd_offset = self.profile.offset("mm_struct", "pgd")
        self.stack_room = layout.THREAD_SIZE - PT_REGS_SIZE
        if self.symbols.internal("__top_init_kernel_stack"):
            self.stack_room = self.symbol("__top_init_kernel_stack") - self.symbol("init_stack")
        return VmlinuxTasks(self)

    def _make_printk(self) -> VmlinuxPrintk:
        return VmlinuxPrintk(self)

    def _make_irqs(self) -> VmlinuxIrqs:
        return VmlinuxIrqs(self)

    def _start_base(self) -> None:
        self.taint = VmlinuxTaint(self)
        self.lockdown = VmlinuxLockdown(self)
        self.probes = VmlinuxProbes(self)
        self.areas = Areas(self)
        self.module_names: Names | None = None
        self.jiffies = Jiffies(self)
        self.user_mode = UserMode(self)
        self.printk.begin()
        self.pc = Pc(self)
        self.add(self.pc)
        self.sched.on("task_dead", self.tasks.put)
        if self._entry is None:
            self._prepare()
        else:
            self.hrtimers.bases = self._entry.facts["clock_bases"]

    def _prepare(self) -> None:
        """The per-CPU variables of the one processor, and what start_kernel() has to find."""
        memory, percpu = self.memory, self.percpu
        contents = self.vmlinux.contents(_PERCPU)
        memory.write(percpu.address(self.profile.static_percpu_start), contents)
        memory.write_u64(percpu.address(self.symbol("this_cpu_off")), percpu.base)
        memory.write_u64(self.symbol("__per_cpu_offset"), percpu.base)
        memory.write_u64(self.symbol("phys_base"), memory.arena_of(layout.START_KERNEL_MAP).paddr)
        self.hrtimers.bases = percpu.address(self.symbol("hrtimer_bases") + self._clocks(contents))
        self.faults.tables["vmlinux"] = Tables(self._section("__bug_table"), self._section("__ex_table"))
        self._set_module_bounds()

    @property
    def has_types(self) -> bool:
        """Whether the kernel was built with its own description of its types; reading that costs more."""
        return "__start_BTF" in self._kallsyms

    @cached_property
    def types(self) -> Btf | None:
        """The kernel's own description of its types and functions; None if it was built without."""
        if not self.has_types:
            return None
        from kmod_emu.abi.btf import Btf

        start, end = self.symbol("__start_BTF"), self.symbol("__stop_BTF")
        return Btf(bytes(self.memory.read(start, end - start)))

    def takes(self, function: str, parameter: str) -> bool:
        """Whether one of the kernel's functions has a parameter of that name."""
        question = f"{function} {parameter}"
        if question not in self._parameters:
            prototype = self.types and self.types.prototype(function)
            self._parameters[question] = bool(prototype and re.search(rf"\b{parameter}[,)]", prototype))
        return self._parameters[question]

    def symbol(self, name: str) -> int:
        """The address of one of the kernel's symbols, also if it is behind a macro that profiles allocations.

        Raises:
            LookupError: There is none of that name.
        """
        try:
            return super().symbol(name)
        except LookupError:
            profiled = f"{name}_noprof"
            return super().symbol(profiled if profiled in self._kallsyms else name)

    def symbol_size(self, name: str) -> int:
        """Bytes from a symbol to the next one."""
        start = self.symbol(name)
        return min(address for _, address, _ in self._kallsyms.rows() if address > start) - start

    def _clocks(self, percpu: bytes) -> int:
        """Where in struct hrtimer_cpu_base the clocks begin."""
        if self.has_types:
            return self.profile.offset("hrtimer_cpu_base", "clock_base")
        bases = self.symbol("hrtimer_bases")  # the first thing in it that points to ktime_get() is a clock's
        return percpu.index(self.symbol("ktime_get").to_bytes(8, "little"), bases) - _GET_TIME - bases

    def _section(self, name: str) -> tuple[int, int]:
        section = self.vmlinux.section(name)
        return (section.address, section.size) if section else (0, 0)

    def _set_module_bounds(self) -> None:
        """Where the kernel looks for modules by address; its own loader widens that module by module."""
        tree = self.symbol("mod_tree")
        lowest = tree + self.memory.read(tree, 64).index(b"\xff" * 8)  # addr_min of no modules, then addr_max
        self.memory.write_u64(lowest, self.modules_start)
        self.memory.write_u64(lowest + 8, self.modules_start + layout.MODULES_SIZE)

    # --- what is on it --------------------------------------------------------------------------------

    def _install(self, modules: str | None) -> None:
        """Boot, then add what modules belong to: the loader, and the machine's own view of files."""
        if self._entry is None:
            self.boot.run()
        self.add((OwnModules if self.loader is Loader.KERNEL else VmlinuxModules)(self), Modules)
        self.add(VmlinuxHost(self), ModuleHost)
        self.install_beside_modules(modules)
        install_board(self)
        devices, pipes = CharDevices(self), Pipes(self)
        vfs = Vfs(self, SpecialOperations(self, devices, pipes), devices)
        for part in (devices, pipes, vfs, Programs(self), Syslog(self)):
            self.add(part)
        self._functions = functions(self) if self._entry is None else self._entry.facts["system_calls"]
        self.own_syscalls.update(system_calls(self._functions, own_loader=self.loader is Loader.KERNEL))
        if self._entry is None:
            self.run(self[PciBus].find())
            self._prepare_programs()
            mount_all(self)

    def _prepare_programs(self) -> None:
        """What programs need besides files. The first task, which Python drives, waits for no child."""
        self.streams.register()
        self.sched.run(self.tasks.init, self.call_guest(self.symbol("kernel_sigaction"), _SIGCHLD, _SIG_IGN))
        self.memory.write_u32(self.symbol("vdso64_enabled"), 0)  # time is virtual: it is asked for

    def _settle(self) -> None:
        """Take the booted machine out of the cache, or keep it there."""
        if self._entry is not None:
            self.snapshots.restore(self._booted)
            self.load_tables(self.save_tables() | self._entry.facts["tables"])
            self.boot.load(self._entry.facts["initcalls"])
        elif self._kept:
            tables = self.save_tables()
            for name in ("Sanitizer", "Kmod"):  # which are made with other options the next time
                tables.pop(name, None)
            found = {
                "release": self.profile.release,
                "kernel_size": self.kernel_size,
                "clock_bases": self.hrtimers.bases,
                "frontier": self._replaced(),
                "parameters": self._parameters,
                "structures": self._structures.others(),
                "initcalls": self.boot.initcalls,
                "system_calls": self._functions,
                "tables": tables,
            }
            cache.store(self._name, self.memory, self._kallsyms, self._made, found)
        self.sched.on_death = self.user_mode.last_steps
        super()._settle()
        modprobe.install(self)

    @property
    def userland(self) -> Userland:
        """What runs programs on the machine and gives them files."""
        if self._userland is None:
            from kmod_emu.vmlinux.execute import VmlinuxUserland

            self._userland = VmlinuxUserland(self)
        return self._userland

    # --- what people do with it -----------------------------------------------------------------------

    def press_key(self, code: int, *, hold: bool = False) -> None:
        """Press a key of the machine's keyboard and let it go; those with a code above 88 it does not have.

        Raises:
            ValueError: There is no such key.
        """
        self.pc.keyboard.press(code)
        self._let_interrupts_come()
        if not hold:
            self.release_key(code)

    def release_key(self, code: int) -> None:
        """Let go of a key that is held."""
        self.pc.keyboard.release(code)
        self._let_interrupts_come()

    def drivers(self, *, everything: bool = False) -> list[Driver]:
        """As the kernel's own table has them."""
        from kmod_emu.vmlinux import chrdevs

        return chrdevs.drivers(self, everything=everything)

    # --- saved machines -------------------------------------------------------------------------------

    def fingerprint(self) -> str:
        """What the addresses in a saved machine depend on: the kernel and all code that boots one."""
        return self._name

    def _notes(self) -> dict[str, Any]:
        return super()._notes() | {"image": self._name}

    def made(self) -> dict[str, str]:
        """With what a machine like this one is made, the kernel's file and its digest among it."""
        return super().made() | {
            "kernel": self._path,
            "digest": self._digest,
            "loader": self.loader.value,
            "skip": " ".join(sorted(self.boot.skip)),
        }

    @classmethod
    def _booted_for(cls, saved: Saved, permissive: bool) -> Self:
        notes = saved.notes
        image, skip = notes["kernel"], notes.get("skip", "").split()
        if not image:
            raise KernelError(errno.EINVAL, f"nobody knows the file of the kernel of {saved.path}")
        try:
            digest = cache.digest_of(image)
        except OSError as error:
            why = f"the kernel of {saved.path} cannot be read: {image}: {error.strerror}"
            raise KernelError(errno.EINVAL, why) from None
        if digest != notes["digest"]:
            raise KernelError(errno.EINVAL, f"{image} is not the kernel of {saved.path}; boot again")
        if cache.key(digest, skip) != notes["image"]:
            why = f"{saved.path} was saved by another version of kmod-emu; boot again"
            raise KernelError(errno.EINVAL, why)
        return cls(
            image,
            loader=Loader(notes["loader"]),
            sanitize=notes["sanitize"],
            skip=skip,
            permissive=permissive,
        )

    def _end(self, task: Task) -> None:
        self.tasks.exit(task)

    def _open_files(self, task: Task) -> list[str]:
        """Paths of files that a process has open, but for what was connected to a program of the host's."""
        with self.process(comm="init") as process:
            folder = f"/proc/{task.pid}/fd"
            paths = [process.readlink(f"{folder}/{fd}") for fd in process.listdir(folder)]
        return [path for path in paths if not path.startswith((NODE, CONSOLE))]

    def _stateful(self) -> dict[str, Subsystem]:
        return {**super()._stateful(), "areas": self.areas, "hostfs": self.hostfs}


def _known_profile(release: str) -> profiles.Profile | None:
    """The profile of exactly this kernel, if there is one."""
    try:
        found = profiles.load(release)
    except LookupError:
        return None
    return found if found.release == release else None


def _parked(kernel: KernelCore, data: int) -> int:
    """What a task begins with that Python drives: it never gets there."""
    raise AssertionError("a task runs that Python drives")
