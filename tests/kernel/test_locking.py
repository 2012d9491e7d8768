"""Locks between tasks, and what is reported about them (samples/ has the modules)."""

import pytest
from click.testing import CliRunner

from kmod_emu import samples
from kmod_emu.cli.main import main
from kmod_emu.errors import Killed
from kmod_emu.kernel.signal import SIGKILL, send_signal

EINTR = -4 & 0xFFFF_FFFF


def settle(kernel):
    kernel.run(kernel.sched.sleep(1))


def start(kernel, name, *arguments):
    task = kernel.tasks.create(name)
    kernel.sched.start(task, kernel.call_guest(kernel.symbol(name), *arguments))
    settle(kernel)
    return task


@pytest.fixture
def mutex(guest):
    return guest.data(b"", 64)


def test_mutex_is_handed_on_in_order_of_arrival(kernel, guest, mutex):
    guest.export("mutex_lock", mutex)
    first, second = (start(kernel, "mutex_lock", mutex) for _ in range(2))
    assert not first.finished
    guest.export("mutex_unlock", mutex)
    settle(kernel)
    assert (first.finished, second.finished) == (True, False)
    assert kernel.memory.read_u64(mutex) & ~7 == first.address
    guest.as_task(first, "mutex_unlock", mutex)
    settle(kernel)
    assert second.finished


def test_signal_ends_waiting_for_a_mutex(kernel, guest, mutex):
    guest.export("mutex_lock", mutex)
    waiter = start(kernel, "mutex_lock_interruptible", mutex)
    send_signal(kernel, waiter, SIGKILL)
    settle(kernel)
    assert waiter.take_result() & 0xFFFF_FFFF == EINTR
    guest.export("mutex_unlock", mutex)
    assert guest.export("mutex_trylock", mutex) & 1


def test_many_readers_or_one_writer(kernel, guest):
    sem = guest.data(b"", 64)
    guest.export("__init_rwsem", sem, 0, 0)
    guest.export("down_read", sem)
    guest.export("down_read", sem)
    writer = start(kernel, "down_write", sem)
    guest.export("up_read", sem)
    settle(kernel)
    assert not writer.finished
    guest.export("up_read", sem)
    settle(kernel)
    assert writer.finished
    reader = start(kernel, "down_read", sem)
    assert not reader.finished
    guest.as_task(writer, "downgrade_write", sem)
    settle(kernel)
    assert reader.finished


def test_spinlock_taken_twice_is_a_lockup_that_says_where(kernel, guest, mutex):
    code = "push rbx; mov rdi, {lock}; call {_raw_spin_lock}; mov rdi, {lock}; call {_raw_spin_lock}; ud2"
    with pytest.raises(Killed) as death:
        guest.call(code, lock=mutex)
    assert "holds it since" in death.value.explanation
    assert kernel.findings.reports[0]["kind"] == "self-deadlock"


def test_interrupts_are_held_off_while_a_lock_is_held(kernel, guest, mutex):
    """A timer that is due while interrupts are off comes when they are on again."""
    cell = guest.near_data(b"", 8)
    fire = guest.code("mov dword ptr [{cell}], 1; ret", cell=cell)
    timer = guest.data(b"", 64)
    guest.export("init_timer_key", timer, fire, 0, 0, 0)
    kernel.timers.arm(timer, kernel.clock.jiffies + 1)
    code = guest.code(
        "push rbx; push r12; mov rdi, {lock}; call {_raw_spin_lock_irqsave}; mov rbx, rax; "
        "mov edi, 20000; call {__udelay}; mov r12d, [{cell}]; mov rdi, {lock}; mov rsi, rbx; "
        "call {_raw_spin_unlock_irqrestore}; mov eax, [{cell}]; shl eax, 1; or eax, r12d; "
        "pop r12; pop rbx; ret",
        lock=mutex,
        cell=cell,
    )
    assert kernel.call(code) == 0b10


def test_sleeping_with_interrupts_off_is_told(kernel, guest):
    """The real kernel says nothing, and turns them on."""
    guest.call("push rbx; cli; mov edi, 1; call {msleep}; pop rbx; ret")
    assert [(report["kind"], report["text"]) for report in kernel.findings.reports] == [
        ("sleeping in atomic context", "kmod-emu sleeps with interrupts off")
    ]
    assert not [line for line in kernel.dmesg() if "BUG" in line]


def test_mutex_in_an_rcu_section_is_told(kernel, guest, mutex):
    guest.export("__mutex_init", mutex, 0, 0)
    code = "push rbx; call {__rcu_read_lock}; mov rdi, {lock}; call {mutex_lock}; "
    guest.call(
        code + "mov rdi, {lock}; call {mutex_unlock}; call {__rcu_read_unlock}; pop rbx; ret", lock=mutex
    )
    (report,) = kernel.findings.reports
    assert report["kind"] == "sleeping in atomic context"
    assert report["text"].endswith("which may sleep, between rcu_read_lock() and rcu_read_unlock()")


def test_an_rcu_section_that_is_taken_to_user_space_is_told(kernel, guest):
    reader = kernel.tasks.create("reader")
    guest.as_task(reader, "__rcu_read_lock")
    kernel.lockdep.check_idle(reader, "on return to user space")
    (report,) = kernel.findings.reports
    assert report["kind"] == "lock held on return to user space"
    assert report["text"].startswith("reader is between rcu_read_lock() and rcu_read_unlock()")


def test_findings_are_told_by_the_commands(tmp_path):
    ran = CliRunner().invoke(main, ["run", "--quiet", "heldlock"])
    sentence = "insmod holds the mutex `kept` of heldlock, taken at heldlock_init+0x11/0x1000 [heldlock]"
    assert f"kmod-emu: {sentence} (samples/heldlock/heldlock.c:13), on return to user space\n" in ran.output
    kept = ["--state", str(tmp_path / "machine"), "insmod", str(samples.path("heldlock"))]
    ran = CliRunner().invoke(main, kept)
    assert ran.exit_code == 0
    assert f"kmod-emu: {sentence}" in ran.output
