"""The system calls on modules of Linux 2.4 (kernel/module.c).

The kernel hands out memory, checks the header of the image that comes back, and runs it. It links nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.classic.header import check_header
from kmod_emu.classic.modules import ModuleList
from kmod_emu.classic.structs import (
    INFO,
    KERNEL_SYM,
    MOD_AUTOCLEAN,
    MOD_DELETED,
    MOD_INITIALIZING,
    MOD_JUST_FREED,
    MOD_RUNNING,
    MOD_USED_ONCE,
    MOD_VISITED,
    MODULE,
    QM_DEPS,
    QM_INFO,
    QM_MODULES,
    QM_REFS,
    QM_SYMBOLS,
    SYMBOL,
)
from kmod_emu.errors import KernelError
from kmod_emu.kernel.syscalls import make_entry
from kmod_emu.kernel.tasks import CAP_SYS_MODULE
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.syscalls import Entry, SystemCall

_HEADER_SLACK = 16 * 8  # how much longer than ours the header of a newer insmod may be
_SYM_NAME = 59


def system_calls() -> dict[int, Entry]:
    """By their numbers on x86-64."""
    calls: dict[int, SystemCall] = {
        174: sys_create_module,
        175: sys_init_module,
        176: sys_delete_module,
        177: sys_get_kernel_syms,
        178: sys_query_module,
    }
    return {number: make_entry(function) for number, function in calls.items()}


def require_capability(kernel: KernelCore) -> None:
    """Only CAP_SYS_MODULE may; asked before anything is looked at.

    Raises:
        KernelError: EPERM.
    """
    task = kernel.sched.current
    capable = task.capable(CAP_SYS_MODULE)
    kernel.events.emit("may_init_module", uid=task.uid, capable=capable, disabled=False)
    if not capable:
        raise KernelError(errno.EPERM, f"uid {task.uid} has no CAP_SYS_MODULE: only root may load modules")


def get_mod_name(kernel: KernelCore, address: int) -> str:
    """A module's name from user memory.

    Raises:
        KernelError: EFAULT, EINVAL for an empty one, ENAMETOOLONG for a page or more.
    """
    try:
        raw = kernel.user.strndup(address, PAGE_SIZE)
    except KernelError as error:
        if error.errno == errno.EINVAL:
            raise KernelError(errno.ENAMETOOLONG, "the name is as long as a page") from None
        raise
    if not raw:
        raise KernelError(errno.EINVAL, "the name is empty")
    return raw.decode("utf-8", "surrogateescape")


def _find(kernel: KernelCore, name: str) -> StructView:
    module = kernel[ModuleList].find(name)
    if module is None:
        raise KernelError(errno.ENOENT, f"no module is called {name}")
    return module


def _give(kernel: KernelCore, address: int, data: bytes) -> None:
    if kernel.user.write(address, data) != len(data):
        raise KernelError(errno.EFAULT, f"{address:#x} is not writable")


# --- create_module ----------------------------------------------------------------------------------------


async def sys_create_module(kernel: KernelCore, name_user: int, size: int) -> int:
    """Reserve memory for a module and put it on the list, uninitialised: its address."""
    require_capability(kernel)
    modules, name = kernel[ModuleList], get_mod_name(kernel, name_user)
    raw = name.encode("utf-8", "surrogateescape") + b"\0"
    if size < MODULE.size + len(raw):
        raise KernelError(errno.EINVAL, f"{size} bytes hold no struct module and name")
    if modules.find(name) is not None:
        raise KernelError(errno.EEXIST, f"{name} is on the list already")
    address = kernel.module_area.allocate(size, READ | WRITE | EXEC)
    if not address:
        raise KernelError(errno.ENOMEM, f"no room for {size} bytes of module memory")
    module = modules.view(address)
    module.size_of_struct, module.name, module.size = MODULE.size, address + MODULE.size, size
    kernel.memory.write(module.name, raw)
    modules.insert(module)
    names = [modules.name(each) for each in modules]
    kernel.events.emit("classic_create_module", name=name, size=size, address=address, list=names)
    return address


# --- init_module ------------------------------------------------------------------------------------------


async def sys_init_module(kernel: KernelCore, name_user: int, mod_user: int) -> int:
    """Take the finished image of a module that create_module(2) made room for, and run its init."""
    require_capability(kernel)
    modules, memory, name = kernel[ModuleList], kernel.memory, get_mod_name(kernel, name_user)
    module = _find(kernel, name)
    size = int.from_bytes(kernel.user.copy_from(mod_user, 8), "little")
    if not MODULE.offset("persist_start") <= size <= MODULE.size + _HEADER_SLACK:
        kernel.printk.emit("init_module: Invalid module header size.\n", 3)
        kernel.printk.emit("A new version of the modutils is likely needed.\n", 3)
        raise KernelError(errno.EINVAL, f"no struct module has {size} bytes")
    before, old_name = memory.read(module.address, MODULE.size), memory.read_cstring(module.name) + b"\0"
    try:
        header = kernel.user.copy_from(mod_user, size)
        memory.write(module.address, header)
        check_header(kernel, module, int.from_bytes(before[24:32], "little"), len(old_name) - 1)
        _check_name(kernel, module, mod_user, name)
        if module.size < size:
            raise KernelError(errno.EFAULT, "the image is shorter than its header")
        rest = kernel.user.copy_from(mod_user + size, module.size - size)
        memory.write(module.address + size, rest)
        module.next, module.refs = int.from_bytes(before[8:16], "little"), 0
        _check_deps(kernel, module)
    except KernelError:
        memory.write(module.address, before)
        memory.write(module.name, old_name)
        raise
    kernel.events.emit(
        "classic_copy_module_image", name=name, size=module.size, address=module.address, source=mod_user,
        header=size, symbols=module.nsyms,
    )  # fmt: skip
    for dep in modules.deps(module):
        used = modules.view(dep.dep)
        dep.ref, dep.next_ref = module.address, used.refs
        used.refs = dep.address
        used.flags |= MOD_USED_ONCE
    kernel.events.emit("classic_link_references", name=name, uses=modules.uses(module))
    return await _run_init(kernel, module, name)


def _check_name(kernel: KernelCore, module: StructView, mod_user: int, name: str) -> None:
    """The name in the image must be the one that the memory was reserved under.

    Raises:
        KernelError: EINVAL, or as reading the name fails.
    """
    try:
        new = get_mod_name(kernel, module.name - module.address + mod_user & (1 << 64) - 1)
    except KernelError:
        kernel.printk.emit("init_module: get_mod_name failure.\n", 3)
        raise
    if new != name:
        raw = f"init_module: changed module name to `{new}' from `{name}'\n"
        kernel.printk.emit(raw.encode("utf-8", "surrogateescape"), 3)
        raise KernelError(errno.EINVAL, f"the image is called {new}, the memory was reserved for {name}")


def _check_deps(kernel: KernelCore, module: StructView) -> None:
    """What a module says it uses must be other modules that are there.

    Raises:
        KernelError: EINVAL.
    """
    modules = kernel[ModuleList]
    there = {other.address for other in modules} | {modules.kernel_module.address}
    for dep in modules.deps(module):
        if dep.dep == module.address:
            kernel.printk.emit("init_module: self-referential dependency in mod->deps.\n", 3)
            raise KernelError(errno.EINVAL, "the module says that it uses itself")
        if dep.dep not in there:
            text = "found dependency that is (no longer?) a module."
            kernel.printk.emit(f"init_module: {text}\n", 3)
            raise KernelError(errno.EINVAL, f"no module is at {dep.dep:#x}")


async def _run_init(kernel: KernelCore, module: StructView, name: str) -> int:
    """Call init; afterwards the module is running, or uninitialised again.

    Raises:
        KernelError: What init returned; the module stays on the list until somebody deletes it.
    """
    module.usecount = 1
    module.flags |= MOD_INITIALIZING
    if module.init:
        kernel.events.emit("classic_init", name=name, address=module.init)
        result = await kernel.call_guest_int(module.init)
        kernel.events.emit("classic_init_result", rc=result)
        if result:
            module.usecount = 0
            module.flags &= ~MOD_INITIALIZING
            raise KernelError(
                errno.EBUSY if result > 0 else -result, f"init_module() of {name} returned {result}"
            )
    module.usecount -= 1
    module.flags = (module.flags | MOD_RUNNING) & ~MOD_INITIALIZING
    kernel.events.emit("classic_running", name=name, size=module.size)
    return 0


# --- delete_module ----------------------------------------------------------------------------------------


async def sys_delete_module(kernel: KernelCore, name_user: int) -> int:
    """Remove a module, or without a name all autoclean modules that nobody uses."""
    require_capability(kernel)
    modules = kernel[ModuleList]
    if not name_user:
        await _sweep(kernel)
        return 0
    name = get_mod_name(kernel, name_user)
    module = _find(kernel, name)
    if module.refs:
        raise KernelError(errno.EBUSY, f"{name} is used by {', '.join(modules.users(module))}")
    if await modules.in_use(module):
        raise KernelError(errno.EBUSY, f"the use count of {name} is {module.signed('usecount')}")
    await modules.free(module, tag_freed=False)
    return 0


async def _sweep(kernel: KernelCore) -> None:
    """Free autoclean modules; one used since the last sweep gets a second chance."""
    modules, wanted = kernel[ModuleList], MOD_RUNNING | MOD_AUTOCLEAN | MOD_USED_ONCE
    changed = True
    while changed:
        changed = False
        for module in modules:
            if module.flags & (wanted | MOD_DELETED) != wanted or module.refs:
                continue
            if await modules.in_use(module):
                continue
            if module.flags & (MOD_VISITED | MOD_JUST_FREED) == MOD_VISITED:
                module.flags &= ~MOD_VISITED
                kernel.events.emit("classic_autoclean", name=modules.name(module), freed=False)
                continue
            kernel.events.emit("classic_autoclean", name=modules.name(module), freed=True)
            await modules.free(module, tag_freed=True)
            changed = True
    for module in modules:
        module.flags &= ~MOD_JUST_FREED


# --- query_module and get_kernel_syms ---------------------------------------------------------------------


async def sys_query_module(
    kernel: KernelCore, name_user: int, which: int, buf: int, bufsize: int, ret: int
) -> int:
    """Answer a question about a module, or with a NULL name about the kernel; nobody needs a privilege."""
    modules = kernel[ModuleList]
    module = modules.kernel_module
    if name_user:
        module = _find(kernel, get_mod_name(kernel, name_user))
    which &= 0xFFFF_FFFF
    if which == 0:
        return 0
    if which == QM_MODULES:
        return _answer_names(kernel, [modules.name(each) for each in modules], (buf, bufsize, ret))
    kernel_itself = module.address == modules.kernel_module.address
    if which not in (QM_DEPS, QM_REFS, QM_SYMBOLS, QM_INFO) or (kernel_itself and which != QM_SYMBOLS):
        raise KernelError(errno.EINVAL, "there is no such question")
    if which == QM_INFO:
        return _answer_info(kernel, module, (buf, bufsize, ret))
    if not modules.can_query(module):
        _give(kernel, ret, bytes(8))
        return 0
    if which == QM_SYMBOLS:
        return _answer_symbols(kernel, module, (buf, bufsize, ret))
    names = modules.uses(module) if which == QM_DEPS else modules.users(module)
    return _answer_names(kernel, names, (buf, bufsize, ret))


_Room = tuple[int, int, int]  # where the answer goes, its size, and where its length goes


def _short(kernel: KernelCore, ret: int, needed: int) -> KernelError:
    _give(kernel, ret, needed.to_bytes(8, "little"))
    return KernelError(errno.ENOSPC, f"the answer has {needed} bytes")


def _answer_names(kernel: KernelCore, names: Sequence[str], room: _Room) -> int:
    """NUL-terminated names; the number of names."""
    buf, bufsize, ret = room
    needed = 0
    raw = [name.encode("utf-8", "surrogateescape") + b"\0" for name in names]
    for text in raw:
        if needed + len(text) > bufsize:
            raise _short(kernel, ret, sum(map(len, raw)))
        _give(kernel, buf + needed, text)
        needed += len(text)
    _give(kernel, ret, len(names).to_bytes(8, "little"))
    return 0


def _answer_symbols(kernel: KernelCore, module: StructView, room: _Room) -> int:
    """Value and offset of the name of each symbol, then the names; the number of symbols."""
    buf, bufsize, ret = room
    symbols = [
        (value, name.encode("utf-8", "surrogateescape") + b"\0")
        for value, name in kernel[ModuleList].symbols(module)
    ]
    place = SYMBOL.size * len(symbols)
    needed = place + sum(len(name) for _, name in symbols)
    if needed > bufsize:
        raise _short(kernel, ret, needed)
    table, strings = bytearray(), bytearray()
    for value, name in symbols:
        table += SYMBOL.pack(value, place + len(strings))
        strings += name
    _give(kernel, buf, bytes(table + strings))
    _give(kernel, ret, len(symbols).to_bytes(8, "little"))
    return 0


def _answer_info(kernel: KernelCore, module: StructView, room: _Room) -> int:
    """Address, size, flags and use count; the size of that."""
    buf, bufsize, ret = room
    if bufsize < INFO.size:
        raise _short(kernel, ret, INFO.size)
    modules = kernel[ModuleList]
    count = -1 if modules.has_can_unload(module) else module.signed("usecount")
    _give(kernel, buf, INFO.pack(module.address, module.size, module.flags, count))
    _give(kernel, ret, INFO.size.to_bytes(8, "little"))
    return 0


async def sys_get_kernel_syms(kernel: KernelCore, table: int) -> int:
    """All symbols, with a heading for each module; without a table how many entries that makes."""
    modules = kernel[ModuleList]
    if not table:
        return sum(module.nsyms + 1 for module in modules.everything())
    done = 0
    for module in modules.everything():
        heading = module.address, f"#{modules.name(module)}"
        for value, name in (heading, *modules.symbols(module)):
            raw = name.encode("utf-8", "surrogateescape")[:_SYM_NAME]
            entry = KERNEL_SYM.pack(value, raw)
            if kernel.user.write(table + len(entry) * done, entry) != len(entry):
                return done
            done += 1
    return done
