"""Models of devices by themselves: a driver that does anything gets an answer."""

from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.devices import usb
from kmod_emu.devices.e1000 import E1000
from kmod_emu.devices.lm75 import Lm75
from kmod_emu.devices.mouse import Mouse
from kmod_emu.devices.nvme import Nvme
from kmod_emu.devices.pci import Function, HostBridge, Identity
from kmod_emu.devices.usb import UsbFunction, setup_of
from kmod_emu.machine.io import IoSpace

SIZES = st.sampled_from([1, 2, 4])
WORDS = st.integers(0, (1 << 32) - 1)


class Ram:
    """Wires to RAM of zeros, small so that rings have an end soon."""

    def __init__(self):
        self.raised = 0

    def raise_irq(self):
        self.raised += 1

    def read_memory(self, paddr, size):
        return bytes(size)

    def write_memory(self, paddr, data):
        pass


@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(0, 0x5FFF), SIZES, WORDS), max_size=30))
def test_any_accesses_to_the_card(accesses):
    card = E1000()
    card.connect(Ram())
    for bar, offset, size, value in accesses:
        card.write(bar, offset, size, value & 0xFFFF)
        assert isinstance(card.read(bar, offset, size), int)
    card.receive(b"\xff" * 60)
    card.load(card.save())


@given(st.lists(st.tuples(st.integers(0, 255), SIZES, WORDS), max_size=30))
def test_any_accesses_to_configuration_space(accesses):
    memory, ports, bridge = IoSpace(), IoSpace(), HostBridge()
    identity = Identity.of("1234:11e8", bars=[0x1000, ("ports", 0x20)])
    bridge.functions[3 << 3] = Function(E1000(), identity, [0xC0000000, 0xC000], 11, memory, ports)
    for register, size, value in accesses:
        place = 4 + (register & 3 & -size)
        bridge.write(0, 4, 1 << 31 | 3 << 11 | register & 0xFC)
        bridge.write(place, size, value)
        assert bridge.read(place, size) >= 0
    bridge.write(0, 4, 1 << 31 | 3 << 11)
    assert bridge.read(4, 4) == 0x11E81234
    bridge.write(0, 4, 1 << 31 | 4 << 11)
    assert bridge.read(4, 4) == -1


def test_a_base_address_tells_its_size():
    function = Function(None, Identity.of("1:2", bars=[0x1000]), [0xC0000000], 0, IoSpace(), IoSpace())
    function.write(0x10, 4, 0xFFFFFFFF)
    assert function.read(0x10, 4) == 0xFFFFF000
    function.write(0x10, 4, 0xC0000000)
    assert function.read(0x3D, 1) == 0


@given(st.binary(min_size=8, max_size=8), st.binary(max_size=8))
def test_any_request_to_a_mouse(packet, data):
    setup = setup_of(packet)
    try:
        answer = UsbFunction(Mouse(), (1, 2)).control(setup, data)
    except OSError:
        return
    assert len(answer) <= setup.size


def test_a_configuration_has_its_length():
    made = usb.configuration(usb.interface(0, 0xFF, 0, 0, usb.endpoint(0x81, usb.BULK, 64)))
    assert len(made) == int.from_bytes(made[2:4], "little") == 25
    assert made[9 + 4] == 1


@given(st.integers(-55 * 2, 125 * 2))
def test_every_temperature(halves):
    sensor = Lm75(halves / 2)
    raw = int.from_bytes(sensor.read(0, 2), "big", signed=True)
    assert raw / 256 == halves / 2
    sensor.load(sensor.save())
    assert sensor.celsius == halves / 2


def messaging(vectors):
    """A card that sends messages: its configuration space, and what it has sent."""
    sent = []
    function = Function(None, Identity.of("1:2", vectors=vectors), [0xC0000000], 0, IoSpace(), IoSpace())
    function.send = lambda address, data: sent.append((address, data))
    return function, sent


def test_messages_that_are_masked_come_later():
    memory, sent = IoSpace(), []
    function = Function(None, Identity.of("1:2", vectors=4), [0xC0000000], 0, memory, IoSpace())
    function.send = lambda address, data: sent.append((address, data))
    assert not function.message(1), "the line is to be raised"
    function.write(4, 2, 2)
    function.write(0x72, 2, 0xC000)
    table = 0xC0000000
    memory.write(table + 16, 4, 0xFEE00000)
    memory.write(table + 24, 4, 0x41)
    assert function.message(1)
    assert sent == []
    assert memory.read(table + 0x800, 4) == 2
    function.write(0x72, 2, 0x8000)
    assert sent == [(0xFEE00000, 0x41)]
    memory.write(table + 28, 4, 1)
    function.message(1)
    copy = Function(None, Identity.of("1:2", vectors=4), [0xC0000000], 0, IoSpace(), IoSpace())
    copy.load(function.save())
    memory.write(table + 28, 4, 0)
    assert len(sent) == 2
    assert copy.save() != function.save()


def test_messages_of_the_simple_kind():
    function, sent = messaging(4)
    assert function.read(0x34, 1) == 0x50
    assert (function.read(0x50, 1), function.read(0x70, 1)) == (5, 0x11)
    assert function.read(0x52, 2) == 0x80 | 2 << 1
    for place, size, value in ((0x54, 4, 0xFEE01000), (0x5C, 2, 0x40), (0x52, 2, 0x21)):
        function.write(place, size, value)
    function.message(0)
    function.message(3)
    assert sent == [(0xFEE01000, 0x40), (0xFEE01000, 0x43)]


@given(st.lists(st.tuples(st.integers(0, 0x1FFF), WORDS), max_size=20), st.binary(max_size=256))
def test_any_accesses_to_a_disk(accesses, commands):
    """Queues of zeros or nonsense in a RAM that has nothing else."""

    class Memory(Ram):
        def read_memory(self, paddr, size):
            return (commands * (size // (len(commands) or 1) + 1))[:size].ljust(size, b"\0")

        def raise_irq(self, vector=0):
            self.raised += 1

    disk = Nvme(size=1)
    disk.connect(Memory())
    for offset, value in [*accesses, (0x14, 1), (0x1000, 5)]:
        disk.write(0, offset & ~3, 4, value & 0xFFFF)
        assert isinstance(disk.read(0, offset & ~3, 4), int)
    disk.load(disk.save())
