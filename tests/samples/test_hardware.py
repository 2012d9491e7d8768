"""What the samples that drive hardware do, as their pages say."""

from kmod_emu import Kernel, samples


def loaded(name, params=""):
    """A machine with one sample, and a function that gives the lines since the last call."""
    kernel = Kernel()
    kernel.insmod(samples.path(name), params)
    seen = 2  # the taint lines

    def news():
        nonlocal seen
        lines, seen = kernel.dmesg()[seen:], len(kernel.dmesg())
        return lines

    return kernel, news


def test_irq():
    kernel, news = loaded("irq")
    assert news() == [
        "genirq: Flags mismatch irq 10. 00000000 (selfish) vs. 00000080 (first)",
        "irq: a second handler that does not share: -16",
    ]
    kernel.raise_irq(10)
    assert news() == [
        "irq: handler 0 of line 10, hardirq 1, interrupts off 1",
        "irq: handler 1 of line 10, hardirq 1, interrupts off 1",
    ]
    kernel.raise_irq(5)
    kernel.raise_irq(5)  # the line is masked until the thread is done
    kernel.advance(0.1)
    assert (
        news()
        == [
            "irq: line 5 was raised",
            "irq: irq/5-slow takes its time, in task context 1",
            "irq: irq/5-slow is done",
        ]
        * 2
    )
    table = kernel.cat("/proc/interrupts").decode()
    assert "  5:          2   IO-APIC   5-edge      slow\n" in table
    assert " 10:          1   IO-APIC  10-edge      first, second\n" in table
    kernel.rmmod("irq")
    assert news() == ["irq: frees slow"]
