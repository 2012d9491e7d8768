"""execve(2): a program file becomes what a task runs (fs/exec.c, fs/binfmt_elf.c, fs/binfmt_script.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.kernel.layout import TASK_SIZE_MAX
from kmod_emu.kernel.mm import PROT_EXEC, PROT_READ, PROT_WRITE, MemoryMap
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.machine.memory import PAGE_MASK, PAGE_SIZE, PageFault, page_align
from kmod_emu.uapi import errno
from kmod_emu.user import arguments, elf
from kmod_emu.user import program_files as files
from kmod_emu.user.exec_cred import exec_creds
from kmod_emu.user.exit import release_vfork
from kmod_emu.user.programs import SIG_IGN, AltStack, Exited, Program, Programs
from kmod_emu.user.signals import SIGKILL, SIGSEGV, refresh_ignored, send

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

STACK_SIZE = 8 << 20
STACK_TOP = TASK_SIZE_MAX - 0x1000_0000 & PAGE_MASK
ARG_MAX = STACK_SIZE // 4
MAX_ARG_STRLEN = 32 * PAGE_SIZE
PIE_BASE, INTERPRETER_BASE = 0x5555_5555_4000, 0x7E00_0000_0000
_BRK_GAP = 0x10_0000
_MAX_INTERPRETERS = 5
_CLK_TCK = 100
_HWCAP = 0x78BFBFD  # EDX of cpuid leaf 1
_AT = {
    "NULL": 0, "PHDR": 3, "PHENT": 4, "PHNUM": 5, "PAGESZ": 6, "BASE": 7, "FLAGS": 8, "ENTRY": 9, "UID": 11,
    "EUID": 12, "GID": 13, "EGID": 14, "PLATFORM": 15, "HWCAP": 16, "CLKTCK": 17, "SECURE": 23, "RANDOM": 25,
    "HWCAP2": 26, "EXECFN": 31,
}  # fmt: skip


class Loaded(NamedTuple):
    """Where a program went.

    Attributes:
        base: Of the interpreter, 0 without one.
        start: Where it begins to run: in the interpreter, if there is one.
    """

    program: elf.Program
    bias: int
    base: int
    start: int


async def do_execve(
    kernel: KernelCore, task: Task, path: str, argv: list[bytes], envp: list[bytes]
) -> Program:
    """Replace what a task runs; a task that ran nothing becomes a program.

    Raises:
        KernelError: The file cannot be run; the task goes on as it was.
        Exited: It failed where there is no way back.
    """
    if sum(len(text) + 9 for text in argv + envp) > ARG_MAX or any(
        len(t) >= MAX_ARG_STRLEN for t in argv + envp
    ):
        raise KernelError(errno.E2BIG, "the arguments and the environment are too long")
    name, file, argv = await _find_program(kernel, path, argv or [b""])
    program = elf.parse(file.data)
    interpreter = None
    if program.interpreter:
        interpreter = (await files.read_program(kernel, program.interpreter)).data
    mm = MemoryMap(kernel)
    try:
        loaded = _load(kernel, mm, program, file.data, interpreter, name)
        secure = exec_creds(kernel, file.inode)
        rsp = _build_stack(kernel, task, mm, loaded, path, argv, envp, secure)
    except BaseException:
        mm.clear()
        raise
    return await _switch(kernel, task, mm, loaded, rsp, name, argv)


async def _find_program(
    kernel: KernelCore, path: str, argv: list[bytes]
) -> tuple[str, files.ProgramFile, list[bytes]]:
    """The ELF file in the end: scripts name the program that runs them."""
    name = path
    for _ in range(_MAX_INTERPRETERS):
        file = await files.read_program(kernel, name)
        words = elf.script_interpreter(file.data)
        if words is None:
            return name, file, argv
        argv = [*words, name.encode("utf-8", "surrogateescape"), *argv[1:]]
        name = words[0].decode("utf-8", "surrogateescape")
    raise KernelError(errno.ELOOP, f"{path}: too many interpreters of interpreters")


# --- memory -----------------------------------------------------------------------------------------


def _load(
    kernel: KernelCore, mm: MemoryMap, program: elf.Program, data: bytes, interpreter: bytes | None, name: str
) -> Loaded:
    low, _ = program.span
    bias = 0 if program.fixed else PIE_BASE - (low & PAGE_MASK)
    _map_segments(kernel, mm, program, data, bias, name)
    mm.brk_start = mm.brk = page_align(program.span[1] + bias) + _BRK_GAP
    base, start = 0, program.entry + bias
    if interpreter is not None:
        linker = elf.parse(interpreter)
        base = 0 if linker.fixed else INTERPRETER_BASE
        _map_segments(kernel, mm, linker, interpreter, base, program.interpreter)
        start = linker.entry + base
    mm.map(STACK_SIZE, PROT_READ | PROT_WRITE, at=STACK_TOP - STACK_SIZE, name="[stack]")
    return Loaded(program, bias, base, start)


def _map_segments(
    kernel: KernelCore, mm: MemoryMap, program: elf.Program, data: bytes, bias: int, name: str
) -> None:
    """Files' pages where the file has any, zeros behind them."""
    image = kernel.user_pages.image(data)
    for segment in program.segments:
        prot = (
            (PROT_READ if segment.flags & elf.PF_R else 0)
            | (PROT_WRITE if segment.flags & elf.PF_W else 0)
            | (PROT_EXEC if segment.flags & elf.PF_X else 0)
        )
        start = segment.address + bias
        page, file_end, end = start & PAGE_MASK, start + segment.file_size, start + segment.size
        if not 0x1000 <= page < end <= TASK_SIZE_MAX:
            raise KernelError(errno.EINVAL, f"the segment at {start:#x} cannot be mapped")
        if segment.file_size:
            offset = (segment.offset - (start - page)) // PAGE_SIZE
            mm.map(file_end - page, prot, at=page, image=image, offset=offset, name=name)
            page = page_align(file_end)
        if end > page:
            mm.map(end - page, prot, at=page)
        if end > file_end and file_end < page and prot & PROT_WRITE:
            mm.write(file_end, bytes(page - file_end))


def _build_stack(
    kernel: KernelCore,
    task: Task,
    mm: MemoryMap,
    loaded: Loaded,
    path: str,
    argv: list[bytes],
    envp: list[bytes],
    secure: bool,
) -> int:
    """Arguments, environment and auxiliary vector, as create_elf_tables leaves them; the stack pointer."""
    from hashlib import sha256

    top = STACK_TOP - 8
    strings = bytearray()

    def push(text: bytes) -> int:
        nonlocal top
        top -= len(text)
        strings[:0] = text
        return top

    execfn = push(path.encode("utf-8", "surrogateescape") + b"\0")
    environment = [push(text + b"\0") for text in reversed(envp)][::-1]
    arguments = [push(text + b"\0") for text in reversed(argv)][::-1]
    platform = push(b"x86_64\0")
    random = push(sha256(f"{task.pid} {kernel.clock.now_ns}".encode()).digest()[:16])
    program = loaded.program
    auxiliary = {
        "HWCAP": _HWCAP, "PAGESZ": PAGE_SIZE, "CLKTCK": _CLK_TCK,
        "PHDR": program.headers + loaded.bias, "PHENT": 56, "PHNUM": program.header_count,
        "BASE": loaded.base, "FLAGS": 0, "ENTRY": program.entry + loaded.bias,
        "UID": task.who("uid"), "EUID": task.uid, "GID": task.who("gid"), "EGID": task.gid, "SECURE": secure,
        "RANDOM": random, "HWCAP2": 0, "EXECFN": execfn, "PLATFORM": platform, "NULL": 0,
    }  # fmt: skip
    words = [len(argv), *arguments, 0, *environment, 0]
    for name, value in auxiliary.items():
        words += [_AT[name], value]
    rsp = (top - 8 * len(words)) & -16
    try:
        mm.write(top, bytes(strings))
        mm.write(rsp, struct.pack(f"<{len(words)}Q", *words))
    except PageFault:
        raise KernelError(errno.ENOMEM, "the machine has no memory left for the program's stack") from None
    return rsp


# --- the point of no return ---------------------------------------------------------------------------


async def _switch(
    kernel: KernelCore, task: Task, mm: MemoryMap, loaded: Loaded, rsp: int, name: str, argv: list[bytes]
) -> Program:
    programs = kernel[Programs]
    program = programs.by_pid.get(task.pid) or programs.add(task, programs.ring3.context())
    group = program.group
    for other in group.threads:
        if other is not task:
            send(kernel, other, SIGKILL)
    release_vfork(kernel, group)
    kernel.tasks.leave_memory(task)
    kernel.tasks.enter_memory(task, mm)
    await files.close_on_exec(kernel, task)
    program.context.assign(programs.ring3.context())
    program.context["rip"], program.context["rsp"] = loaded.start, rsp
    program.actions = {sig: action for sig, action in program.actions.items() if action.handler == SIG_IGN}
    program.altstack, program.clear_tid, program.system_call = AltStack(), 0, -1
    refresh_ignored(kernel, program)
    kernel.tasks.rename(task, name.rsplit("/", 1)[-1])
    group.executable, group.arguments = name, argv
    kernel.events.emit(
        "execve", pid=task.pid, path=name, argv=[text.decode("utf-8", "replace") for text in argv]
    )
    return program


@syscall(59)
async def sys_execve(kernel: KernelCore, filename: int, argv: int, envp: int) -> int:
    """Run another program in this task."""
    program = kernel[Programs].current
    path = arguments.path(kernel, filename)
    try:
        await do_execve(kernel, program.task, path, _strings(kernel, argv), _strings(kernel, envp))
    except PageFault:
        raise Exited(SIGSEGV) from None
    return 0


def _strings(kernel: KernelCore, array: int) -> list[bytes]:
    """A NULL-terminated array of strings; E2BIG, EFAULT."""
    found: list[bytes] = []
    size = 0
    while array:
        pointer = int.from_bytes(kernel.user.copy_from(array, 8), "little")
        if not pointer:
            break
        try:
            text = kernel.user.strndup(pointer, MAX_ARG_STRLEN)
        except KernelError as error:
            raise KernelError(errno.E2BIG if error.errno == errno.EINVAL else error.errno) from None
        found.append(text)
        size += len(text) + 9
        if size > ARG_MAX:
            raise KernelError(errno.E2BIG, "the arguments and the environment are too long")
        array += 8
    return found
