"""What a PC has built in, by itself: registers as their data sheets have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.devices import acpi
from kmod_emu.devices.acpi import PowerManagement
from kmod_emu.devices.cmos import Cmos
from kmod_emu.devices.floppy import FloppyController
from kmod_emu.devices.i8042 import COMMAND_PORT, DATA_PORT, I8042
from kmod_emu.devices.pic import Triggers
from kmod_emu.devices.serial import Uart

NOON = 1_700_049_600  # 2023-11-15 12:00:00 UTC, a Wednesday
BYTES = st.integers(0, 255)


class Line:
    """Wires of a device without DMA, on a machine whose clock stands until it is set."""

    def __init__(self):
        self.raised = 0
        self.time = NOON
        self.due = []

    def raise_irq(self):
        self.raised += 1

    def now(self):
        return self.time

    def after(self, seconds, action):
        self.due.append((self.time + seconds, action))

    def pass_(self, seconds):
        self.time += seconds
        for moment, action in [each for each in self.due if each[0] <= self.time]:
            self.due.remove((moment, action))
            action()


def plugged(model):
    line = Line()
    model.connect(line)
    return model, line


@given(
    st.sampled_from([Uart, Cmos, FloppyController, PowerManagement]),
    st.lists(st.tuples(st.integers(0, 7), BYTES), max_size=60),
)
def test_any_accesses(kind, accesses):
    """A driver that does anything gets an answer, and a model whose state is put back gives the same ones."""
    model, _ = plugged(kind())
    last = model.wiring["size"] - 1
    for offset, value in accesses:
        model.write(min(offset, last), 1, value)
        assert isinstance(model.read(min(offset, last), 1), int)
    copy, _ = plugged(kind())
    if kind is Uart:  # of what was sent, the state has the number
        copy.sent += model.sent
    copy.load(model.save())
    assert copy.save() == model.save()
    assert [copy.read(each, 1) for each in range(last)] == [model.read(each, 1) for each in range(last)]


@given(st.lists(st.tuples(st.booleans(), BYTES), max_size=60))
def test_any_bytes_to_keyboard_and_mouse(writes):
    controller = I8042()
    controller.connect(Line(), Line())
    for to_command, value in writes:
        controller.ports[COMMAND_PORT if to_command else DATA_PORT].write(0, 1, value)
        assert 0 <= controller.ports[DATA_PORT].read(0, 1) <= 255
    copy = I8042()
    copy.load(controller.save())
    assert copy.save() == controller.save()


def test_the_port_sends_and_says_when_it_has():
    port, line = plugged(Uart())
    port.write(1, 1, 2)
    assert line.raised == 1, "enabled with nothing to send"
    assert port.read(2, 1) == 2
    assert port.read(2, 1) == 1, "asking once is enough"
    for byte in b"hi":
        port.write(0, 1, byte)
    assert (bytes(port.sent), line.raised) == (b"hi", 2)
    port.receive(b"A")
    port.write(1, 1, 3)
    assert (port.read(2, 1), port.read(5, 1) & 1, port.read(0, 1), port.read(5, 1) & 1) == (4, 1, ord("A"), 0)


def test_the_port_loops_back():
    port, _ = plugged(Uart())
    port.write(4, 1, 0x1A)
    assert port.read(6, 1) & 0xF0 == 0x90
    port.write(0, 1, 0x55)
    assert (port.read(0, 1), bytes(port.sent)) == (0x55, b"")


def byte_of(chip, index, value=None):
    chip.write(0, 1, index)
    return chip.read(1, 1) if value is None else chip.write(1, 1, value)


def test_the_clock_tells_the_time_and_is_set():
    chip, line = plugged(Cmos())
    assert [byte_of(chip, place) for place in (0x32, 9, 8, 7, 6, 4, 2, 0)] == [
        0x20, 0x23, 0x11, 0x15, 4, 0x12, 0, 0,
    ]  # fmt: skip
    byte_of(chip, 0x0B, 0x82)
    byte_of(chip, 4, 0x09)
    byte_of(chip, 2, 0x59)
    byte_of(chip, 0x0B, 0x02)
    line.pass_(61)
    assert [byte_of(chip, place) for place in (4, 2, 0)] == [0x10, 0x00, 0x01]


@pytest.mark.parametrize(
    ("alarm", "seconds"),
    [((0x30, 0x00, 0x12), 30), ((0x00, 0x00, 0x12), 86400), ((5, 0xFF, 0xFF), 5), ((0, 1, 0xFF), 60)],
)
def test_the_alarm(alarm, seconds):
    chip, line = plugged(Cmos())
    for place, value in zip((1, 3, 5), alarm, strict=True):
        byte_of(chip, place, value)
    byte_of(chip, 0x0B, 0x22)
    line.pass_(seconds - 1)
    assert line.raised == 0
    line.pass_(1)
    assert line.raised == 1
    assert (byte_of(chip, 0x0C), byte_of(chip, 0x0C)) == (0xA0, 0)


def test_the_floppy_controller_says_what_it_is_and_that_there_is_no_drive():
    chip, line = plugged(FloppyController())
    chip.write(2, 1, 0x0C)
    assert line.raised == 1

    def command(*words):
        for word in words:
            assert chip.read(4, 1) & 0xC0 == 0x80
            chip.write(5, 1, word)
        answer = []
        while chip.read(4, 1) & 0x40:
            answer.append(chip.read(5, 1))
        return answer

    assert [command(8) for _ in range(5)] == [[0xC0, 0], [0xC1, 0], [0xC2, 0], [0xC3, 0], [0x80]]
    assert command(0x10) == [0x90]
    assert command(0x18) == [0x41]
    assert len(command(0x0E)) == 10
    assert command(0x94) == [0x10]
    assert command(0x1F) == [0x80]
    assert command(0x07, 0) == []
    assert command(8) == [0x70, 0], "no track 0"
    assert command(0xE6, 0, 0, 0, 1, 2, 18, 27, 255)[:2] == [0x40, 1]


def test_keyboard_and_mouse():
    controller, keyboard, mouse = I8042(), Line(), Line()
    controller.connect(keyboard, mouse)
    commands, data = controller.ports[COMMAND_PORT], controller.ports[DATA_PORT]
    commands.write(0, 1, 0xAA)
    assert (commands.read(0, 1) & 1, data.read(0, 1), commands.read(0, 1) & 1) == (1, 0x55, 0)
    commands.write(0, 1, 0x60)
    data.write(0, 1, 0x47)
    controller.press(30)
    controller.release(30)
    assert keyboard.raised == 2
    assert [data.read(0, 1), data.read(0, 1)] == [0x1E, 0x9E]
    assert keyboard.raised == 3, "each byte interrupts when it comes to the register"
    controller.move(3, -2, buttons=1)
    assert mouse.raised == 0, "it does not report"
    for word in (0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF2, 0xF4):
        commands.write(0, 1, 0xD4)
        data.write(0, 1, word)
    assert [data.read(0, 1) for _ in range(9)] == [0xFA] * 7 + [3, 0xFA]
    controller.move(3, -2, wheel=1, buttons=1)
    assert commands.read(0, 1) & 0x20
    assert [data.read(0, 1) for _ in range(4)] == [0x29, 3, 0xFE, 0xFF]
    with pytest.raises(ValueError, match="keys have the codes 1 to 88"):
        controller.press(0)


def test_the_power_button():
    power, line = plugged(PowerManagement())
    power.press_button()
    assert line.raised == 0
    assert power.read(0, 2) == 0x100
    power.write(0, 2, 0x100)
    assert power.read(0, 2) == 0
    power.write(2, 2, 0x100)
    power.press_button()
    assert line.raised == 1
    line.time += 1
    assert power.read(4, 2) & 1
    assert power.read(8, 4) < 1 << 24


def test_which_lines_are_levels():
    triggers = Triggers()
    assert triggers.read(0, 1) & 0xFF == 0x20
    triggers.write(1, 1, 0x0C)
    copy = Triggers()
    copy.load(triggers.save())
    assert copy.read(1, 1) == 0x0C


def test_tables_have_sums_of_zero_and_their_lengths():
    data = acpi.tables(0xF0000)
    assert (data[:8], sum(data[:20]) & 0xFF) == (b"RSD PTR ", 0)
    for place, name in ((0x40, b"RSDT"), (0x80, b"FACP"), (0x140, b"DSDT")):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        assert (data[place : place + 4], sum(data[place : place + size]) & 0xFF) == (name, 0)
    assert b"\x41\xd0\x05\x01" in data, "PNP0501, the serial port"
