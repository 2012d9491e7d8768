"""SPI devices that Python plays, and their drivers."""

import errno

import pytest

from kmod_emu import Kernel, KernelError, samples


def converter(kernel, *, identity=b"\xad\x10\x01", **where):
    @kernel.device(spi=1, **where)
    class Converter:
        volts = (100, 1023)

        def transfer(self, data):
            if data[0] == 0x9F:
                return b"\xff" + identity
            if self.volts is None:
                raise OSError(errno.EIO, "the wire is cut")
            return b"\xff" + self.volts[data[1] >> 4].to_bytes(2, "big")

    return Converter


def test_a_driver_of_a_device():
    kernel = Kernel()
    device = converter(kernel, name="adc10")
    before = kernel.held()
    kernel.insmod(samples.path("spi"))
    place = "/sys/bus/spi/devices/spi0.1"
    assert (kernel.cat(f"{place}/in0"), kernel.cat(f"{place}/in1")) == (b"100\n", b"1023\n")
    assert kernel.cat(f"{place}/modalias") == b"spi:adc10\n"
    assert kernel.cat(f"{place}/uevent") == b"DRIVER=adc\nMODALIAS=spi:adc10\n"
    with kernel.process() as process:
        link = process.readlink(place)
        assert link == "../../../devices/virtual/spi_master/spi0/spi0.1"
    device.volts = None
    with pytest.raises(KernelError) as refused:
        kernel.cat(f"{place}/in0")
    assert refused.value.errno == errno.EIO
    kernel.rmmod("spi")
    assert kernel.dmesg()[2:] == ["adc spi0.1: converter ad1001, 1000000 Hz", "adc spi0.1: removed"]
    assert kernel.held() == before


def test_a_device_that_is_something_else():
    kernel = Kernel()
    converter(kernel, identity=b"\1\2\3", name="adc10")
    kernel.insmod(samples.path("spi"))
    assert kernel.dmesg()[-1] == "adc spi0.1: no converter: 010203"


def test_two_devices_in_one_place():
    kernel = Kernel()
    converter(kernel)
    with pytest.raises(ValueError, match="chip select 1 of SPI bus 0"):
        converter(kernel)
    with pytest.raises(ValueError, match="0 to 7"):
        kernel.device(spi=8)(object())
