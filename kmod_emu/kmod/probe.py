"""Loading and removing modules with what they need (kmod 30, tools/modprobe.c and libkmod's probe_insert)."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, Killed
from kmod_emu.fs.syslog import Syslog
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.files import read_module
from kmod_emu.module.modules import Modules, ModuleState
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_NONBLOCK, O_TRUNC
from kmod_emu.user.process import Process

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kmod.console import Console
    from kmod_emu.kmod.context import Context, KmodModule
    from kmod_emu.kmod.files import ModuleFile

CRITICAL, ERROR, WARNING, INFO = 2, 3, 4, 6  # syslog's
_NAMES = {CRITICAL: "FATAL", ERROR: "ERROR", WARNING: "WARNING", INFO: "INFO"}
IGNORE_MODVERSIONS, IGNORE_VERMAGIC = 1, 2
_TRIVIAL = (("true", 0), ("false", 1))
_OPTS = "$CMDLINE_OPTS"
_KNOWN_COMMANDS = {
    f"{place}{name}": status for place in ("", "/bin/", "/usr/bin/") for name, status in _TRIVIAL
}


@dataclass
class Options:
    """What modprobe is asked to do and how.

    Attributes:
        flags: IGNORE_MODVERSIONS and IGNORE_VERMAGIC.
        force: Removal even if in use.
        show: Print what is done.
        level: Up to which priority messages are printed.
        not_found: Priority of messages about names; a CRITICAL one ends the command.
        run: Run install and remove commands on this computer.
        syslog: Messages go to the machine's system log.
        explain: Errors are explained.
    """

    all: bool = False
    flags: int = 0
    force: bool = False
    dry_run: bool = False
    show: bool = False
    ignore_loaded: bool = False
    ignore_commands: bool = False
    lookup_only: bool = False
    first_time: bool = False
    use_blacklist: bool = False
    remove_holders: bool = False
    wait: int = 0
    run: bool = False
    syslog: bool = False
    explain: bool = False
    level: int = WARNING
    not_found: int = CRITICAL


class Log:
    """modprobe's messages.

    Args:
        console: Where they go.
        options: Which are printed.
        kernel: The machine.

    Attributes:
        reasons: What --explain prints behind the next message.
    """

    def __init__(self, console: Console, options: Options, kernel: KernelCore) -> None:
        self._console, self._options, self._kernel = console, options, kernel
        self.reasons: list[str] = []

    def say(self, priority: int, text: str) -> None:
        """A message.

        Raises:
            ToolError: It is critical.
        """
        if priority > self._options.level:
            return
        tool, line = self._console.tool, f"{_NAMES[priority]}: {text}"
        if self._options.syslog:
            self._kernel[Syslog].log(tool, line)
        elif priority != CRITICAL:
            self._console.err(f"{tool}: {line}")
        while self.reasons:
            self._console.err(f"kmod-emu: {self.reasons.pop(0)}")
        if priority == CRITICAL:
            raise ToolError("" if self._options.syslog else f"{tool}: {line}")

    def about(self, text: str) -> None:
        """A message about what the user named: without -a the last one.

        Raises:
            ToolError: There is no -a.
        """
        self.say(self._options.not_found, text)

    def library(self, where: str, text: str, priority: int = ERROR) -> None:
        """One of libkmod's messages, with the line and function it comes from."""
        self.say(priority, f"../libkmod/libkmod-module.c:{where} {text}")


def steps(context: Context, module: KmodModule, *, ignore_commands: bool = False) -> list[KmodModule]:
    """All modules to load, in order; soft dependencies of several may come more than once."""
    found: list[KmodModule] = []
    for known in context.modules():
        known.visited = known.required = False
    _visit(module, found, required=True, ignore_command=ignore_commands)
    return found


def _visit(
    module: KmodModule, found: list[KmodModule], *, required: bool = False, ignore_command: bool = False
) -> None:
    if module.visited:
        return
    module.visited = True
    deps = module.dependencies()
    if required:
        for needed in (module, *deps):
            needed.required = True
    for dep in deps:
        _with_softdeps(dep, found)
    if ignore_command:
        found.append(module)
        module.ignore_command = True
    else:
        _with_softdeps(module, found)


def _with_softdeps(module: KmodModule, found: list[KmodModule]) -> None:
    pre, post = module.softdeps()
    for softdep in pre:
        _visit(softdep, found)
    found.append(module)
    module.ignore_command = bool(pre or post)
    for softdep in post:
        _visit(softdep, found)


class Prober:
    """modprobe at work.

    Args:
        console: Where it prints.
        kernel: The machine.
        context: The module directory.
        options: What to do.
        log: Where it complains.
        load: Makes the kernel load a file with parameters and flags; gives 0 or an errno.
    """

    def __init__(
        self,
        console: Console,
        kernel: KernelCore,
        context: Context,
        options: Options,
        log: Log,
        load: Callable[[ModuleFile, str, int], Awaitable[int]],
    ) -> None:
        self._console, self._kernel, self._context = console, kernel, context
        self._options, self._log, self._load = options, log, load

    # --- loading ------------------------------------------------------------------------------------

    async def insert(self, name: str, extra: str = "") -> int:
        """Load what a name means; 0 or an errno.

        Args:
            name: A module's name or alias.
            extra: Parameters for it.
        """
        modules = self._context.lookup(name)
        if not modules:
            self._log.about(f"Module {name} not found in directory {self._context.directory}")
            return errno.ENOENT
        error = 0
        for module in modules:
            if self._options.lookup_only:
                self._console.out(f"{module.name}\n")
            else:
                error = await self._insert(module, extra)
            if error:
                self._log.say(ERROR, f"could not insert '{module.name}': {_insert_text(error)}")
        return error

    async def _insert(self, module: KmodModule, extra: str) -> int:
        options = self._options
        if not options.ignore_loaded and self._in_kernel(module):
            return errno.EEXIST if options.first_time else 0
        if (module.alias is not None or options.use_blacklist) and module.blacklisted:
            return 0
        error = 0
        for step in steps(self._context, module, ignore_commands=options.ignore_commands):
            if not options.ignore_loaded and self._in_kernel(step):
                error = errno.EEXIST
            else:
                error = await self._one(step, extra if step is module else "", error)
            if error == errno.EEXIST and step is module and options.first_time:
                break
            if error == errno.EEXIST or not step.required:
                error = 0
            elif error:
                break
        return error

    async def _one(self, module: KmodModule, extra: str, error: int) -> int:
        """Load one module or do what the configuration wants instead."""
        configured = module.options
        params = (f"{configured} " if configured else "") + extra
        command = module.install_command if not module.ignore_command else None
        self._show(module, command, params)
        if self._options.dry_run:
            return error
        if command is None:
            return await self._insmod(module, params)
        command = command.replace(_OPTS, params)
        status = self._run(module, "install", command)
        if status:
            said = f"Error running install command '{command}' for module {module.name}: retcode {status}"
            self._log.library("1047 command_do()", said)
            return errno.EINVAL
        return 0

    def _show(self, module: KmodModule, command: str | None, params: str) -> None:
        if not self._options.show:
            return
        path = module.find_path()
        if command is not None:
            self._console.out(f"install {command} {params}\n")
        elif path is not None:
            self._console.out(f"insmod {path} {params}\n")
        elif module.is_builtin():
            self._console.out(f"builtin {module.name}\n")

    async def _insmod(self, module: KmodModule, params: str) -> int:
        path = module.find_path()
        if path is None:
            said = f"could not find module by name='{module.name}'"
            self._log.library("895 kmod_module_insert_module()", said)
            return errno.ENOENT
        try:
            file = read_module(path)
        except OSError as failure:
            return failure.errno or errno.EINVAL
        error = await self._load(file, params, self._options.flags)
        if error:
            said = f"Failed to insert module '{path}': {errno.strerror(error)}"
            self._log.library("949 kmod_module_insert_module()", said, INFO)
        return error

    # --- removing -----------------------------------------------------------------------------------

    def remove(self, name: str) -> int:
        """Remove what a name means; 0 or an errno."""
        modules = self._context.lookup(name)
        error = 0
        if modules is None:
            return errno.EINVAL
        if not modules:
            self._log.about(f"Module {name} not found.")
            error = errno.ENOENT
        for module in modules:
            error = self._remove(module, holders=self._options.remove_holders)
            if error:
                break
        return error

    def _remove(self, module: KmodModule, *, holders: bool = False, softly: bool = False) -> int:
        """Remove a module, what came after it, and then what nobody needs any more.

        Args:
            module: The module.
            holders: First remove what uses it.
            softly: Not the one that was named: one that the kernel has in itself is left without a word.
        """
        options = self._options
        pre: list[KmodModule] = []
        post: list[KmodModule] = []
        command = None
        if not options.ignore_commands:
            pre, post = module.softdeps()
            command = module.remove_command
        checks = command is None and not options.ignore_loaded
        if checks and (done := self._not_there(module, softly)) is not None:
            return done
        self._remove_all(post)
        if holders and (error := self._remove_holders(module)):
            return error
        if checks and not options.wait and (self._refcnt(module) or 0) > 0:
            self._log.about(f"Module {module.name} is in use.")
            return errno.EBUSY
        error = self._run_remove(module, command) if command is not None else self._delete(module)
        if error:
            return error
        if command is None:
            for dep in module.dependencies():
                if self._refcnt(dep) == 0:
                    self._delete(dep)
        self._remove_all(pre)
        return 0

    def _not_there(self, module: KmodModule, softly: bool) -> int | None:
        """The result for a module that need not be removed, None for one that has to be."""
        if module.is_builtin():
            if softly:
                return 0
            self._log.about(f"Module {module.name} is builtin.")
            return errno.ENOENT
        if self._kernel[Modules].find(module.name) is not None:
            return None
        if self._options.first_time:
            self._log.about(f"Module {module.name} is not in kernel.")
            return errno.ENOENT
        return 0

    def _remove_all(self, modules: list[KmodModule]) -> None:
        """Remove soft dependencies, last first; errors do not count."""
        for module in reversed(modules):
            self._remove(module, softly=True)

    def _remove_holders(self, module: KmodModule) -> int:
        there = self._kernel[Modules].find(module.name)
        for holder in reversed(there.users if there else []):
            error = self._remove(self._context.module(holder.name), softly=True)
            if error:
                return error
        return 0

    def _run_remove(self, module: KmodModule, command: str) -> int:
        command = command.replace(_OPTS, "")
        if self._options.show:
            self._console.out(f"remove {command}\n")
        if self._options.dry_run:
            return 0
        status = self._run(module, "remove", command)
        if status:
            self._log.about(f"Error running remove command for {module.name}")
        return status

    def _delete(self, module: KmodModule) -> int:
        if self._options.show:
            self._console.out(f"rmmod {module.name}\n")
        if self._options.dry_run:
            return 0
        flags = O_NONBLOCK | (O_TRUNC if self._options.force else 0)
        with Process(self._kernel, comm=self._console.tool) as process:
            error = _call(lambda: process.delete_module(module.name, flags))
        if error and self._options.wait:  # nobody else runs on this machine, so waiting changes nothing
            self._log.say(ERROR, f"could not remove '{module.name}': {errno.strerror(error)}")
        elif error:
            said = f"could not remove '{module.name}': {errno.strerror(error)}"
            self._log.library("856 kmod_module_remove_module()", said)
        return error

    # --- the machine --------------------------------------------------------------------------------

    def _in_kernel(self, module: KmodModule) -> bool:
        if module.is_builtin():
            return True
        there = self._kernel[Modules].find(module.name)
        return there is not None and there.state is ModuleState.LIVE

    def _refcnt(self, module: KmodModule) -> int | None:
        there = self._kernel[Modules].find(module.name)
        return None if there is None else there.refcnt

    def _run(self, module: KmodModule, kind: str, command: str) -> int:
        """Run a command if that is allowed, else tell it; its exit status."""
        if command.strip() in _KNOWN_COMMANDS:
            return _KNOWN_COMMANDS[command.strip()]
        if not self._options.run:
            self._log.say(
                WARNING, f"{kind} command of {module.name} not run, --run-commands would: {command}"
            )
            return 0
        environment = os.environ | {"MODPROBE_MODULE": module.name}
        return subprocess.run(command, shell=True, env=environment, check=False).returncode


def insmod(kernel: KernelCore, file: ModuleFile, params: str, flags: int) -> None:
    """Load a module in a modprobe process of its own.

    Raises:
        KernelError: As the system call fails.
    """
    with Process(kernel, comm="modprobe") as process:
        if file.compressed and not flags:
            process.init_module(file.image, params)
        else:
            process.finit_module(file.image, params, flags)


def _call(system_call: Callable[[], None]) -> int:
    """Make a system call; 0 or its errno."""
    try:
        system_call()
    except Killed:
        raise
    except KernelError as error:
        return error.errno
    return 0


def _insert_text(number: int) -> str:
    if number == errno.EEXIST:
        return "Module already in kernel"
    if number == errno.ENOENT:
        return "Unknown symbol in module, or unknown parameter (see dmesg)"
    return errno.strerror(number)
