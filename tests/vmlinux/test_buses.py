"""I2C, SPI, GPIO and the platform bus of a distribution's kernel, with its drivers and with ours."""

import os

import pytest

from kmod_emu import samples
from kmod_emu.devices.lm75 import Lm75


def echo(process, text, path):
    descriptor = process.open(path, os.O_WRONLY)
    assert process.write(descriptor, text.encode()) == len(text)
    process.close(descriptor)


@pytest.fixture
def hwmon(real, distribution_module):
    """Loads a driver for a sensor; a function that reads what it shows."""

    def load(driver):
        real.insmod(distribution_module(f"drivers/hwmon/{driver}"))
        return lambda name: real.cat(f"/sys/class/hwmon/hwmon0/{name}").decode()

    return load


def test_a_thermometer_on_i2c(real, hwmon):
    sensor = real.device(**Lm75.wiring)(Lm75(21.5))
    show = hwmon("lm75")
    assert real.dmesg()[-1] == "lm75 0-0048: hwmon0: sensor 'lm75'"
    assert [show(name) for name in ("name", "temp1_input", "temp1_max")] == ["lm75\n", "21500\n", "80000\n"]
    sensor.celsius = -10
    real.advance(2)
    assert show("temp1_input") == "-10000\n"
    with real.process() as process:
        echo(process, "30000", "/sys/class/hwmon/hwmon0/temp1_max")
    assert not sensor.alarm
    sensor.celsius = 30
    assert sensor.alarm
    real.rmmod("lm75")
    with real.process() as process:
        assert process.listdir("/sys/class/hwmon") == []
        assert process.readlink("/sys/bus/i2c/devices/0-0048").endswith("i2c-0/0-0048")


def test_nobody_at_an_address_of_the_bus(real, distribution_module):
    """EEPROM drivers and i2cdetect find out so who is there."""
    real.device(i2c=0x48)(Lm75())
    real.insmod(distribution_module("drivers/i2c/i2c-dev"))
    with real.process() as process:
        descriptor = process.open("/dev/i2c-0", 2)
        for address, answer in ((0x48, 1), (0x49, -6)):
            assert process.syscall("ioctl", descriptor, 0x0703, address) == 0  # I2C_SLAVE
            assert process.syscall("write", descriptor, process.put(b"\1"), 1) == answer


class Lm70:
    """A thermometer on SPI: quarter degrees in the upper eleven bits."""

    def transfer(self, data):
        return (101 << 5).to_bytes(2, "big")


def test_a_thermometer_on_spi(real, hwmon):
    real.device(spi=0, name="lm70")(Lm70)
    assert hwmon("lm70")("temp1_input") == "25250\n"


PLACES = ("/sys/class/hwmon", "/sys/bus/i2c/devices", "/sys/bus/spi/devices", "/sys/bus/platform/devices")


def listing(kernel, place):
    """Names in a directory, without those of buses that stay."""
    with kernel.process() as process:
        return [name for name in process.listdir(place) if not name.startswith(("i2c-", "kmod-emu-spi"))]


def test_one_model_serves_both_kernels(real):
    """The driver and the model of tests/samples/test_hardware.py."""

    class Sensor:
        value = limit = 250

        def read(self, offset, size):
            return self.value

        def write(self, offset, size, value):
            self.limit = value

    sensor = real.device(mmio=0xFED40000, size=8, irq=20, platform="hot-sensor")(Sensor())
    real.printk.clear()
    real.insmod(samples.path("platform"))
    assert sensor.limit == 300
    sensor.value = 301
    real.raise_irq(20)
    assert real.cat("/sys/devices/platform/hot-sensor/value") == b"301\n"
    real.rmmod("platform")
    assert real.dmesg()[2:] == [
        "sensor hot-sensor: line 20, driver data 2",
        "sensor hot-sensor: too hot: 301",
        "sensor hot-sensor: removed",
        "sensor hot-sensor: last of all, the first action",
    ]


def test_devices_are_pulled_out(real, load):
    """Their drivers' remove() runs, which stay; the devices come again."""

    class Sensor:
        def read(self, offset, size):
            return 250

        def write(self, offset, size, value):
            pass

    load("lm75", "lm70")
    real.insmod(samples.path("platform"))
    before = {place: sorted(listing(real, place)) for place in PLACES}
    for _ in range(2):
        chips = (
            real.device(**Lm75.wiring)(Lm75()),
            real.device(spi=0, name="lm70")(Lm70),
            real.device(mmio=0xFED40000, size=8, irq=20, platform="hot-sensor")(Sensor),
        )
        assert len(listing(real, "/sys/class/hwmon")) == 2
        for chip in chips:
            real.unplug(chip)
        assert {place: sorted(listing(real, place)) for place in PLACES} == before
        assert "sensor hot-sensor: removed" in real.dmesg()
    with pytest.raises(ValueError, match="no such device is plugged in"):
        real.unplug(chips[0])


def test_gpio(real):
    seen = []
    real.gpio(count=32, changed=lambda line, level: seen.append((line, level)))
    real.printk.clear()
    real.insmod(samples.path("gpio"))
    for level in (1, 0, 1):
        real.set_gpio(17, level)
    assert real.dmesg()[2:] == ["gpio: pressed, the light is on", "gpio: pressed, the light is off"]
    real.rmmod("gpio")
    assert seen == [(4, 0), (4, 1), (4, 0), (4, 0)]
    with real.process() as process:
        echo(process, "17", "/sys/class/gpio/export")
        assert process.read_file("/sys/class/gpio/gpio17/value") == b"1\n"


def test_what_is_plugged_in_after_a_snapshot_goes_with_it(real):
    before = real.snapshot()
    for _ in range(2):
        real.device(mmio=0xFED40000, size=8)(Lm70)
        real.device(**Lm75.wiring)(Lm75())
        real.device(spi=0)(Lm70)
        real.gpio()
        real.restore(before)
