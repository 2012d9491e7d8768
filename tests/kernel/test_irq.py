"""Interrupt lines, as kernel/irq/ of Linux 6.1 treats them."""

import errno

import pytest

from kmod_emu import Kernel, KernelError

SHARED, ONESHOT = 0x80, 0x2000
INTMASK = 0xFFFF_FFFF


def counting(guest, result=1):
    """A handler that counts its calls; its address and that of the counter."""
    counter = guest.near_data(bytes(8))
    code = guest.code(f"mov rax, {counter:#x}; inc dword ptr [rax]; mov eax, {result}; ret")
    return code, counter


def request(guest, irq, handler, flags=0, name="dev", dev_id=0, thread_fn=0):
    result = guest.export("request_threaded_irq", irq, handler, thread_fn, flags, guest.text(name), dev_id)
    return -(-result & INTMASK)


def threads(kernel):
    return [task.comm for task in kernel.tasks.by_pid.values() if task.comm.startswith("irq/")]


def calls(kernel, counter):
    return kernel.memory.read_u32(counter)


def test_a_handler_is_called_until_it_is_freed(kernel, guest):
    handler, counter = counting(guest)
    assert request(guest, 5, handler) == 0
    kernel.raise_irq(5)
    kernel.raise_irq(5)
    assert calls(kernel, counter) == 2
    assert kernel.memory.read_cstring(guest.export("free_irq", 5, 0)) == b"dev"
    kernel.raise_irq(5)
    assert calls(kernel, counter) == 2


@pytest.mark.parametrize(
    ("irq", "flags", "dev_id", "error"),
    [
        (5, SHARED, 0, errno.EINVAL),
        (5, SHARED | 0x80000, 1, errno.EINVAL),
        (5, 0x40000, 1, errno.EINVAL),
        (200, 0, 0, errno.EINVAL),
        (1 << 31, 0, 0, errno.ENOTCONN),
        (0, 0, 0, errno.EBUSY),
        (1, 0, 0, errno.EBUSY),
    ],
)
def test_what_cannot_be_requested(guest, irq, flags, dev_id, error):
    handler, _ = counting(guest)
    assert request(guest, irq, handler, flags, dev_id=dev_id) == -error


def test_a_line_is_shared_by_those_who_all_want_to(kernel, guest):
    first, calls_of_first = counting(guest, result=0)
    second, calls_of_second = counting(guest)
    assert request(guest, 10, first, SHARED, "a", 1) == 0
    assert request(guest, 10, second, 0, "b", 2) == -errno.EBUSY
    assert kernel.dmesg()[-1] == "genirq: Flags mismatch irq 10. 00000000 (b) vs. 00000080 (a)"
    assert request(guest, 10, second, SHARED | ONESHOT, "b", 2) == -errno.EBUSY
    assert request(guest, 10, second, SHARED, "b", 2) == 0
    kernel.raise_irq(10)
    assert (calls(kernel, calls_of_first), calls(kernel, calls_of_second)) == (1, 1)
    guest.export("free_irq", 10, 1)
    kernel.raise_irq(10)
    assert (calls(kernel, calls_of_first), calls(kernel, calls_of_second)) == (1, 2)
    assert " 10:          2   IO-APIC  10-edge      b\n" in kernel.cat("/proc/interrupts").decode()


def test_freeing_what_is_free_is_warned_of(kernel, guest):
    assert guest.export("free_irq", 5, 0) == 0
    assert "Trying to free already-free IRQ 5" in kernel.dmesg()
    assert any("kernel/irq/manage.c:1887 free_irq+0x1d3/0x340" in line for line in kernel.dmesg())


def test_disabling_nests_and_keeps_one_interrupt(kernel, guest):
    handler, counter = counting(guest)
    request(guest, 5, handler)
    guest.export("disable_irq", 5)
    guest.export("disable_irq_nosync", 5)
    kernel.raise_irq(5)
    kernel.raise_irq(5)
    guest.export("enable_irq", 5)
    assert calls(kernel, counter) == 0
    guest.export("enable_irq", 5)
    assert calls(kernel, counter) == 1
    guest.export("enable_irq", 5)
    assert "Unbalanced enable for IRQ 5" in kernel.dmesg()


def test_a_thread_without_handler_must_be_oneshot(kernel, guest):
    thread, counter = counting(guest)
    assert request(guest, 5, 0, thread_fn=thread) == -errno.EINVAL
    assert kernel.dmesg()[-1] == (
        "genirq: Threaded irq requested with handler=NULL and !ONESHOT for dev (irq 5)"
    )
    assert request(guest, 5, 0, ONESHOT, thread_fn=thread) == 0
    kernel.raise_irq(5)
    assert calls(kernel, counter) == 1
    assert [task.comm for task in kernel.tasks.by_pid.values() if task.comm.startswith("irq/")] == [
        "irq/5-dev"
    ]
    guest.export("free_irq", 5, 0)
    assert threads(kernel) == []


def test_waking_a_thread_that_is_not_there(kernel, guest):
    handler, _ = counting(guest, result=2)
    request(guest, 5, handler)
    kernel.raise_irq(5)
    kernel.raise_irq(5)
    text = "IRQ 5 device dev returned IRQ_WAKE_THREAD but no thread function available."
    assert kernel.dmesg().count(text) == 1


def test_nonsense_from_a_handler_is_reported(kernel, guest):
    handler, _ = counting(guest, result=7)
    request(guest, 5, handler)
    kernel.raise_irq(5)
    assert "irq event 5: bogus return value 7" in kernel.dmesg()
    assert kernel.dmesg()[-2] == "handlers:"


def test_nobody_cares_for_a_hundred_thousand_interrupts(kernel, guest):
    handler, counter = counting(guest, result=0)
    request(guest, 5, handler)
    kernel.irqs.line(5).streak = kernel.irqs.line(5).unhandled = 99_998  # raising them all takes seconds
    kernel.raise_irq(5)
    assert kernel.dmesg() == []
    kernel.raise_irq(5)
    assert 'irq 5: nobody cared (try booting with the "irqpoll" option)' in kernel.dmesg()
    assert kernel.dmesg()[-1] == "Disabling IRQ #5"
    kernel.raise_irq(5)
    assert calls(kernel, counter) == 2


def test_probing_finds_the_line_that_was_raised(kernel, guest):
    free = guest.export("probe_irq_on")
    assert free & 1 << 7
    assert not free & 1 << 1
    kernel.raise_irq(7)
    assert guest.export("probe_irq_off", free) == 7
    free = guest.export("probe_irq_on")
    assert guest.export("probe_irq_off", free) == 0


def test_a_line_that_is_not_there(kernel):
    with pytest.raises(KernelError) as refused:
        kernel.raise_irq(99)
    assert refused.value.errno == errno.EINVAL


def test_lines_survive_in_a_saved_machine(kernel, guest, tmp_path):
    handler, counter = counting(guest)
    request(guest, 5, handler)
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    again.raise_irq(5)
    assert calls(again, counter) == 1
