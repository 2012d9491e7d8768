"""What the samples that drive hardware do, as their pages say."""

import errno
import struct

import pytest

from kmod_emu import Kernel, KernelError, samples


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


def card(kernel):
    @kernel.device(ports=0x300, size=4)
    class Card:
        count, answer = 0, None

        def read(self, offset, size):
            assert size == (2 if offset == 2 else 1)
            if offset == 1:
                return self.answer is not None
            if offset == 2:
                return self.count
            answer, self.answer = self.answer, None
            return answer

        def write(self, offset, size, value):
            assert (offset, size) == (0, 1)
            self.count += 1
            self.answer = ord(chr(value).upper())
            kernel.raise_irq(7)

    return Card


def test_ports():
    kernel = Kernel()
    card(kernel)
    kernel.insmod(samples.path("ports"), "text=abc")
    assert kernel.dmesg()[2:] == [
        "ports: a -> A",
        "ports: b -> B",
        "ports: c -> C",
        "ports: the card has seen 3 letters",
    ]
    assert "0300-0303 : ports\n" in kernel.cat("/proc/ioports").decode()
    assert "  7:          3   IO-APIC   7-edge      ports\n" in kernel.cat("/proc/interrupts").decode()
    kernel.rmmod("ports")
    assert "ports" not in kernel.cat("/proc/ioports").decode()


@pytest.mark.parametrize(
    ("params", "error", "line"),
    [
        ("", errno.ENODEV, "ports: no card at 0x300"),
        ("base=0x3fa", errno.EBUSY, "ports: 0x3fa to 0x3fd are somebody's"),
    ],
)
def test_ports_without_a_card(params, error, line):
    kernel = Kernel()
    with pytest.raises(KernelError) as refused:
        kernel.insmod(samples.path("ports"), params)
    assert (refused.value.errno, kernel.dmesg()[-1]) == (error, line)
    assert "ports" not in kernel.cat("/proc/ioports").decode()


def test_mmio():
    kernel = Kernel()

    @kernel.device(mmio=0xFED40000, size=0x100)
    class Timer:
        count = 0

        def read(self, offset, size):
            if offset == 8:
                self.count -= 1
                return self.count
            page = struct.pack("<I12x8s", 0x54494D45, b"egg-3min")
            return int.from_bytes(page[offset : offset + size], "little")

        def write(self, offset, size, value):
            if offset == 4:
                self.count = value

    before = kernel.held()
    kernel.insmod(samples.path("mmio"))
    assert kernel.dmesg()[2:] == ["mmio: found egg-3min", "mmio: 2 left", "mmio: 1 left"]
    assert "fed40000-fed400ff : mmio\n" in kernel.cat("/proc/iomem").decode()
    kernel.rmmod("mmio")
    assert kernel.held() == before
    Timer.count = 9
    kernel.cpu.mmio.detach(Timer)
    with pytest.raises(KernelError):
        kernel.insmod(samples.path("mmio"))
    assert kernel.dmesg()[-1] == "mmio: id 0xffffffff: nothing there"


def test_platform():
    kernel = Kernel()

    @kernel.device(mmio=0xFED40000, size=8, irq=20, platform="hot-sensor")
    class Sensor:
        value = limit = 250

        def read(self, offset, size):
            return self.value

        def write(self, offset, size, value):
            assert offset == 4
            self.limit = value

    before = kernel.held()
    kernel.insmod(samples.path("platform"), "own=1")
    assert Sensor.limit == 300
    Sensor.value = 301
    kernel.raise_irq(20)
    assert kernel.cat("/sys/devices/platform/hot-sensor/value") == b"301\n"
    with kernel.process() as process:
        assert (
            process.readlink("/sys/bus/platform/devices/hot-sensor") == "../../../devices/platform/hot-sensor"
        )
        assert process.readlink("/sys/bus/platform/drivers/sensor/hot-sensor").endswith("platform/hot-sensor")
        assert (
            process.readlink("/sys/devices/platform/hot-sensor/driver")
            == "../../../bus/platform/drivers/sensor"
        )
    assert "MODALIAS=platform:hot-sensor\n" in kernel.cat("/sys/devices/platform/hot-sensor/uevent").decode()
    assert "fed40000-fed40007 : hot-sensor\n  fed40000-fed40007 : hot-sensor\n" in (
        kernel.cat("/proc/iomem").decode()
    )
    kernel.rmmod("platform")
    assert kernel.dmesg()[2:] == [
        "sensor hot-sensor: line 20, driver data 2",
        "sensor mild-sensor.7: invalid resource (null)",
        "sensor: probe of mild-sensor.7 failed with error -22",
        "sensor mild-sensor.7: last of all, the first action",
        "sensor hot-sensor: too hot: 301",
        "sensor hot-sensor: removed",
        "sensor hot-sensor: last of all, the first action",
    ]
    assert kernel.held() == before
    assert "hot-sensor" not in kernel.cat("/proc/interrupts").decode()[:400].split("20:")[0]


def test_a_device_is_pulled_out():
    """remove() of its driver runs; what is left is the driver, and the device may come again."""

    class Sensor:
        def read(self, offset, size):
            return 250

        def write(self, offset, size, value):
            pass

    kernel = Kernel()
    kernel.insmod(samples.path("platform"))
    held = []
    for _ in range(3):
        sensor = kernel.device(mmio=0xFED40000, size=8, irq=20, platform="hot-sensor")(Sensor)
        kernel.unplug(sensor)
        held.append(kernel.held())
    assert held[1] == held[2]
    assert kernel.dmesg().count("sensor hot-sensor: removed") == 3
    with kernel.process() as process:
        assert process.listdir("/sys/bus/platform/devices") == []
    with pytest.raises(ValueError, match="no such device is plugged in"):
        kernel.unplug(sensor)


def test_gpio():
    kernel, seen = Kernel(), []
    kernel.gpio(count=32, changed=lambda line, level: seen.append((line, level)))
    kernel.insmod(samples.path("gpio"))
    for level in (1, 0, 1):
        kernel.set_gpio(17, level)
    assert kernel.dmesg()[2:] == ["gpio: pressed, the light is on", "gpio: pressed, the light is off"]
    assert " 24:          2      gpio  24-edge      button\n" in kernel.cat("/proc/interrupts").decode()
    kernel.rmmod("gpio")
    assert seen == [(4, 0), (4, 1), (4, 0), (4, 0)]
    with pytest.raises(LookupError, match="no GPIO line 99"):
        kernel.set_gpio(99, 1)


def test_a_gpio_line_is_set_later():
    kernel = Kernel()
    kernel.gpio(count=32)
    kernel.insmod(samples.path("gpio"))
    kernel.set_gpio(17, 1, after=2)
    kernel.advance(1)
    assert "pressed" not in kernel.dmesg()[-1]
    kernel.advance(1.5)
    assert kernel.dmesg()[-1] == "gpio: pressed, the light is on"
    with pytest.raises(LookupError, match="no GPIO line 99"):
        kernel.set_gpio(99, 1, after=1)


def test_gpio_of_a_machine_without():
    kernel = Kernel()
    with pytest.raises(KernelError) as refused:
        kernel.insmod(samples.path("gpio"))
    assert refused.value.errno == errno.ENODEV
    assert kernel.dmesg()[-1] == "gpio: line 17: -517"
