"""I2C chips that Python plays, their drivers, and the distribution's own i2c-dev where it is installed."""

import errno
import os
import struct
from pathlib import Path

import pytest

from kmod_emu import Kernel, KernelError, samples

I2C_SLAVE, I2C_FUNCS, I2C_RDWR, I2C_SMBUS = 0x0703, 0x0705, 0x0707, 0x0720
I2C_DEV = sorted(Path("/lib/modules").glob("6.1.0-*-amd64/kernel/drivers/i2c/i2c-dev.ko"))


def thermometer(kernel, **where):
    @kernel.device(i2c=0x48, **where)
    class Thermometer:
        value, limit = 215, 0

        def read(self, register, count):
            if register == 0x10:
                return b"\x01\x02\x03\x04\x05\x06\x07\x08"
            if register == 0x01:
                return self.value > self.limit
            return self.value.to_bytes(2, "big")

        def write(self, register, data):
            assert register == 0x03
            self.limit = int.from_bytes(data, "big")

    return Thermometer


def write(kernel, path: str, text: str) -> None:
    with kernel.process() as process:
        process.write(process.open(path, os.O_WRONLY), text.encode())


def test_a_driver_of_a_chip():
    kernel = Kernel()
    chip = thermometer(kernel, name="thermo", irq=20)
    before = kernel.held()
    kernel.insmod(samples.path("i2c"))
    assert chip.limit == 300
    chip.value = 301
    kernel.raise_irq(20)
    assert kernel.cat("/sys/bus/i2c/devices/0-0048/temperature") == b"301\n"
    assert kernel.cat("/sys/bus/i2c/devices/0-0048/uevent") == b"DRIVER=thermo\nMODALIAS=i2c:thermo\n"
    with kernel.process() as process:
        link = process.readlink("/sys/bus/i2c/drivers/thermo/0-0048")
        assert link == "../../../../devices/i2c-0/0-0048"
    kernel.rmmod("i2c")
    assert kernel.dmesg()[2:] == [
        "thermo 0-0048: serial number 0102030405060708, 215",
        "thermo 0-0048: alarm: 301",
        "thermo 0-0048: removed",
    ]
    assert kernel.held() == before


def test_a_module_makes_its_client_itself():
    kernel = Kernel()
    with pytest.raises(KernelError) as refused:
        kernel.insmod(samples.path("i2c"), "at=0x48")
    assert refused.value.errno == errno.ENODEV  # there is no bus
    thermometer(kernel)
    kernel.insmod(samples.path("i2c"), "at=0x48")
    assert kernel.dmesg()[-1] == "thermo 0-0048: serial number 0102030405060708, 215"
    kernel.rmmod("i2c")
    with kernel.process() as process:
        assert process.listdir("/sys/bus/i2c/devices") == ["i2c-0"]
    kernel.insmod(samples.path("i2c"), "at=0x49")  # where nobody answers
    with kernel.process() as process, pytest.raises(KernelError):
        process.readlink("/sys/bus/i2c/devices/0-0049/driver")


def test_new_device_and_delete_device():
    kernel = Kernel()
    thermometer(kernel)
    kernel.insmod(samples.path("i2c"))
    adapter = "/sys/bus/i2c/devices/i2c-0"
    write(kernel, f"{adapter}/new_device", "thermo 0x48\n")
    assert kernel.dmesg()[-2:] == [
        "thermo 0-0048: serial number 0102030405060708, 215",
        "i2c i2c-0: new_device: Instantiated device thermo at 0x48",
    ]
    for file, text, error in (
        ("new_device", "thermo 0x48", errno.EBUSY),
        ("new_device", "thermo", errno.EINVAL),
        ("new_device", "thermo 0x80", errno.EINVAL),
        ("delete_device", "0x49", errno.ENOENT),
    ):
        with pytest.raises(KernelError) as refused:
            write(kernel, f"{adapter}/{file}", text)
        assert refused.value.errno == error, text
    write(kernel, f"{adapter}/delete_device", "0x48")
    assert kernel.dmesg()[-2:] == [
        "i2c i2c-0: delete_device: Deleting device thermo at 0x48",
        "thermo 0-0048: removed",
    ]


def test_a_model_that_raises_an_error():
    kernel = Kernel()

    @kernel.device(i2c=0x48, name="thermo")
    class Broken:
        def transfer(self, data, count):
            raise OSError(errno.EREMOTEIO, "the wire is cut")

    kernel.insmod(samples.path("i2c"))
    assert kernel.dmesg()[-1] == "thermo: probe of 0-0048 failed with error -121"
    with pytest.raises(ValueError, match="at 0x48 of I2C bus 0"):
        kernel.device(i2c=0x48)(Broken)


@pytest.mark.skipif(not I2C_DEV, reason="Debian's 6.1 modules are not installed")
def test_the_distributions_i2c_dev():
    """Programs reach the bus by /dev/i2c-0, as i2c-tools do."""
    kernel = Kernel()
    thermometer(kernel)
    kernel.insmod(I2C_DEV[-1])
    process = kernel.process()
    fd = process.open("/dev/i2c-0", os.O_RDWR)
    functions = bytearray(8)
    process.ioctl(fd, I2C_FUNCS, functions)
    assert functions[0] & 1
    process.ioctl(fd, I2C_SLAVE, 0x48)
    assert process.write(fd, b"\x10") == 1
    assert process.read(fd, 8) == b"\x01\x02\x03\x04\x05\x06\x07\x08"
    data = process.put(bytes(34))
    process.ioctl(fd, I2C_SMBUS, packed(data))
    assert process.get(data, 2) == (215).to_bytes(2, "big")
    process.ioctl(fd, I2C_SLAVE, 0x50)
    with pytest.raises(KernelError) as refused:
        process.read(fd, 1)
    assert refused.value.errno == errno.ENXIO
    process.exit()
    kernel.rmmod("i2c_dev")


def packed(data: int) -> bytes:
    """struct i2c_smbus_ioctl_data: read the word 0."""
    return struct.pack("<BBxxIQ", 1, 0x00, 3, data)


def test_a_kept_machine_keeps_its_bus(tmp_path):
    kernel = Kernel()
    thermometer(kernel, name="thermo")
    kernel.insmod(samples.path("i2c"))
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    with pytest.raises(KernelError) as refused:
        again.cat("/sys/bus/i2c/devices/0-0048/temperature")
    assert refused.value.errno == errno.ENXIO  # models are not kept
    thermometer(again)
    assert again.cat("/sys/bus/i2c/devices/0-0048/temperature") == b"215\n"
    again.rmmod("i2c")
