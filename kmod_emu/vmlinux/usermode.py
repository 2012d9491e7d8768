"""Ring 3 on the real kernel: programs whose system calls, faults and signals are the kernel's own code.

The kernel keeps all there is to a process. What is here is the way between the rings, which is assembly
in Linux (arch/x86/entry/entry_64.S): registers go to the `struct pt_regs` at the top of the kernel's stack.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError, Killed
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.extable import ENTRY_SIZE, has_entry
from kmod_emu.kernel.layout import TASK_SIZE_MAX
from kmod_emu.kernel.syscalls import do_syscall
from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.memory import Access
from kmod_emu.uapi import errno
from kmod_emu.user.entry import TICK_NS, Run, let_others_run
from kmod_emu.user.faults import exact_address
from kmod_emu.user.programs import Programs
from kmod_emu.vmlinux.entry import Entry
from kmod_emu.vmlinux.exceptions import handled_by

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from kmod_emu.kernel.tasks import Task
    from kmod_emu.machine.cpu import Stop
    from kmod_emu.machine.memory import PageFault
    from kmod_emu.machine.ring3 import UserContext
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

SIGINT, SIGKILL = 2, 9
_REGS = struct.Struct("<21Q")
_ORDER = ("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi",
          "rdi")  # fmt: skip
_ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
_USER_CS, _USER_DS, _FIXED_FLAGS, _IF = 0x33, 0x2B, 2, 0x200
_AX = 80  # in struct pt_regs
_PRESENT, _WRITING, _FROM_USER, _FETCHING = 1, 2, 4, 16  # bits of a page fault's error code
_ACCESS = {Access.READ: 0, Access.WRITE: _WRITING, Access.FETCH: _FETCHING}
_EXECVE, _EXECVEAT = 59, 322
_MASK64 = (1 << 64) - 1
_CALL_NS = (
    20_000  # how long a system call takes; programs that do nothing else have an end of their slice, too
)
_SLICE, _PATIENCE = 0.004, 0.1  # processor seconds after which a program that computes is looked at
# vector -> the kernel's handler, and whether it gets an error code
_HANDLERS = {
    0: ("exc_divide_error", False),
    3: ("exc_int3", False),
    4: ("exc_overflow", False),
    6: ("exc_invalid_op", False),
    13: ("exc_general_protection", True),
    16: ("exc_coprocessor_error", False),
    17: ("exc_alignment_check", True),
    19: ("exc_simd_coprocessor_error", False),
}


class UserThread:
    """What a task that runs a program has beside its task_struct: its registers in ring 3."""

    def __init__(self, task: Task, context: UserContext) -> None:
        self.task, self.context = task, context
        self.fs_base = self.gs_base = 0
        self.stored = b""


class UserMode:
    """All threads of programs, by pid. None of them outlives a saved machine.

    Attributes:
        attended: Somebody outside wants to be asked after each time slice, also where only one program runs.
    """

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel = kernel
        self.threads: dict[int, UserThread] = {}
        self.attended = False
        offset = kernel.profile.offset
        thread = offset("task_struct", "thread")
        self._fs_base = thread + offset("thread_struct", "fsbase")
        self._gs_base = thread + offset("thread_struct", "gsbase")
        task, inside = kernel.profile.struct("task_struct"), kernel.profile.struct("thread_struct").members
        fpu = (
            thread + inside["fpu"].offset if "fpu" in inside else task.size
        )  # it lies behind the task in 7.x
        self._last_cpu = fpu + offset("fpu", "last_cpu")
        self._entry = Entry(kernel)
        self._expected: frozenset[int] | None = None
        kernel.faults.user_page = self.kernel_fault
        kernel.sched.timers_of_programs = self._timers

    @property
    def _programs(self) -> Programs:
        return self._kernel[Programs]

    # --- threads --------------------------------------------------------------------------------------

    def begin(self, task: Task, parent: UserThread | None = None) -> UserThread:
        """A task gets registers in ring 3: copies of its parent's, or new ones."""
        context = self._programs.ring3.context(parent.context if parent else None)
        thread = self.threads[task.pid] = UserThread(task, context)
        if parent is not None:
            thread.fs_base, thread.gs_base = parent.fs_base, parent.gs_base
        self._keep_floating(task)
        return thread

    def forked(self, task: Task) -> None:
        """copy_process() has made a task that goes on in ring 3, where its parent is."""
        view = self._kernel.view("task_struct", task.address)
        if view.has("mm_cid_active"):  # context_switch() numbers the threads of a process that run: only one
            view.mm_cid = view.last_mm_cid = 0
        thread = self.begin(task, self.threads.get(self._kernel.sched.current.pid))
        self._kernel.sched.start(task, self._child(thread))

    async def _child(self, thread: UserThread) -> int:
        """The rest of schedule_tail(), and the way back."""
        kernel, task = self._kernel, thread.task
        place = kernel.view("task_struct", task.address).set_child_tid
        if place:
            buffer = kernel.heap.kmalloc(4)
            kernel.memory.write_u32(buffer, task.pid)
            await self._call("_copy_to_user", place, buffer, 4)
            kernel.heap.kfree(buffer)
        return await self.run(thread)

    async def helper(self, task: Task, function: int, argument: int) -> int:
        """A thread that becomes a program, such as modprobe, or ends in the kernel (kernel/umh.c)."""
        kernel, view = self._kernel, self._kernel.view("task_struct", task.address)
        if not view.active_mm:  # context_switch() lends a kernel thread one, which its execve() gives back
            view.active_mm = kernel.symbol("init_mm")
            count = view.active_mm + kernel.profile.offset("mm_struct", "mm_count")
            kernel.memory.write_u32(count, kernel.memory.read_u32(count) + 1)
        await kernel.call_guest(function, argument)
        return await self.run(self.begin(task))

    def ended(self, task: Task) -> None:
        """do_exit() has come to its end."""
        self.threads.pop(task.pid, None)

    def last_steps(self, task: Task, death: Killed) -> Coroutine[Any, Any, int] | None:
        """What a program does that an oops ended: do_exit()."""
        if self.threads.pop(task.pid, None) is None:
            return None
        return self._call("do_exit", SIGKILL)

    def _timers(self) -> Iterator[range]:
        """Stacks, alarms, and anywhere if somebody has a POSIX timer."""
        kernel, size = self._kernel, self._kernel.profile.struct("signal_struct").size
        for thread in self.threads.values():
            yield range(thread.task.stack, thread.task.stack_top)
            signal = kernel.view("signal_struct", kernel.view("task_struct", thread.task.address).signal)
            yield range(signal.address, signal.address + size)
            first = kernel.memory.read_u64(signal.addressof("posix_timers"))
            if first not in (0, signal.addressof("posix_timers")):
                yield range(1 << 64)

    # --- the loop ---------------------------------------------------------------------------------------

    async def run(self, thread: UserThread) -> int:
        """A program's life; it ends inside the kernel."""
        kernel, task = self._kernel, thread.task
        clock = kernel.clock
        slice_end = clock.now_ns + TICK_NS
        while True:
            self._load(thread, await self._entry.leave(task.address, task.stack_top))
            others = kernel.sched.contended or kernel.sched.agenda.next_ns is not None
            # Counting instructions, as on the stub kernel, would cost all translations at each switch.
            stop = await Run(kernel, thread, 0, _SLICE if others else _PATIENCE)
            if stop.reason is StopReason.SYSCALL:
                clock.advance(_CALL_NS)
                await self._system_call(thread)
            elif stop.reason is StopReason.PATIENCE:
                clock.advance(max(TICK_NS, int(kernel.cpu.watchdog.elapsed * NSEC_PER_SEC)))
                self._store(thread)
            else:
                await self._exception(thread, stop)
            await self._look_outside()
            if clock.now_ns >= slice_end:
                await let_others_run(kernel, always=self.attended)
                slice_end = clock.now_ns + TICK_NS

    def _store(self, thread: UserThread, orig_ax: int = _MASK64) -> int:
        """Registers to where the kernel looks for them; the address."""
        context, place = thread.context, thread.task.stack_top
        registers = context.general()
        thread.stored = _REGS.pack(
            *(registers[name] for name in _ORDER), orig_ax, registers["rip"], _USER_CS,
            context["eflags"] | _FIXED_FLAGS | _IF, registers["rsp"], _USER_DS,
        )  # fmt: skip
        self._kernel.memory.write(place, thread.stored)
        return place

    def _load(self, thread: UserThread, flags: int) -> None:
        """Registers from there: the program goes on with them."""
        kernel, context, task = self._kernel, thread.context, thread.task
        values = kernel.memory.read(task.stack_top, _REGS.size)
        stored = thread.stored
        if values != stored:
            *general, _, rip, _, eflags, rsp, _ = _REGS.unpack(values)
            registers = dict(zip(_ORDER, general, strict=True))
            registers |= {"rip": rip, "rsp": rsp}
            context.set_general(registers)
            if not stored or values[144:152] != stored[144:152]:
                context["eflags"] = eflags
        for name, offset in (("fs_base", self._fs_base), ("gs_base", self._gs_base)):
            base = kernel.memory.read_u64(task.address + offset)
            if base != getattr(thread, name):
                setattr(thread, name, base)
                context[name] = base
        if not flags & self._entry.floating:  # the kernel has changed them: a signal's handler begins or ends
            self._programs.ring3.take_floating(context)
            self._keep_floating(task)
        kernel.cpu.write("eflags", kernel.cpu.read("eflags") | _IF)

    def _keep_floating(self, task: Task) -> None:
        """Tell the kernel that the program's x87 and SSE registers are not in the processor."""
        memory = self._kernel.memory
        memory.write_u64(task.address, memory.read_u64(task.address) | self._entry.floating)
        memory.write_u32(task.address + self._last_cpu, 0xFFFF_FFFF)

    def give_floating(self) -> None:
        """The kernel wants them there."""
        thread = self.threads.get(self._kernel.sched.current.pid)
        if thread is not None:
            self._programs.ring3.give_floating(thread.context)

    async def _call(self, name: str, *arguments: int) -> int:
        return await self._kernel.call_guest(self._kernel.symbol(name), *arguments)

    # --- into the kernel ----------------------------------------------------------------------------------

    async def _system_call(self, thread: UserThread) -> None:
        """do_syscall_64()."""
        kernel, context, task = self._kernel, thread.context, thread.task
        number = context["rax"] & 0xFFFF_FFFF
        context["rcx"], context["r11"] = context["rip"], context["eflags"]
        context["rax"] = -errno.ENOSYS
        regs = self._store(thread, number)
        if self._entry.watched(task.address):
            result = await self._entry.watched_call(regs, number, self._do_syscall)
        else:
            result = await self._do_syscall(number, tuple(context[name] for name in _ARGUMENTS))
            kernel.memory.write_u64(regs + _AX, result)
        if number in (_EXECVE, _EXECVEAT) and not result:
            context.assign(self._programs.ring3.context())
            thread.fs_base = thread.gs_base = 0
            thread.stored = b""

    async def _do_syscall(self, number: int, arguments: tuple[int, ...]) -> int:
        """The result of a system call, or a negative errno."""
        kernel = self._kernel
        try:
            return await do_syscall(kernel, number, arguments)
        except Killed:
            raise
        except KernelError as error:
            if error.errno == errno.ENOSYS and number not in kernel.own_syscalls:
                kernel.events.emit("unknown_syscall", number=number, comm=kernel.sched.current.comm)
            return -error.errno

    async def _exception(self, thread: UserThread, stop: Stop) -> None:
        """What the processor refused is told to the kernel's own handlers."""
        kernel = self._kernel
        if stop.reason is StopReason.EXCEPTION:
            name, has_code = _HANDLERS.get(stop.vector or 0, _HANDLERS[13])
            regs = self._store(thread)
            await self._call(name, *((regs, 0) if has_code else (regs,)))
            return
        regs = self._store(thread)
        fault = stop.fault
        if fault is None:  # a `hlt` that nobody executed: a late stop of the watchdog
            return
        code = _FROM_USER | _ACCESS[fault.access] | (_PRESENT if fault.present else 0)
        kernel.cpu.set_cr2(await self._where(thread, fault))
        await self._call("exc_page_fault", regs, code)

    async def _where(self, thread: UserThread, fault: PageFault) -> int:
        """The address of a fault; to the byte where the kernel will tell of it."""
        kernel = self._kernel
        if fault.address < TASK_SIZE_MAX and not fault.present:
            mm = kernel.view("mm_struct", kernel.view("task_struct", thread.task.address).mm)
            if mm.has("mm_mt"):  # a maple tree may be looked at without a lock
                vma = await self._call("mtree_load", mm.addressof("mm_mt"), fault.address)
            else:
                vma = await self._call("find_vma", mm.address, fault.address)
            if vma and kernel.view("vm_area_struct", vma).vm_start <= fault.address:
                return fault.address
        return exact_address(kernel.memory, thread.context, fault)

    async def _look_outside(self) -> None:
        """What the host wants: Ctrl-C, and an end after some processor time."""
        programs = self._programs
        if programs.interrupted:
            programs.interrupted = False
            group = await self._call("find_vpid", programs.foreground)
            if group:
                await self._call("kill_pgrp", group, SIGINT, 1)
        if programs.deadline is not None and time.process_time() > programs.deadline:
            programs.out_of_time, programs.deadline = True, None
            await self.kill_all()

    async def kill_all(self) -> None:
        """SIGKILL for all programs."""
        for thread in list(self.threads.values()):
            await self._call("send_sig", SIGKILL, thread.task.address, 1)

    # --- faults of the kernel in user memory ----------------------------------------------------------------

    def kernel_fault(self, stop: Stop) -> Coroutine[Any, Any, int] | None:
        """Code of the kernel that copies from or to a user met a page that is not there yet."""
        kernel = self._kernel
        assert stop.fault is not None
        task = kernel.view("task_struct", kernel.sched.current.address)
        if stop.fault.access is Access.FETCH or not task.mm or task.pagefault_disabled:
            return None
        if kernel.percpu.read("__preempt_count", 4) & 0x7FFF_FFFF or not self._may_fault(stop.rip):
            return None
        return self._bring_in(stop)

    def _may_fault(self, rip: int) -> bool:
        """Whether an exception table has the instruction."""
        tables = self._kernel.faults.tables
        if self._expected is None:
            start, size = tables["vmlinux"].extable
            table = self._kernel.memory.read(start, size // ENTRY_SIZE * ENTRY_SIZE)
            self._expected = frozenset(
                start + index * ENTRY_SIZE + relative & _MASK64
                for index, (relative, _, _) in enumerate(struct.iter_unpack("<iii", table))
            )
        if rip in self._expected:
            return True
        others = (each.extable for name, each in tables.items() if name != "vmlinux")
        return has_entry(self._kernel, rip, others)

    async def _bring_in(self, stop: Stop) -> int:
        """The kernel's own handler brings it in, or makes the code go on at its fixup."""
        kernel, fault = self._kernel, stop.fault
        assert fault is not None
        kernel.cpu.set_cr2(fault.address)
        code = _ACCESS[fault.access] | (_PRESENT if fault.present else 0)
        return await handled_by(kernel, kernel.symbol("exc_page_fault"), stop.rip, code)
