"""System calls about the process itself: its limits, its group (kernel/sys.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import as_int
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.kernel.utsname import read_utsname, set_nodename
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_SYS_RESOURCE
from kmod_emu.user.arguments import give
from kmod_emu.user.programs import MAX_TASKS, Programs, ThreadGroup
from kmod_emu.user.syscalls_cred import prctl_capabilities

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_INFINITY = (1 << 64) - 1
_STACK, _CORE, _NPROC, _NOFILE = 3, 4, 6, 7
_LIMITS = {_STACK: (8 << 20, _INFINITY), _CORE: (0, _INFINITY), _NPROC: (MAX_TASKS, MAX_TASKS),
           _NOFILE: (1024, 4096)}  # fmt: skip
_RLIM_NLIMITS = 16
_ARCH_SET_GS, _ARCH_SET_FS, _ARCH_GET_FS, _ARCH_GET_GS = 0x1001, 0x1002, 0x1003, 0x1004
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 15, 16, 1, 3, 4
_USER_HZ = 100


def _group(kernel: KernelCore) -> ThreadGroup:
    return kernel[Programs].current.group


@syscall(39)
async def sys_getpid(kernel: KernelCore) -> int:
    """Process id."""
    task = kernel.sched.current
    program = kernel[Programs].by_pid.get(task.pid)
    return program.group.pid if program else task.pid


@syscall(186)
async def sys_gettid(kernel: KernelCore) -> int:
    """Thread id."""
    return kernel.sched.current.pid


@syscall(110)
async def sys_getppid(kernel: KernelCore) -> int:
    """The parent's process id."""
    program = kernel[Programs].by_pid.get(kernel.sched.current.pid)
    return program.group.parent.pid if program and program.group.parent else 1


@syscall(111)
async def sys_getpgrp(kernel: KernelCore) -> int:
    """Process group."""
    return _group(kernel).pgid


@syscall(121)
async def sys_getpgid(kernel: KernelCore, pid: int) -> int:
    """Process group of a process."""
    return _find_group(kernel, pid).pgid


@syscall(124)
async def sys_getsid(kernel: KernelCore, pid: int) -> int:
    """Session of a process."""
    return _find_group(kernel, pid).session


def _find_group(kernel: KernelCore, pid: int) -> ThreadGroup:
    if not as_int(pid):
        return _group(kernel)
    group = kernel[Programs].groups.get(as_int(pid))
    if group is None:
        raise KernelError(errno.ESRCH, f"there is no process {as_int(pid)}")
    return group


@syscall(109)
async def sys_setpgid(kernel: KernelCore, pid: int, pgid: int) -> int:
    """Move a process to a process group."""
    caller, group = _group(kernel), _find_group(kernel, pid)
    number = as_int(pgid) or group.pid
    if as_int(pgid) < 0:
        raise KernelError(errno.EINVAL)
    if group is not caller and group.parent is not caller:
        raise KernelError(errno.ESRCH, "that is neither the caller nor a child of it")
    if group.session != caller.session or group.session == group.pid:
        raise KernelError(errno.EPERM, "a session leader stays in its group")
    groups = kernel[Programs].groups.values()
    if number != group.pid and all(g.pgid != number or g.session != caller.session for g in groups):
        raise KernelError(errno.EPERM, f"the session has no process group {number}")
    group.pgid = number
    return 0


@syscall(112)
async def sys_setsid(kernel: KernelCore) -> int:
    """Begin a session."""
    group = _group(kernel)
    if group.pgid == group.pid:
        raise KernelError(errno.EPERM, "the caller leads a process group")
    group.session = group.pgid = group.pid
    return group.pid


# --- names, limits ------------------------------------------------------------------------------------


@syscall(63)
async def sys_uname(kernel: KernelCore, name: int) -> int:
    """What the kernel is called."""
    give(kernel, name, read_utsname(kernel))
    return 0


@syscall(170)
async def sys_sethostname(kernel: KernelCore, name: int, length: int) -> int:
    """Rename the machine."""
    if not kernel.sched.current.capable(21):  # CAP_SYS_ADMIN
        raise KernelError(errno.EPERM)
    if not 0 <= as_int(length) <= 64:
        raise KernelError(errno.EINVAL)
    hostname = kernel.user.copy_from(name, as_int(length))
    kernel.sysctl.values["hostname"] = hostname.decode("utf-8", "replace")
    set_nodename(kernel, hostname)
    return 0


@syscall(99)
async def sys_sysinfo(kernel: KernelCore, info: int) -> int:
    """Memory and uptime."""
    from kmod_emu.kernel.layout import RAM_SIZE

    free = RAM_SIZE - (kernel.pages.allocated << 12)
    fields = struct.pack(
        "<q3Q6QHH4xQQI", kernel.clock.now_ns // NSEC_PER_SEC, 0, 0, 0, RAM_SIZE, free, 0, 0, 0, 0,
        len(kernel.tasks.by_pid), 0, 0, 0, 1,
    )  # fmt: skip
    give(kernel, info, fields.ljust(112, b"\0"))
    return 0


def _limit(kernel: KernelCore, resource: int) -> tuple[int, int]:
    if resource >= _RLIM_NLIMITS:
        raise KernelError(errno.EINVAL, f"there is no limit {resource}")
    return _group(kernel).limits.get(resource, _LIMITS.get(resource, (_INFINITY, _INFINITY)))


@syscall(97)
async def sys_getrlimit(kernel: KernelCore, resource: int, rlim: int) -> int:
    """A limit."""
    give(kernel, rlim, struct.pack("<QQ", *_limit(kernel, resource & 0xFFFF_FFFF)))
    return 0


@syscall(160)
async def sys_setrlimit(kernel: KernelCore, resource: int, rlim: int) -> int:
    """Set a limit: it is kept, and not enforced."""
    return await sys_prlimit64(kernel, 0, resource, rlim, 0)


@syscall(302)
async def sys_prlimit64(kernel: KernelCore, pid: int, resource: int, new: int, old: int) -> int:
    """Get and set a limit of the caller's."""
    resource &= 0xFFFF_FFFF
    before = _limit(kernel, resource)
    if as_int(pid) not in (0, _group(kernel).pid):
        raise KernelError(errno.ESRCH)
    if new:
        soft, hard = struct.unpack("<QQ", kernel.user.copy_from(new, 16))
        if soft > hard:
            raise KernelError(errno.EINVAL)
        if hard > before[1] and not kernel.sched.current.capable(CAP_SYS_RESOURCE):
            raise KernelError(errno.EPERM)
        _group(kernel).limits[resource] = (soft, hard)
    if old:
        give(kernel, old, struct.pack("<QQ", *before))
    return 0


# --- the thread ---------------------------------------------------------------------------------------


@syscall(158)
async def sys_arch_prctl(kernel: KernelCore, option: int, address: int) -> int:
    """The bases of FS and GS."""
    context = kernel[Programs].current.context
    register = {
        _ARCH_SET_FS: "fs_base",
        _ARCH_GET_FS: "fs_base",
        _ARCH_SET_GS: "gs_base",
        _ARCH_GET_GS: "gs_base",
    }
    if option not in register:
        raise KernelError(errno.EINVAL, f"arch_prctl has no option {option:#x}")
    if option in (_ARCH_SET_FS, _ARCH_SET_GS):
        if address >> 47:
            raise KernelError(errno.EPERM, "the base would not be a user address")
        context[register[option]] = address
    else:
        give(kernel, address, struct.pack("<Q", context[register[option]]))
    return 0


@syscall(218)
async def sys_set_tid_address(kernel: KernelCore, tidptr: int) -> int:
    """Where a zero goes when the thread ends."""
    kernel[Programs].current.clear_tid = tidptr
    return kernel.sched.current.pid


@syscall(273)
async def sys_set_robust_list(kernel: KernelCore, head: int, length: int) -> int:
    """Robust futexes are not released when their owner dies."""
    if length != 24:
        raise KernelError(errno.EINVAL)
    return 0


@syscall(157)
async def sys_prctl(kernel: KernelCore, option: int, arg2: int) -> int:
    """Get and set the name; other options only as far as libraries need them."""
    task = kernel.sched.current
    answer = prctl_capabilities(kernel, option, arg2)
    if answer is not None:
        return answer
    if option == _PR_SET_NAME:
        raw = kernel.user.strndup(arg2, 4096) if kernel.user.read(arg2, 1) else None
        if raw is None:
            raise KernelError(errno.EFAULT)
        kernel.tasks.rename(task, raw[:15].decode("utf-8", "surrogateescape"))
        return 0
    if option == _PR_GET_NAME:
        give(kernel, arg2, task.comm.encode("utf-8", "surrogateescape").ljust(16, b"\0"))
        return 0
    if option == _PR_GET_DUMPABLE:
        return 1
    if option in (_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE):
        return 0
    raise KernelError(errno.EINVAL, f"prctl option {option} is not implemented")


@syscall(135)
async def sys_personality(kernel: KernelCore, personality: int) -> int:
    """Only Linux's own."""
    return 0


@syscall(100)
async def sys_times(kernel: KernelCore, buffer: int) -> int:
    """Ticks since boot; the processor time used is not kept."""
    if buffer:
        give(kernel, buffer, bytes(32))
    return kernel.clock.now_ns * _USER_HZ // NSEC_PER_SEC


@syscall(98)
async def sys_getrusage(kernel: KernelCore, who: int, usage: int) -> int:
    """What was used is not kept: zeros."""
    if as_int(who) not in (0, -1, 1):
        raise KernelError(errno.EINVAL)
    give(kernel, usage, bytes(144))
    return 0


@syscall(24)
async def sys_sched_yield(kernel: KernelCore) -> int:
    """Let others run first."""
    from kmod_emu.user.entry import let_others_run

    await let_others_run(kernel)
    return 0


@syscall(140)
async def sys_getpriority(kernel: KernelCore, which: int, who: int) -> int:
    """Everybody's nice value is 0; the system call answers 20 minus it."""
    if as_int(which) not in (0, 1, 2):
        raise KernelError(errno.EINVAL)
    if as_int(which) == 0 and as_int(who) and as_int(who) not in kernel.tasks.by_pid:
        raise KernelError(errno.ESRCH, f"there is no process {as_int(who)}")
    return 20


@syscall(204)
async def sys_sched_getaffinity(kernel: KernelCore, pid: int, length: int, mask: int) -> int:
    """One processor."""
    if length < 8 or length & 7:
        raise KernelError(errno.EINVAL)
    give(kernel, mask, struct.pack("<Q", 1))
    return 8


@syscall(309)
async def sys_getcpu(kernel: KernelCore, cpu: int, node: int) -> int:
    """Processor 0 of node 0."""
    for address in (cpu, node):
        if address:
            give(kernel, address, bytes(4))
    return 0


@syscall(318)
async def sys_getrandom(kernel: KernelCore, buf: int, count: int, flags: int) -> int:
    """Numbers from the machine's own source, the same in each run."""
    if flags & ~7:
        raise KernelError(errno.EINVAL)
    import hashlib

    count = min(count, (1 << 25) - 1)
    seed = f"getrandom {kernel.clock.now_ns} {kernel.sched.current.pid}".encode()
    give(kernel, buf, hashlib.shake_128(seed).digest(count))
    return count
