"""`ClassicKernel`: a machine that loads modules as Linux 2.4 did."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from kmod_emu.abi import profile as profiles
from kmod_emu.api import Kernel
from kmod_emu.classic import char_dev, exports, kmod, procfs
from kmod_emu.classic.char_dev import ClassicCharDevices
from kmod_emu.classic.exports import versioned
from kmod_emu.classic.kmod import ModuleLoader
from kmod_emu.classic.link import bare
from kmod_emu.classic.modules import ModuleList
from kmod_emu.classic.structs import RELEASE, STRUCTS
from kmod_emu.classic.syscalls import system_calls
from kmod_emu.fs.mount import mount_all
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.exports import Fidelity, symbol_name
from kmod_emu.net.install import install as install_net
from kmod_emu.stub import install_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.state import Saved

MODULES_START = 0xFFFF_FFFF_A000_0000
VERSION = "#1 Wed Nov 16 22:12:54 UTC 2005"


def classic_profile() -> profiles.Profile:
    """The profile of the base kernel under another name, with the structures that 2.4's modules see."""
    profile = profiles.load().standing_for(RELEASE, f"{RELEASE} ", STRUCTS, {}, modversions=False)
    profile.version = VERSION
    profile.banner = f"Linux version {RELEASE} (kmod-emu) {VERSION}"
    return profile


class ClassicKernel(Kernel):
    """A booted machine of the 2.4 personality.

    Processor, memory, printk, processes and files are those of `Kernel`; the system calls on modules, what
    modules may import, and the table of character devices are those of the time.

    Args:
        versions: Whether the kernel's symbols carry versions, as `printk_R1b7d4074` (CONFIG_MODVERSIONS).
        modules: The machine's /lib/modules/2.4.32, for modprobe: a directory of the host.
        permissive: Let unimplemented functions return 0 instead of ending the calling task.

    >>> from kmod_emu import samples
    >>> from kmod_emu.classic import ClassicKernel
    >>> k = ClassicKernel()
    >>> k.insmod(samples.classic("hello"))
    >>> "hello" in k.cat("/proc/modules").decode()
    True
    >>> k.dmesg()
    ['Hello world!']
    >>> k.rmmod("hello")
    """

    kind = "classic"
    modules_start = MODULES_START

    def __init__(
        self,
        *,
        versions: bool = False,
        modules: str | os.PathLike[str] | None = None,
        permissive: bool = False,
    ) -> None:
        self.versions = versions
        super().__init__(classic_profile(), permissive=permissive, smap=False, modules=modules)

    def _install(self, modules: str | None) -> None:
        """The module subsystem of 2.4, and the files that show it."""
        proc, _ = mount_all(self)
        install_net(self, proc)
        self[Vfs].umount("/sys")  # sysfs came with 2.6
        more = {**char_dev.EXPORTS, **kmod.EXPORTS}
        self.add(ModuleList(self, exports.export_table(self, more, versions=self.versions)))
        self.add(ClassicCharDevices(self))
        self.add(ModuleLoader(self, modules))
        self.own_syscalls.update(system_calls())
        self.taint.debug_locks = False  # no such thing yet
        procfs.install(self, proc)
        install_programs(self, proc)

    def insmod(  # type: ignore[override]
        self, module: str | os.PathLike[str], params: Sequence[str] | str = (), *, uid: int = 0
    ) -> None:
        """Link and load a module with the insmod of the time.

        Args:
            module: Path of an object file on the host.
            params: "name=value" each, or several separated by blanks.
            uid: Who calls.

        Raises:
            ToolError: insmod's messages; `__cause__` is the system call's KernelError, if one failed.
        """
        from kmod_emu.classic.insmod import Options, load
        from kmod_emu.classic.program import Program, execute

        words = params.split() if isinstance(params, str) else list(params)
        with self.process(uid=uid, comm="insmod") as process:
            execute(process, load(Program(process), os.fspath(module), words, Options()))

    def rmmod(self, name: str, flags: int = 0, *, uid: int = 0) -> None:
        """Unload a module with delete_module(2).

        Raises:
            KernelError: The system call failed.
        """
        with self.process(uid=uid, comm="rmmod") as process:
            process.delete_module(name, flags)

    def symbol(self, name: str) -> int:
        """Address of what the kernel or a module exports, with or without its version; else as `Kernel`'s.

        Raises:
            LookupError: There is none of that name.

        >>> k = ClassicKernel(versions=True)
        >>> k.symbol("printk") == k.symbol("printk_R1b7d4074")
        True
        """
        for modules in (part for part in self._subsystems.values() if isinstance(part, ModuleList)):
            for module in (modules.kernel_module, *modules):
                for value, exported in modules.symbols(module):
                    if name in (exported, bare(exported, "")):
                        return value
        return super().symbol(name)

    def export(
        self, prototype: str, fidelity: Fidelity = Fidelity.EXACT
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: add an export to the kernel's `__ksymtab`, or replace one; not kept in a saved machine.

        >>> k = ClassicKernel()
        >>> @k.export("int twice(int x)")
        ... def twice(kernel, x):
        ...     return 2 * x
        >>> k.call(k.symbol("twice"), 21)
        42
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            super(ClassicKernel, self).export(prototype, fidelity)(function)
            name = versioned(prototype) if self.versions else symbol_name(prototype)
            self[ModuleList].export(name, super(ClassicKernel, self).symbol(symbol_name(prototype)))
            return function

        return register

    @property
    def modules(self) -> list[StructView]:  # type: ignore[override]
        """The `struct module` of each module, newest first."""
        return list(self[ModuleList])

    def _notes(self) -> dict[str, Any]:
        """What can be read of a saved machine without loading it."""
        return {
            "release": RELEASE,
            "now_ns": self.clock.now_ns,
            "modules": self[ModuleList].rows(),
            "versions": self.versions,
        }

    @classmethod
    def _booted_for(cls, saved: Saved, permissive: bool) -> Self:
        """A machine just booted, as the one was that was saved."""
        return cls(versions=saved.notes["versions"], permissive=permissive)
