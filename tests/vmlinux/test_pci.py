"""PCI devices played by Python on a distribution's kernel: its own bus code, its own drivers."""

import socket
import struct

import pytest

from kmod_emu.devices.e1000 import E1000

MAC = "02:00:00:00:00:07"
US = bytes.fromhex(MAC.replace(":", ""))
THEM = bytes.fromhex("020000000001")
PROTOCOL = 0x88B5  # for experiments
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


@pytest.fixture
def card(real, distribution_module):
    """The card with its driver, just after probe()."""
    card = E1000(MAC)
    real.device(**E1000.wiring)(card)
    real.insmod(distribution_module("drivers/net/ethernet/intel/e1000/e1000"))
    return card


def up(process, flags=IFF_UP):
    """What `ip link set eth0 up` does."""
    descriptor = process.enter("socket", socket.AF_INET, socket.SOCK_DGRAM, 0)
    request = process.put(struct.pack("<16sH22x", b"eth0", flags))
    process.enter("ioctl", descriptor, SIOCSIFFLAGS, request)


def test_the_functions_of_the_recordings_machine_are_built_in(real):
    """As it listed them: 0x8086 0x1237 0x060000 and so on."""
    places = ("00.0", "01.0", "01.1", "01.3")
    found = [
        "".join(real.cat(f"/sys/bus/pci/devices/0000:00:{place}/{what}").decode()[2:-1]
                for what in ("vendor", "device", "class"))
        for place in places
    ]  # fmt: skip
    assert found == ["80861237060000", "80867000060100", "80867010010180", "80867113068000"]


@pytest.mark.parametrize(
    ("driver", "lines"),
    [
        (
            "drivers/ata/ata_piix",
            [
                "ata_piix 0000:00:01.1: version 2.13",
                "scsi host0: ata_piix",
                "scsi host1: ata_piix",
                "ata1: PATA max MWDMA2 cmd 0x1f0 ctl 0x3f6 bmdma 0xc000 irq 14",
                "ata2: PATA max MWDMA2 cmd 0x170 ctl 0x376 bmdma 0xc008 irq 15",
            ],
        ),
        ("drivers/ata/ata_generic", []),  # it leaves Intel's own to ata_piix, after a look at its registers
        (
            "drivers/i2c/busses/i2c-piix4",
            ["piix4_smbus 0000:00:01.3: SMBus Host Controller at 0x700, revision 0"],
        ),
    ],
)
def test_their_drivers_say_what_they_say_in_qemu(real, distribution_module, driver, lines):
    if "ata" in driver:
        for needed in ("drivers/scsi/scsi_common", "drivers/scsi/scsi_mod", "drivers/ata/libata"):
            real.insmod(distribution_module(needed))
    before = len(real.dmesg())
    name = real.insmod(distribution_module(driver)).name
    real.advance(1)
    assert real.dmesg()[before:] == lines
    real.rmmod(name)
    assert name not in real.cat("/proc/ioports").decode()


def test_the_kernel_finds_the_card_and_takes_its_addresses(real):
    real.device(**E1000.wiring)(E1000())
    place = "/sys/bus/pci/devices/0000:00:03.0"
    assert real.cat(f"{place}/vendor") == b"0x8086\n"
    assert real.cat(f"{place}/class") == b"0x020000\n"
    assert real.cat(f"{place}/subsystem_device") == b"0x001e\n"
    assert real.cat(f"{place}/irq") == b"11\n"
    assert "c0000000-c001ffff : 0000:00:03.0" in real.cat("/proc/iomem").decode()
    assert "c040-c07f : 0000:00:03.0" in real.cat("/proc/ioports").decode()


def test_the_distributions_driver_probes_it(real, card):
    """EEPROM with checksum, PHY and reset: all of e1000_probe()."""
    assert real.dmesg()[-2:] == [
        f"e1000 0000:00:03.0 eth0: (PCI:33MHz:32-bit) {MAC}",
        "e1000 0000:00:03.0 eth0: Intel(R) PRO/1000 Network Connection",
    ]
    assert real.cat("/sys/class/net/eth0/address").decode() == f"{MAC}\n"


def test_frames_go_out_and_come_in_by_rings_and_interrupts(real, card):
    with real.process(comm="talker") as process:
        up(process)
        real.advance(3)
        assert "e1000: eth0 NIC Link is Up 1000 Mbps Full Duplex, Flow Control: RX" in real.dmesg()
        number = int(real.cat("/sys/class/net/eth0/ifindex"))
        protocol = socket.htons(PROTOCOL)
        raw = process.enter("socket", socket.AF_PACKET, socket.SOCK_RAW, protocol)
        address = process.put(struct.pack("<HHiHBB8s", socket.AF_PACKET, protocol, number, 0, 0, 6, THEM))
        process.enter("bind", raw, address, 20)

        sent = THEM + US + struct.pack(">H", PROTOCOL) + b"to Python"
        card.frames.clear()
        process.enter("sendto", raw, process.put(sent), len(sent), 0, address, 20)
        assert card.frames == [sent.ljust(60, b"\0")]

        assert card.receive(US + THEM + struct.pack(">H", PROTOCOL) + b"from Python")
        real.advance(0.01)
        buffer = process.put(bytes(100))
        assert process.enter("recvfrom", raw, buffer, 100, socket.MSG_DONTWAIT, 0, 0) == 60
        assert process.get(buffer, 25)[14:] == b"from Python"
        assert not card.receive(THEM + US + b"\x88\xb5 is for somebody else")
    line = next(line for line in real.cat("/proc/interrupts").decode().splitlines() if "eth0" in line)
    assert line.split()[0] == "11:"
    assert int(line.split()[1]) > 3


def test_the_driver_gives_everything_back(real, card):
    before = len(real.findings.reports)  # of tests on the same machine
    with real.process() as process:
        up(process)
        real.advance(3)
    real.rmmod("e1000")
    assert b"eth0" not in real.cat("/proc/net/dev")
    assert b"e1000" not in real.cat("/proc/iomem")
    assert real.findings.reports[before:] == []


def test_a_wrong_checksum_in_the_eeprom_is_what_the_driver_says_it_is(real, distribution_module):
    broken = E1000(MAC)
    broken.eeprom.words[5] ^= 1
    real.device(**E1000.wiring)(broken)
    real.insmod(distribution_module("drivers/net/ethernet/intel/e1000/e1000"))
    assert real.dmesg()[-3].endswith("Invalid MAC Address")
    assert "e1000: /*********************/" in real.dmesg()


def test_a_card_of_ones_own(real):
    """Two cards: each has a slot, and addresses of its own that are a multiple of their size."""

    class Card:
        def read(self, bar, offset, size):
            return 0x1234

        def write(self, bar, offset, size, value):
            pass

    for _ in range(2):
        real.device(pci="1234:11e8", bars=[0x100, 0x100000])(Card)
    assert real.cat("/proc/iomem").decode().splitlines() == [
        "c0000000-c00000ff : 0000:00:03.0",
        "c0100000-c01fffff : 0000:00:03.0",
        "c0200000-c02000ff : 0000:00:04.0",
        "c0300000-c03fffff : 0000:00:04.0",
    ]
    with pytest.raises(ValueError, match='a PCI id is written as "8086:100e"'):
        real.device(pci="e1000")(Card)


def test_a_card_is_pulled_out(real, card):
    real.unplug(card)
    with real.process() as process:
        assert "0000:00:03.0" not in process.listdir("/sys/bus/pci/devices")
    assert b"eth0" not in real.cat("/proc/net/dev")
    with pytest.raises(ValueError, match="no such device"):
        real.unplug(card)


def test_a_snapshot_holds_the_card(real, card):
    """What the debugger goes back by: registers, EEPROM and configuration space are as they were."""
    before = real.snapshot()
    real.rmmod("e1000")
    real.restore(before)
    with real.process() as process:
        up(process)
        real.advance(3)
    sent = list(card.frames)
    assert sent
    real.restore(before)
    with real.process() as process:
        up(process)
        real.advance(3)
    assert card.frames == sent
