"""Wait queues, completions and sleeping: tasks that call the exports, and others that wake them."""

import json

import pytest

from kmod_emu.abi import lists
from kmod_emu.errors import SleepsForever
from kmod_emu.kernel.plain import to_json
from kmod_emu.kernel.poll import PollTable
from kmod_emu.kernel.schedule import (
    TASK_INTERRUPTIBLE,
    TASK_NORMAL,
    TASK_UNINTERRUPTIBLE,
    sleep_in_state,
    task_state,
)
from kmod_emu.kernel.signal import SIGKILL, send_signal

MS = 1_000_000
TICK = 4 * MS
ERESTARTSYS = (1 << 64) - 512
EXCLUSIVE = 1
MAX_SCHEDULE_TIMEOUT = (1 << 63) - 1


def start(kernel, name, *arguments, comm="sleeper"):
    """A task that calls an export and sleeps in it."""
    task = kernel.tasks.create(comm)
    kernel.sched.start(task, kernel.call_guest(kernel.symbol(name), *arguments))
    kernel.run(kernel.sched.sleep(1))
    return task


def settle(kernel, ns=1):
    kernel.run(kernel.sched.sleep(ns))


def new_queue(guest):
    place = guest.data(b"", 64)
    guest.export("__init_waitqueue_head", place, 0, 0)
    return place


def new_completion(guest):
    place = guest.data(b"", 64)
    guest.export("__init_swait_queue_head", place + 8, 0, 0)
    return place


def wait_once(kernel, guest, queue, state=TASK_UNINTERRUPTIBLE, flags=0):
    """A task that waits on a queue once, as wait_event() is inlined; it returns the count of wake-ups."""
    code = guest.code(
        "push rbx; sub rsp, 64; mov rbx, rsp; mov rdi, rbx; mov esi, {flags}; call {init_wait_entry}; "
        "mov rdi, {queue}; mov rsi, rbx; mov edx, {state}; call {prepare_to_wait_event}; test rax, rax; "
        "jnz out; call {schedule}; xor eax, eax; "
        "out: push rax; push rax; mov rdi, {queue}; mov rsi, rbx; call {finish_wait}; pop rax; "
        "pop rax; add rsp, 64; pop rbx; ret",
        queue=queue,
        state=state,
        flags=flags,
    )
    task = kernel.tasks.create("waiter")
    kernel.sched.start(task, kernel.call_guest(code))
    settle(kernel)
    return task


def test_wake_up_wakes_all_that_are_not_exclusive_and_one_that_is(kernel, guest):
    queue = new_queue(guest)
    shared = [wait_once(kernel, guest, queue) for _ in range(2)]
    exclusive = [wait_once(kernel, guest, queue, flags=EXCLUSIVE) for _ in range(2)]
    guest.export("__wake_up", queue, TASK_NORMAL, 1, 0)
    settle(kernel)
    assert [task.finished for task in shared + exclusive] == [True, True, True, False]
    guest.export("__wake_up", queue, TASK_NORMAL, 0, 0)
    settle(kernel)
    assert exclusive[1].finished
    assert kernel.memory.read_u64(queue + 8) == queue + 8  # all took themselves off


def test_wake_up_passes_over_tasks_in_other_states(kernel, guest):
    queue = new_queue(guest)
    deep, light = wait_once(kernel, guest, queue), wait_once(kernel, guest, queue, TASK_INTERRUPTIBLE)
    guest.export("__wake_up", queue, TASK_INTERRUPTIBLE, 1, 0)
    settle(kernel)
    assert (deep.finished, light.finished) == (False, True)
    assert task_state(kernel, deep) == TASK_UNINTERRUPTIBLE


def test_signal_ends_an_interruptible_wait_only(kernel, guest):
    queue = new_queue(guest)
    deep, light = wait_once(kernel, guest, queue), wait_once(kernel, guest, queue, TASK_INTERRUPTIBLE)
    for task in (deep, light):
        send_signal(kernel, task, SIGKILL)
    settle(kernel)
    assert (deep.finished, light.finished) == (False, True)


def test_prepare_to_wait_event_refuses_when_a_signal_is_pending(kernel, guest):
    queue = new_queue(guest)
    task = kernel.tasks.create("waiter")
    send_signal(kernel, task, SIGKILL)
    entry = guest.data(b"", 64)
    guest.as_task(task, "init_wait_entry", entry, 0)
    result = guest.as_task(task, "prepare_to_wait_event", queue, entry, TASK_INTERRUPTIBLE)
    assert result == ERESTARTSYS
    assert kernel.memory.read_u64(entry + 24) == entry + 24


def test_completion_counts(kernel, guest):
    done = new_completion(guest)
    guest.export("complete", done)
    guest.export("complete", done)
    assert guest.export("try_wait_for_completion", done) & 0xFF == 1
    guest.export("wait_for_completion", done)
    assert guest.export("try_wait_for_completion", done) & 0xFF == 0
    guest.export("complete_all", done)
    for _ in range(3):
        guest.export("wait_for_completion", done)
    assert guest.export("completion_done", done) & 0xFF == 1


def test_complete_wakes_the_first_that_waits(kernel, guest):
    done = new_completion(guest)
    first, second = (start(kernel, "wait_for_completion", done) for _ in range(2))
    guest.export("complete", done)
    settle(kernel)
    assert (first.finished, second.finished) == (True, False)
    guest.export("complete_all", done)
    settle(kernel)
    assert second.finished


def test_completion_timeout_and_signal(kernel, guest):
    done = new_completion(guest)
    before = kernel.clock.jiffies
    assert guest.export("wait_for_completion_timeout", done, 10) == 0
    assert kernel.clock.jiffies - before == 11
    task = start(kernel, "wait_for_completion_interruptible", done)
    send_signal(kernel, task, SIGKILL)
    settle(kernel)
    assert task.take_result() == ERESTARTSYS & 0xFFFF_FFFF or task.take_result() == ERESTARTSYS
    in_time = start(kernel, "wait_for_completion_timeout", done, 100)
    guest.export("complete", done)
    settle(kernel)
    assert 95 < in_time.take_result() <= 100


def test_waiting_for_what_nobody_does_is_an_error(guest):
    with pytest.raises(SleepsForever):
        guest.export("wait_for_completion", new_completion(guest))


def test_schedule_timeout_returns_what_is_left(kernel, guest):
    assert guest.export("schedule_timeout_interruptible", 5) == 0
    task = start(kernel, "schedule_timeout_interruptible", 100)
    settle(kernel, 20 * TICK)
    guest.export("wake_up_process", task.address)
    settle(kernel)
    assert 78 <= task.take_result() <= 80
    assert guest.export("schedule_timeout", MAX_SCHEDULE_TIMEOUT) == MAX_SCHEDULE_TIMEOUT  # it is runnable


def test_negative_timeout_is_complained_about(kernel, guest):
    assert guest.export("schedule_timeout", -7) == 0
    assert kernel.dmesg()[0] == "schedule_timeout: wrong timeout value fffffffffffffff9"


def test_msleep_interruptible_returns_the_rest_in_milliseconds(kernel, guest):
    task = start(kernel, "msleep_interruptible", 1000)
    settle(kernel, 400 * MS)
    send_signal(kernel, task, SIGKILL)
    settle(kernel)
    assert 590 <= task.take_result() <= 610


def test_usleep_range_sleeps_to_the_end_of_the_range(kernel, guest):
    before = kernel.clock.now_ns
    guest.export("usleep_range_state", 100, 150, TASK_UNINTERRUPTIBLE)
    assert 150_000 <= kernel.clock.now_ns - before < 153_000


def test_wait_on_bit(kernel, guest):
    word = guest.data(b"", 8)
    kernel.memory.write_u64(word, 1 << 3)
    waiters = [
        start(kernel, "out_of_line_wait_on_bit", word, bit, kernel.symbol("bit_wait"), TASK_UNINTERRUPTIBLE)
        for bit in (3, 4)
    ]
    assert [task.finished for task in waiters] == [False, True]
    guest.export("wake_up_bit", word, 3)
    settle(kernel)
    assert not waiters[0].finished  # the bit is still set
    kernel.memory.write_u64(word, 0)
    guest.export("wake_up_bit", word, 3)
    settle(kernel)
    assert waiters[0].take_result() == 0


def test_sleeping_with_preemption_off_is_reported(kernel, guest):
    lock = guest.data(b"", 64)
    code = "push rbx; mov rdi, {lock}; call {_raw_spin_lock}; mov edi, 10; call {msleep}; pop rbx; ret"
    guest.call(code, lock=lock)
    log = kernel.dmesg()
    assert log[0].startswith("BUG: scheduling while atomic: kmod-emu/")
    assert log[0].endswith("/0x00000002")
    assert log[1] == "Modules linked in:"
    assert "Call Trace:" in log
    assert kernel.findings.reports[-1]["kind"] == "scheduling while atomic"
    assert "spinlock" in kernel.findings.reports[-1]["text"]


def test_sleep_survives_in_a_snapshot(kernel, guest):
    """A task that sleeps in guest code is only registers, so it can be put back.

    Two futures from one past.
    """
    code = guest.code(
        "push rbx; mov ebx, edi; mov edi, 100; call {msleep}; mov [{cell}], ebx; again: jmp again",
        cell=(cell := guest.near_data(b"", 8)),
    )
    task = kernel.tasks.create("pure")
    task.resume_at(code, rdi=7)
    kernel.sched.enqueue(task)
    settle(kernel)
    assert task.asleep
    moment = kernel.snapshot()
    json.dumps(moment.tables, default=to_json)  # plain data
    kernel.cpu.watchdog.limit = 1
    for _ in range(2):
        kernel.run(kernel.sched.sleep(200 * MS))
        assert kernel.memory.read_u32(cell) == 7
        kernel.restore(moment)
        assert kernel.memory.read_u32(cell) == 0


@pytest.mark.parametrize(("event", "wakes"), [(1, True), (4, False), (0, True)])
def test_poll_waits_on_several_queues_for_its_events(kernel, guest, event, wakes):
    queues = [new_queue(guest) for _ in range(2)]

    async def poll():
        table = PollTable(kernel, 1)
        for queue in queues:
            await kernel.call_guest(kernel.symbol("__pollwait"), 0, queue, table.address)
        woken = await sleep_in_state(kernel, TASK_INTERRUPTIBLE, 50 * MS)
        table.free()
        return woken

    task = kernel.tasks.create("poll")
    kernel.sched.start(task, poll())
    settle(kernel)
    guest.export("__wake_up", queues[1], TASK_NORMAL, 1, event)
    settle(kernel)
    assert task.finished == wakes
    settle(kernel, 60 * MS)
    assert task.take_result() == wakes
    assert all(lists.empty(kernel.memory, queue + 8) for queue in queues)
