"""/proc/PID: what processes are, have and do (fs/proc/base.c, array.c, task_mmu.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.tree import Node, directory
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel import signal
from kmod_emu.kernel.mm import PROT_EXEC, PROT_READ, PROT_WRITE
from kmod_emu.kernel.schedule import TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, task_state
from kmod_emu.machine.memory import PAGE_SHIFT
from kmod_emu.uapi import errno
from kmod_emu.user.programs import SIG_DFL, SIG_IGN, Programs, ThreadGroup

if TYPE_CHECKING:
    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.mm import MemoryMap
    from kmod_emu.kernel.tasks import Task

_STATES = {"R": "running", "S": "sleeping", "D": "disk sleep", "T": "stopped", "Z": "zombie"}
_RLIM_INFINITY = (1 << 64) - 1


class Processes:
    """The directories of all tasks; `list` is what /proc shows beside the kernel's own files."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel

    def list(self) -> dict[str, Node]:
        """A directory for each process, and those that lead to the reader's own."""
        tasks = self._kernel.tasks.by_pid
        nodes = {str(pid): self._directory(task) for pid, task in tasks.items() if pid and self._leads(task)}
        pid = str(self._tgid(self._kernel.sched.current))
        nodes["self"] = Node(0o777, target=pid)
        nodes["thread-self"] = Node(0o777, target=f"{pid}/task/{self._kernel.sched.current.pid}")
        return nodes

    def _leads(self, task: Task) -> bool:
        return self._tgid(task) == task.pid

    def _group(self, task: Task) -> ThreadGroup | None:
        program = self._kernel[Programs].by_pid.get(task.pid)
        return program.group if program is not None else None

    def _tgid(self, task: Task) -> int:
        group = self._group(task)
        return group.pid if group is not None else task.pid

    def _directory(self, task: Task) -> Node:
        return _owned(directory(lambda: self._files(task), 0o555), task)

    def _files(self, task: Task) -> dict[str, Node]:
        vfs = self._kernel[Vfs]
        nodes = {
            "cmdline": Node(0o444, read=lambda reader: self._cmdline(task)),
            "comm": Node(
                0o644, lambda reader: f"{task.comm}\n", lambda writer, data: self._rename(task, data)
            ),
            "cwd": Node(0o777, target=vfs.fs(task).cwd.path),
            "fd": directory(lambda: self._descriptors(task), 0o500),
            "maps": Node(0o444, read=lambda reader: _maps(task.mm)),
            "mounts": Node(0o444, read=lambda reader: mounts(vfs)),
            "root": Node(0o777, target=vfs.fs(task).root.path),
            "stat": Node(0o444, read=lambda reader: self._stat(task)),
            "statm": Node(0o444, read=lambda reader: self._statm(task)),
            "status": Node(0o444, read=lambda reader: self._status(task)),
            "task": directory(lambda: self._threads(task), 0o555),
        }
        group = self._group(task)
        if group is not None and group.executable:
            nodes["exe"] = Node(0o777, target=group.executable)
        return {name: _owned(node, task) for name, node in nodes.items()}

    def _threads(self, task: Task) -> dict[str, Node]:
        group = self._group(task)
        tasks = group.threads if group is not None and group.threads else [task]
        return {str(thread.pid): self._directory(thread) for thread in tasks}

    def _descriptors(self, task: Task) -> dict[str, Node]:
        table = self._kernel[Vfs].tables.get(task.pid)
        nodes = {}
        for fd, file in sorted(table.files.items()) if table is not None else []:
            nodes[str(fd)] = _owned(Node(0o700, target=leads_to(file)), task)
        return nodes

    def _rename(self, task: Task, data: bytes) -> None:
        if self._tgid(self._kernel.sched.current) != self._tgid(task):
            raise KernelError(errno.EINVAL, "only a thread of the process may name it")
        self._kernel.tasks.rename(task, data.rstrip(b"\n").decode("utf-8", "surrogateescape"))

    # --- texts --------------------------------------------------------------------------------------

    def _cmdline(self, task: Task) -> bytes:
        group = self._group(task)
        if group is None or group.status is not None:
            return b""
        return b"".join(argument + b"\0" for argument in group.arguments)

    def _state(self, task: Task) -> str:
        group = self._group(task)
        if task.dead or (group is not None and group.status is not None):
            return "Z"
        if group is not None and group.stopped:
            return "T"
        if task is self._kernel.sched.current:
            return "R"
        state = task_state(self._kernel, task)
        if state & TASK_UNINTERRUPTIBLE:
            return "D"
        return "S" if state & TASK_INTERRUPTIBLE or task.blocked or not task.activations else "R"

    def _parent(self, task: Task) -> int:
        real = self._kernel.tasks.known(self._kernel.tasks.view(task).real_parent)
        return real.pid if real is not None and real is not task else 0

    def _stat(self, task: Task) -> str:
        """Of the numbers, those that are kept; the others are zero."""
        group, mm, kernel = self._group(task), task.mm, self._kernel
        pgid, session = (group.pgid, group.session) if group is not None else (0, 0)
        fields = [0] * 53
        fields[4:8] = self._parent(task), pgid, session, 0
        fields[8], fields[9] = -1, int(kernel.tasks.view(task).flags)
        fields[18], fields[20] = 20, len(group.threads) if group is not None and group.threads else 1
        fields[23], fields[24], fields[25] = _size(mm), _resident(mm), _RLIM_INFINITY
        ignored, caught = self._actions(task)
        fields[31:35] = signal.pending(kernel, task), signal.blocked(kernel, task), ignored, caught
        fields[38] = group.exit_signal if group is not None else 0
        fields[46], fields[47] = (mm.brk_start, 0) if mm is not None else (0, 0)
        texts = [str(task.pid), f"({task.comm})", self._state(task), *map(str, fields[4:])]
        return " ".join(texts) + "\n"

    def _actions(self, task: Task) -> tuple[int, int]:
        """Signals that are ignored, and those that have a handler."""
        program = self._kernel[Programs].by_pid.get(task.pid)
        ignored = caught = 0
        for number, action in program.actions.items() if program is not None else []:
            ignored |= (action.handler == SIG_IGN) << number - 1
            caught |= (action.handler not in (SIG_DFL, SIG_IGN)) << number - 1
        return ignored, caught

    def _statm(self, task: Task) -> str:
        size, resident = _size(task.mm) >> PAGE_SHIFT, _resident(task.mm)
        text = sum(v.end - v.start for v in task.mm.vmas if v.prot & PROT_EXEC) if task.mm else 0
        return f"{size} {resident} 0 {text >> PAGE_SHIFT} 0 {size} 0\n"

    def _status(self, task: Task) -> str:
        kernel, state, group = self._kernel, self._state(task), self._group(task)
        ignored, caught = self._actions(task)
        table = kernel[Vfs].tables.get(task.pid)
        ids = {
            kind: "\t".join(str(task.who(f"{prefix}{kind.lower()}")) for prefix in ("", "e", "s", "fs"))
            for kind in ("Uid", "Gid")
        }
        lines = [
            ("Name", task.comm),
            ("Umask", f"{kernel[Vfs].fs(task).umask:04o}"),
            ("State", f"{state} ({_STATES[state]})"),
            ("Tgid", self._tgid(task)), ("Ngid", 0), ("Pid", task.pid), ("PPid", self._parent(task)),
            ("TracerPid", 0), *ids.items(),
            ("FDSize", (max(table.files, default=0) // 64 + 1) * 64 if table is not None else 64),
            ("Groups", "".join(f"{gid} " for gid in task.groups)),
        ]  # fmt: skip
        if task.mm is not None:
            lines += [("VmSize", f"{_size(task.mm) >> 10:8} kB"), ("VmRSS", f"{_resident(task.mm) * 4:8} kB")]
        lines += [
            ("Threads", len(group.threads) if group is not None and group.threads else 1),
            ("SigPnd", f"{signal.pending(kernel, task):016x}"), ("ShdPnd", f"{0:016x}"),
            ("SigBlk", f"{signal.blocked(kernel, task):016x}"),
            ("SigIgn", f"{ignored:016x}"), ("SigCgt", f"{caught:016x}"),
        ]  # fmt: skip
        for name in ("inheritable", "permitted", "effective", "bset", "ambient"):
            short = {"bset": "Bnd", "ambient": "Amb"}.get(name, name[:3].capitalize())
            lines.append((f"Cap{'Prm' if short == 'Per' else short}", f"{task.who(f'cap_{name}'):016x}"))
        lines += [("NoNewPrivs", 0), ("Cpus_allowed", "1"), ("Cpus_allowed_list", "0")]
        return "".join(f"{name}:\t{value}\n" for name, value in lines)


def leads_to(file: File) -> str:
    """Where a descriptor leads, in words."""
    dentry = file.dentry
    if dentry.inode.sb.kind == "anon_inodefs":
        return f"anon_inode:{dentry.name.removeprefix('anon_inode:')}"
    if dentry.parent is dentry and dentry.name:
        return dentry.name
    return dentry.path + (" (deleted)" if dentry.unhashed else "")


def _owned(node: Node, task: Task) -> Node:
    node.uid, node.gid = task.uid, task.gid
    return node


def _size(mm: MemoryMap | None) -> int:
    return sum(vma.end - vma.start for vma in mm.vmas) if mm is not None else 0


def _resident(mm: MemoryMap | None) -> int:
    return len(mm.space.pages) if mm is not None else 0


def _maps(mm: MemoryMap | None) -> str:
    lines = []
    for vma in mm.vmas if mm is not None else []:
        bits = zip((PROT_READ, PROT_WRITE, PROT_EXEC), "rwx", strict=True)
        perms = "".join(letter if vma.prot & bit else "-" for bit, letter in bits)
        start = f"{vma.start:08x}-{vma.end:08x} {perms}{'s' if vma.shared else 'p'} "
        line = f"{start}{vma.offset << PAGE_SHIFT:08x} 00:00 0 "
        lines.append((line.ljust(73) + vma.name if vma.name else line) + "\n")
    return "".join(lines)


def mounts(vfs: Vfs) -> str:
    """What is mounted where, as /proc/mounts has it; debugfs is part of /sys here."""
    lines = [f"{sb.kind} {path} {sb.kind} {_options(sb)} 0 0\n" for path, sb in vfs.mounts.items()]
    return "".join([*lines, "debugfs /sys/kernel/debug debugfs rw,relatime 0 0\n"])


def _options(sb: object) -> str:
    return f"{'ro' if getattr(sb, 'read_only', False) else 'rw'},relatime"
