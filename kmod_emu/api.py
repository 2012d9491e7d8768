"""The public API: a booted kernel that loads modules."""

from __future__ import annotations

import os
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from kmod_emu.drivers.board import Board, Wiring
from kmod_emu.drivers.gpio import Gpios
from kmod_emu.errors import KernelError
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.kernel import KernelCore
from kmod_emu.kernel.limits import Limits
from kmod_emu.module.kmod import Kmod
from kmod_emu.module.modules import Module, Modules
from kmod_emu.module.unloaded import Unloaded
from kmod_emu.sanitize.level import Level
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_NONBLOCK
from kmod_emu.user.entry import last_steps
from kmod_emu.user.process import Process, close_all, comes_back

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kmod_emu.abi.profile import Profile
    from kmod_emu.drivers.table import Driver
    from kmod_emu.kernel.state import Saved
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.machine.snapshot import MemorySnapshot
    from kmod_emu.sanitize.sanitizer import Sanitizer
    from kmod_emu.user.execute import ExecResult
    from kmod_emu.user.userland import Userland

_LAST_LINES = 10  # of the log, in a notebook
# What the notes of saved machines hold of which only such a class knows.
_CLASSES = {
    "kernel": ("kmod_emu.vmlinux.kernel", "VmlinuxKernel"),
    "versions": ("kmod_emu.classic.kernel", "ClassicKernel"),
}


def class_of(notes: Mapping[str, Any]) -> type[Kernel]:
    """The class of a saved machine, by what `Kernel.save` noted."""
    for note, (module, name) in _CLASSES.items():
        if note in notes:
            found: type[Kernel] = getattr(import_module(module), name)
            return found
    return Kernel


class Snapshot(NamedTuple):
    """A moment of a machine, for `Kernel.restore`."""

    memory: MemorySnapshot
    tables: dict[str, Any]


class Kernel(KernelCore):
    """A booted machine.

    Args:
        release: A release that has a profile ("6.1.0-56-amd64") or a series ("6.1"); None is the newest 6.1.
            Or a profile.
        permissive: Let unimplemented functions return 0 instead of ending the calling task.
        smap: Whether kernel code that follows a user pointer itself faults, as on processors with SMAP.
        cmdline: Boot options: `module_blacklist=a,b`, `nomodule`.
        modules: A directory of modules with modules.dep and its kin; request_module() loads from there.
        sanitize: "default" for the checks that cost next to nothing, "all", or "off".
        limits: What modules may use; None for the defaults.

    Raises:
        LookupError: There is no profile of that release.
        ValueError: There is no such level of checks.

    >>> from kmod_emu import Kernel, samples
    >>> k = Kernel()
    >>> k.insmod(samples.path("hello"))
    <Module hello 16384 0 Live>
    >>> k.dmesg()[-1]
    'Hello world!'
    >>> k.rmmod("hello")
    >>> k.modules
    []
    """

    kind: ClassVar[str] = "modern"  # as a user calls such machines
    _only_direct_leaks = False  # whether what the kernel takes for a module is the kernel's to give back

    def __init__(
        self,
        release: str | Profile | None = None,
        *,
        permissive: bool = False,
        smap: bool = True,
        cmdline: str = "",
        modules: str | os.PathLike[str] | None = None,
        sanitize: str = "default",
        limits: Limits | None = None,
    ) -> None:
        self._sanitize = Level(sanitize)
        super().__init__(release, permissive=permissive, cmdline=cmdline)
        self.memory.smap = smap
        self._install(None if modules is None else os.path.abspath(modules))
        self.ended: list[str] = []
        self._userland: Userland | None = None
        self.sched.on_death = lambda task, death: last_steps(self, task, death)
        self.usage.limits = limits or Limits()
        self._settle()

    def _load_base(self) -> None:
        import kmod_emu.handlers  # noqa: F401 - importing them registers their exports

        super()._load_base()

    def _settle(self) -> None:
        """Everything is in place: saved machines and snapshots are what differs from here."""
        self.snapshots.take()

    def _install(self, modules: str | None) -> None:
        """Boot what is beside the core: the subsystems that modules register with, and /proc."""
        from kmod_emu import stub

        stub.install(self, modules)

    def install_beside_modules(self, modules: str | None) -> None:
        """What watches modules and finds more of them, on every base kernel."""
        self.findings.source_line = self._source_line
        self.add(Unloaded(self))
        if self._sanitize is not Level.OFF:
            self.add(self.sanitizer)
        self.add(Kmod(self, self._modprobe, modules))

    @cached_property
    def sanitizer(self) -> Sanitizer:
        """What watches modules. Where nothing is checked it is made when something shall fail."""
        from kmod_emu.sanitize.sanitizer import Sanitizer

        sanitizer = Sanitizer(self, self._sanitize)
        sanitizer.ledger.only_direct = self._only_direct_leaks
        return sanitizer

    # --- modules ------------------------------------------------------------------------------------

    def insmod(self, module: str | os.PathLike[str] | bytes, params: str = "", *, uid: int = 0) -> Module:
        """Load a module with init_module(2), called by a process of its own.

        Args:
            module: Path of a .ko file on the host, or its bytes.
            params: "name=value name=value".
            uid: Who calls.

        Raises:
            KernelError: The system call failed; `.explanation` says why.
            OSError: The file cannot be read.
        """
        image = module if isinstance(module, bytes) else Path(module).read_bytes()
        with self.process(uid=uid, comm="insmod") as process:
            process.init_module(image, params)
        loaded = self[Modules].loaded_by(process.pid)
        assert loaded is not None
        return loaded

    def _modprobe(self, name: str) -> Task:
        """Start the modprobe that request_module() wants."""
        from kmod_emu.kmod.helper import spawn

        return spawn(self, name)

    def rmmod(self, name: str, flags: int = O_NONBLOCK, *, uid: int = 0) -> None:
        """Unload a module with delete_module(2).

        Raises:
            KernelError: The system call failed.
        """
        with self.process(uid=uid, comm="rmmod") as process:
            process.delete_module(name, flags)

    @property
    def modules(self) -> list[Module]:
        """Modules that lsmod shows, newest first."""
        return self[Modules].formed()

    def _repr_html_(self) -> str:
        """For notebooks: the modules, and the end of the log."""
        from kmod_emu.html import table

        rows = ((name, size, count, ", ".join(users)) for name, size, count, users in self[Modules].rows())
        title = f"Linux {self.profile.release}, {self.clock.now_ns / NSEC_PER_SEC:.6f} s after boot"
        log = [(line,) for line in self.dmesg()[-_LAST_LINES:]]
        return table(title, ("module", "size", "used", "by"), rows) + table("", ("log",), log)

    def dmesg(self) -> list[str]:
        """Lines of the kernel log since the last clear, without time stamps."""
        return self.printk.lines()

    def advance(self, seconds: float) -> None:
        """Let virtual time pass: threads, timers and deferred work go on; nobody waits for it.

        >>> from kmod_emu import Kernel
        >>> k = Kernel()
        >>> before = k.clock.now_ns
        >>> k.advance(3600)
        >>> k.clock.now_ns - before
        3600000000000
        """
        self.sched.advance(round(seconds * NSEC_PER_SEC))

    def device(
        self,
        *,
        ports: int | None = None,
        mmio: int | None = None,
        size: int = 1,
        irq: int | None = None,
        platform: str | None = None,
        i2c: int | None = None,
        spi: int | None = None,
        bus: int = 0,
        name: str | None = None,
        pci: str | None = None,
        class_code: int = 0xFF0000,
        subsystem: str = "0000:0000",
        bars: Sequence[int | tuple[str, int]] = (),
        usb: str | None = None,
        vectors: int = 0,
    ) -> Callable[[Any], Any]:
        """Decorator: a Python model of a device answers the guest's port or memory accesses.

        It has `read(offset, size)` and `write(offset, size, value)`, both for 1, 2 and 4 bytes. With `save()`
        and `load(state)`, of plain data, what it keeps is part of snapshots and saved machines; in one that
        was loaded, the device that is plugged in with the same arguments is the one that was there.

        Args:
            ports: Its first port.
            mmio: Its first physical address, for modules that ioremap() it.
            size: How many addresses it has, of either kind.
            irq: The line that it raises; the machine gets one above 15 that way.
            platform: Name of a platform device with these resources: a driver of that name is probed.
            i2c: Its address on an I2C bus. `read(register, count)` gives bytes then, or a number, and
                `write(register, data)` takes bytes.
            spi: Its chip select on an SPI bus. `transfer(data)` takes a message and gives as many bytes.
            bus: Which I2C or SPI bus.
            name: What kind of chip it is: a driver that knows the name is probed. Without, it only answers.
            pci: Vendor and device of a PCI card, "8086:100e". The methods are `read(bar, offset, size)` and
                `write(bar, offset, size, value)` then. The stub kernel has no PCI bus.
            class_code: What kind of card: 0x020000 is an Ethernet card.
            subsystem: Vendor and device of its board.
            bars: Sizes of its base addresses: of memory, or ("ports", size).
            usb: Vendor and product of a USB device, "1209:0001" (devices/usb.py says what it has to have).
            vectors: How many interrupt messages (MSI, MSI-X) a card can send; then its base addresses are
                one more.

        Raises:
            ValueError: Another device is there, or RAM, or there is no such place.

        >>> from kmod_emu import Kernel
        >>> k = Kernel()
        >>> @k.device(ports=0x300, size=4)
        ... class Register:
        ...     value = 0
        ...     def read(self, offset, size):
        ...         return self.value
        ...     def write(self, offset, size, value):
        ...         self.value = value
        >>> Register.value
        0
        """
        wiring = Wiring(
            ports,
            mmio,
            size,
            irq,
            platform,
            i2c,
            spi,
            bus,
            name,
            pci,
            class_code,
            subsystem,
            bars,
            usb,
            vectors,
        )

        def attach(model: Any) -> Any:
            device = model() if isinstance(model, type) else model
            self[Board].plug(device, wiring)
            return device

        return attach

    def unplug(self, model: Any) -> None:
        """Take a device out while the machine runs: its driver's remove() runs.

        Args:
            model: As `device` was given it.

        Raises:
            ValueError: It is not there.
        """
        self[Board].unplug(model)

    def gpio(self, base: int = 0, count: int = 32, changed: Callable[[int, int], None] | None = None) -> None:
        """Give the machine GPIO lines.

        Args:
            base: The number of the first.
            count: How many.
            changed: Called with number and level whenever a driver sets one.

        Raises:
            ValueError: It has some.
        """
        self[Gpios].make(base, count)
        if changed is not None:
            self[Gpios].changed = changed

    def set_gpio(self, number: int, value: int, after: float = 0) -> None:
        """The world sets a GPIO line: a button is pressed; the interrupt of that edge comes.

        Args:
            number: Which.
            value: 0 or 1.
            after: In how many seconds of virtual time.

        Raises:
            LookupError: The machine has no such line.
        """
        if self[Gpios].pin(number) is None:
            raise LookupError(f"no GPIO line {number}")
        if after:
            due = self.clock.now_ns + round(after * NSEC_PER_SEC)
            self.sched.at(due, lambda: self[Gpios].press(number, value))
            return
        self[Gpios].press(number, value)
        self._let_interrupts_come()

    def press_key(self, code: int, *, hold: bool = False) -> None:
        """Press a key of the machine's keyboard and let it go: keyboard notifiers are told.

        Args:
            code: Its key code, as in linux/input-event-codes.h: 30 is A, 42 the left Shift key.
            hold: Do not let it go; `release_key` does.
        """
        from kmod_emu.drivers.keyboard import Keyboard

        self.run(self[Keyboard].event(code, 1))
        if not hold:
            self.release_key(code)

    def release_key(self, code: int) -> None:
        """Let go of a key that is held."""
        from kmod_emu.drivers.keyboard import Keyboard

        self.run(self[Keyboard].event(code, 0))

    def notify(self, chain: str, event: int, data: int = 0) -> int:
        """Something happens that a chain of the kernel's tells of: what the last notifier answered.

        Args:
            chain: "reboot", "panic", "die" or "keyboard".
            event: As the notifiers get it: 1 is SYS_RESTART for the first.
            data: An address, or 0.

        Raises:
            LookupError: There is no such chain.

        >>> from kmod_emu import Kernel
        >>> Kernel().notify("reboot", 1)
        0
        """
        from kmod_emu.kernel.notifier_chain import call_chain, chain_place

        place = chain_place(self, chain)
        return int(self.run(call_chain(self, place, event, data))[0])

    def raise_irq(self, irq: int) -> None:
        """A device raises an interrupt line; its handlers have run when this returns, if they may.

        From Python code that the guest calls, such as a device model, they run right after it.

        Raises:
            KernelError: EINVAL, there is no such line.

        >>> from kmod_emu import Kernel
        >>> k = Kernel()
        >>> k.raise_irq(1)
        >>> "  1:          1   IO-APIC   1-edge      i8042" in k.cat("/proc/interrupts").decode()
        True
        """
        self.irqs.raise_irq(irq)
        self._let_interrupts_come()

    def _let_interrupts_come(self) -> None:
        if not self.sched.running:
            self.sched.advance(NSEC_PER_SEC // 250, idle=False)

    def _source_line(self, address: int) -> str | None:
        from kmod_emu.debug.lines import source_line

        return source_line(self, address)

    # --- processes and files --------------------------------------------------------------------------

    def process(
        self, uid: int = 0, gid: int = 0, comm: str = "sh", capabilities: int | None = None
    ) -> Process:
        """A new user process; as a context manager it exits at the end."""
        return Process(self, uid, gid, comm, capabilities)

    def cat(self, path: str, *, uid: int = 0) -> bytes:
        """Contents of a virtual file.

        Raises:
            KernelError: As opening and reading it fails.
        """
        with self.process(uid=uid, comm="cat") as process:
            return process.read_file(path)

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass: whatever waits for it meanwhile runs.

        >>> from kmod_emu import Kernel
        >>> k = Kernel()
        >>> k.sleep(60)
        >>> k.clock.now_ns >= 60 * 10**9
        True
        """
        self.run(self.sched.sleep(int(seconds * 1e9)))

    def exec(
        self,
        program: str | os.PathLike[str] | bytes,
        argv: Sequence[str | bytes] = (),
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        binds: Mapping[str, str] | None = None,
        busybox: str | os.PathLike[str] | None = None,
        uid: int = 0,
        time_limit: float | None = None,
    ) -> ExecResult:
        """Run an x86-64 Linux program in ring 3 of the machine and wait for it.

        Args:
            program: A path on the machine, or the bytes of an ELF file or script.
            argv: Its arguments, without its own name.
            env: Its environment; a plain one if None.
            stdin: What it reads.
            binds: What to show of the host, {path there: path on the machine}; it may be changed.
            busybox: A static busybox of the host: becomes /bin/busybox with its applets.
            uid: Who runs it.
            time_limit: Processor seconds after which it is killed.

        Returns:
            Status (128 and the signal, if one ended it), stdout and stderr.

        Raises:
            KernelError: The program cannot be run.
        """
        userland = self.userland
        if busybox is not None:
            userland.install_busybox(busybox)
        for host, place in (binds or {}).items():
            userland.bind(Path(host), place, "rw")
        path = "/run/program" if isinstance(program, bytes) else str(program)
        if isinstance(program, bytes):
            userland.put_file(path, program, lent=True)
        words = [Path(path).name, *argv]
        result = userland.execute(path, words, env=env, stdin=stdin, uid=uid, time_limit=time_limit)
        userland.give_back()
        return result

    @property
    def userland(self) -> Userland:
        """What runs programs on the machine and gives them files."""
        if self._userland is None:
            from kmod_emu.user.userland import Userland

            self._userland = Userland(self)
        return self._userland

    def drivers(self, *, everything: bool = False) -> list[Driver]:
        """Character devices that modules registered, with the functions behind their operations.

        Args:
            everything: Those of the base kernel, too.
        """
        from kmod_emu.drivers.table import dev_func_i_table

        return dev_func_i_table(self, everything=everything)

    # --- state --------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Remember this moment; costs the pages written from here on.

        >>> from kmod_emu import Kernel, samples
        >>> k = Kernel()
        >>> before = k.snapshot()
        >>> m = k.insmod(samples.path("hello"))
        >>> k.restore(before)
        >>> k.modules, k.dmesg()
        ([], [])
        """
        return Snapshot(self.snapshots.take(), self.save_tables())

    def restore(self, snapshot: Snapshot) -> None:
        """Make the machine what it was at `snapshot`; other snapshots stay valid."""
        self.snapshots.restore(snapshot.memory)
        self.load_tables(snapshot.tables)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the machine to a file.

        Exports added from Python are not part of it, nor programs that run, nor what the host lends:
        directories bound, busybox, a program given as bytes.

        Raises:
            OSError: The file cannot be written; an older one stays as it was.
        """
        from kmod_emu.kernel import state

        with self[Vfs].without_lent():
            state.save(self, path, self.profile.release, self._notes())

    def _notes(self) -> dict[str, Any]:
        """What can be read of a saved machine without loading it."""
        return {
            "release": self.profile.release,
            "now_ns": self.clock.now_ns,
            "modules": self[Modules].rows(),
            **self.made(),
        }

    def made(self) -> dict[str, str]:
        """With what a machine like this one is made, beside its release."""
        return {"sanitize": self._sanitize.value}

    @classmethod
    def _booted_for(cls, saved: Saved, permissive: bool) -> Self:
        """A machine just booted, as the one was that was saved."""
        return cls(saved.release, permissive=permissive, sanitize=saved.notes.get("sanitize", "default"))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, permissive: bool = False) -> Self:
        """A machine from a file that `save` wrote, of the class that it was of.

        Processes that it had are ended, `ended` says which.

        Raises:
            KernelError: It is no such file, or damaged, or of another version; or the class is that of
                another kind of machines.
            OSError: It cannot be read.
        """
        from kmod_emu.kernel import state, statefile

        saved = state.Saved(path)
        found: type[Any] = class_of(saved.notes)
        if found.kind == cls.kind:  # or a class that somebody derived from it
            found = cls
        elif not issubclass(found, cls):
            raise KernelError(errno.EINVAL, f"{path} holds a {found.kind} machine, not a {cls.kind} one")
        with statefile.understood(path):
            kernel: Self = found._booted_for(saved, permissive)
            saved.apply(kernel)
            kernel._end_processes()
        return kernel

    def _end_processes(self) -> None:
        """Nobody has the processes of a machine that was saved: they end, and their files are closed."""
        for task in list(self.tasks.by_pid.values()):
            if task.mm is None or task.dead:
                continue
            name, files = f"{task.comm} (pid {task.pid})", dict.fromkeys(self._open_files(task))
            if not comes_back(self, task):
                self.ended.append(f"{name} cannot end with the machine that was saved: no signal reaches it")
                continue
            self.ended.append(
                f"{name} ended with the machine that was saved"
                + (f"; it had {', '.join(files)} open" if files else "")
            )
            self._end(task)

    def _end(self, task: Task) -> None:
        """End a process, whatever it was doing."""
        from kmod_emu.net.netlink import Netlink

        close_all(self, task)
        if not task.dead:
            self.tasks.exit(task)
        if self[Netlink].orphans:
            self.run(self[Netlink].bury())

    def _open_files(self, task: Task) -> list[str]:
        """Paths of files of drivers that a process has open."""
        return [file.dentry.path for file in self[Vfs].files(task).files.values() if file.address]
