"""Coroutines and guest code calling each other, and tasks taking turns."""

import errno

import pytest

from kmod_emu import Kernel, KernelError, Killed
from kmod_emu.errors import SleepsForever
from kmod_emu.kernel.activation import Block, to_int

MS = 1_000_000


def test_call_passes_six_arguments_and_returns_rax(guest):
    code = "lea rax, [rdi + 2*rsi]; lea rax, [rax + 4*rdx]; lea rax, [rax + 8*rcx]; add rax, r8; "
    assert guest.call(code + "sub rax, r9; ret", 1, 2, 3, 4, 5, 6) == 1 + 4 + 12 + 32 + 5 - 6
    assert guest.call("mov rax, rdi; ret", -1) == (1 << 64) - 1


def test_stack_is_aligned_as_at_a_functions_first_instruction(guest):
    assert guest.call("mov rax, rsp; ret") % 16 == 8


def test_call_guest_int_is_signed(kernel, guest):
    place = guest.code("mov eax, -22; ret")
    assert kernel.run(kernel.call_guest_int(place)) == -22
    assert to_int(kernel.call(place)) == -22


def test_result_and_error_of_a_coroutine(kernel):
    async def fine():
        return "anything"

    async def refuses():
        raise KernelError(errno.EBUSY, "in use")

    assert kernel.run(fine()) == "anything"
    with pytest.raises(KernelError, match="busy") as caught:
        kernel.run(refuses())
    assert caught.value.errno == errno.EBUSY
    assert kernel.run(fine()) == "anything"


def test_handler_sleeps_in_guest_code_called_from_python_called_from_guest_code(kernel, guest):
    """guest -> call_back (Python) -> guest -> msleep (Python, waits), and all the way back."""
    trace = []

    @kernel.export("int call_back(void *function, int argument)")
    async def call_back(kernel, function, argument):
        trace.append(("in", argument, kernel.clock.now_ns))
        result = await kernel.call_guest_int(function, argument)
        trace.append(("out", result, kernel.clock.now_ns))
        return result + 1

    inner = guest.code(
        "push rbx; mov ebx, edi; mov edi, 100; call {msleep}; lea eax, [rbx + 10]; pop rbx; ret"
    )
    outer = guest.code(
        "push rbx; mov rbx, 0x1234; mov rdi, {inner}; mov esi, 5; call {call_back}; "
        "cmp rbx, 0x1234; jne bad; shl eax, 4; pop rbx; ret; bad: ud2",
        inner=inner,
    )
    start = kernel.clock.now_ns
    assert kernel.call(outer) == (5 + 10 + 1) << 4
    assert trace == [("in", 5, start), ("out", 15, start + 108 * MS)]


def test_nesting_is_as_deep_as_the_guest_stack(kernel, guest):
    @kernel.export("long down(long depth)")
    async def down(kernel, depth):
        return 1 + await kernel.call_guest(place, depth - 1) if depth else 0

    place = guest.code("push rbx; mov rbx, rsp; call {down}; cmp rbx, rsp; jne bad; pop rbx; ret; bad: ud2")
    assert kernel.call(place, 100) == 100


def count(guest, cell, period_ms):
    """A function that five times adds to a number in memory and sleeps."""
    return guest.code(
        "push rbx; mov ebx, 5; "
        "again: mov rax, {cell}; shl qword ptr [rax], 1; add qword ptr [rax], {bit}; "
        "mov edi, {period}; call {msleep}; dec ebx; jnz again; mov eax, ebx; pop rbx; ret",
        cell=cell,
        bit=period_ms % 2,
        period=period_ms,
    )


def interleave(kernel, guest):
    """Two tasks that sleep for 10 and for 15 ms; the order in which they woke, as bits, and the time."""
    cell = guest.data(b"", 8)
    kernel.memory.write_u64(cell, 1)
    first, second = kernel.tasks.create("first"), kernel.tasks.create("second")
    kernel.sched.start(second, kernel.call_guest(count(guest, cell, 15)))
    kernel.sched.run(first, kernel.call_guest(count(guest, cell, 10)))
    after_first = kernel.memory.read_u64(cell)
    kernel.sched.run(kernel.tasks.create("last"), kernel.sched.sleep(1000 * MS))
    return after_first, kernel.memory.read_u64(cell), kernel.clock.now_ns, second.finished


def test_tasks_take_turns(kernel, guest):
    # 10 ms are 16 in ticks plus one, 15 ms are 20. Ones are the second task, which was started first;
    # both wake at 80, in the order in which they went to sleep.
    at_first_end, at_end, _now, finished = interleave(kernel, guest)
    wakes = sorted([(16 * n, 60 * (n == 5), 0) for n in range(5)] + [(20 * n, -1, 1) for n in range(5)])
    assert f"{at_end:b}" == "1" + "".join(str(bit) for _, _, bit in wakes)
    assert at_end >> (at_end.bit_length() - at_first_end.bit_length()) == at_first_end
    assert finished


def test_two_runs_are_identical(guest):
    runs = [interleave(kernel, type(guest)(kernel)) for kernel in (Kernel(), Kernel())]
    assert runs[0] == runs[1]


def test_registers_survive_other_tasks(kernel, guest):
    """Each task keeps its callee-saved and SSE registers over a sleep in which the other runs."""
    place = guest.code(
        "push rbx; push r12; mov rbx, rdi; mov r12, rdi; movq xmm5, rdi; mov edi, 4; call {msleep}; "
        "movq rax, xmm5; add rax, rbx; add rax, r12; pop r12; pop rbx; ret"
    )
    other = kernel.tasks.create("other")
    kernel.sched.start(other, kernel.call_guest(place, 1000))
    assert kernel.sched.run(kernel.tasks.create("one"), kernel.call_guest(place, 1)) == 3
    kernel.run(kernel.sched.sleep(100 * MS))
    assert other.take_result() == 3000


def test_timers_fire_in_order_of_time_then_of_arming(kernel):
    fired = []
    now = kernel.clock.now_ns
    for name, after in [("c", 30), ("a", 10), ("b1", 20), ("b2", 20)]:
        kernel.sched.at(now + after, lambda name=name: fired.append((name, kernel.clock.now_ns - now)))
    kernel.run(kernel.sched.sleep(100))
    assert fired == [("a", 10), ("b1", 20), ("b2", 20), ("c", 30)]


def test_wake_passes_a_value_and_wakes_once(kernel):
    sleeper = kernel.tasks.create("sleeper")

    async def wait():
        return await Block(), await Block()

    async def wake_up():
        for value in ("first", "lost", "second"):
            kernel.sched.wake(sleeper, value)
            if value == "lost":
                await kernel.sched.sleep(1)

    kernel.sched.start(sleeper, wait())
    kernel.run(kernel.sched.sleep(1))
    kernel.run(wake_up())
    kernel.run(kernel.sched.sleep(1))
    assert sleeper.take_result() == ("first", "second")


def test_sleeping_without_a_timer_is_an_error_and_the_machine_lives_on(kernel, guest):
    @kernel.export("void wait_forever(void)")
    async def wait_forever(kernel):
        await Block()

    with pytest.raises(SleepsForever) as caught:
        guest.call("sub rsp, 8; call {wait_forever}; add rsp, 8; ret")
    assert caught.value.errno == errno.EDEADLK
    assert "kmod-emu sleeps" in caught.value.explanation
    assert guest.call("mov eax, 3; ret") == 3


def test_death_of_one_task_leaves_the_others(kernel, guest):
    survivor = kernel.tasks.create("survivor")
    place = guest.code("sub rsp, 8; mov edi, 50; call {msleep}; mov eax, 7; add rsp, 8; ret")
    kernel.sched.start(survivor, kernel.call_guest(place))
    with pytest.raises(Killed):
        kernel.sched.run(kernel.tasks.create("victim"), kernel.call_guest(0))
    kernel.run(kernel.sched.sleep(100 * MS))
    assert survivor.take_result() == 7


def test_flags_of_a_dead_task_do_not_leak(guest):
    """The direction flag of a task that oopsed made the next task's string operations run backwards."""
    with pytest.raises(Killed):
        guest.call("std; cli; ud2")
    flags = guest.call("pushfq; pop rax; ret")
    assert flags & 0x600 == 0x200


def test_user_memory_follows_the_task(kernel, guest):
    kernel.memory.smap = False
    place = guest.code("mov rax, [rdi]; ret")
    for value in (1, 2):
        task = guest.user_task()
        kernel.memory.write_u64(kernel.direct_address(task.space.pages[0x400][0]), value)
        assert kernel.sched.run(task, kernel.call_guest(place, 0x40_0000)) == value
    with pytest.raises(Killed):
        kernel.call(place, 0x40_0000)  # a kernel thread has none


def test_code_that_never_returns(kernel, guest):
    kernel.cpu.watchdog.limit = 0.3
    place = guest.code("again: pause; jmp again")
    with pytest.raises(Killed) as caught:
        kernel.call(place)
    assert "never returned" in caught.value.explanation
    assert any("soft lockup - CPU#0 stuck" in line for line in kernel.dmesg())
    assert guest.call("mov eax, 1; ret") == 1


def test_handler_may_not_run_guest_code_behind_the_schedulers_back(kernel, guest):
    place = guest.code("mov eax, 1; ret")

    @kernel.export("int impatient(void)")
    def impatient(kernel):
        return kernel.call(place)

    with pytest.raises(RuntimeError, match="async"):
        guest.export("impatient")
    assert kernel.call(place) == 1


def test_time_passes_for_code_that_waits_for_it(kernel, guest):
    """A busy wait on jiffies ends, at the tick it waits for: time passes for code that runs long."""
    jiffies = kernel.symbol("jiffies")
    before = kernel.clock.jiffies
    wait = "again: pause; cmp [rcx], rax; jb again; mov rax, [rcx]; ret"
    code = f"mov rcx, {jiffies:#x}; mov rax, [rcx]; add rax, 5; {wait}"
    assert guest.call(code) == before + 5
    assert kernel.clock.jiffies == before + 5
    assert kernel.memory.read_u64(jiffies) == before + 5


def test_code_that_never_ends_is_reported_when_its_time_is_up(kernel, guest):
    kernel.cpu.watchdog.limit = 0.4
    with pytest.raises(Killed) as death:
        guest.call("again: pause; jmp again")
    assert "never returned" in death.value.explanation
    assert any("soft lockup" in line for line in kernel.dmesg())
    assert guest.call("mov eax, 7; ret") == 7


def test_who_sleeps_and_wakes_for_ever_is_given_up(kernel, guest):
    kernel.cpu.watchdog.limit = 0.2
    place = guest.code("mov edi, 50; mov rax, {msleep}; sub rsp, 8; again: call rax; mov edi, 50; "
                       "mov rax, {msleep}; jmp again")  # fmt: skip
    with pytest.raises(SleepsForever) as caught:
        kernel.call(place)
    assert "again and again" in caught.value.explanation
    kernel.cpu.watchdog.limit = 20
    assert guest.call("mov eax, 42; ret") == 42  # the machine lives on


def test_a_task_that_sleeps_comes_back_with_interrupts_on(kernel, guest):
    """finish_task_switch() turns them on, whatever they were."""
    assert guest.call("sub rsp, 8; cli; mov edi, 1; call {msleep}; pushfq; pop rax; add rsp, 8; ret") >> 9 & 1


def test_sleeping_in_a_read_side_section_is_warned_of_once(kernel, guest):
    if "rcu_read_lock_nesting" not in kernel.profile.struct("task_struct").members:
        pytest.skip("RCU of this release cannot be preempted")
    code = (
        "push rbx; call {__rcu_read_lock}; mov edi, 1; call {msleep}; call {__rcu_read_unlock}; pop rbx; ret"
    )
    guest.call(code)
    guest.call(code)
    lines = [line for line in kernel.dmesg() if "RCU" in line or "tree_plugin.h" in line]
    assert lines[0] == "Voluntary context switch within RCU read-side critical section!"
    assert lines[1].endswith(" at kernel/rcu/tree_plugin.h:320 rcu_note_context_switch+0x4ee/0x650")
    assert len(lines) == 2


def test_work_that_was_not_prepared_is_not_queued(kernel, guest):
    work = guest.data(bytes(64))
    assert guest.export("queue_work_on", 0, kernel.memory.read_u64(kernel.symbol("system_wq")), work) & 1
    assert any("kernel/workqueue.c:1502 __queue_work+0x33c/0x440" in line for line in kernel.dmesg())
    kernel.advance(1)
    assert not kernel.oopses.count


def test_a_timer_without_function_is_not_armed(kernel, guest):
    timer = guest.data(bytes(64))
    assert guest.export("mod_timer", timer, kernel.clock.jiffies + 5) == 0
    kernel.advance(1)
    assert not kernel.oopses.count
    assert kernel.findings.reports[0]["kind"] == "timer without function"
