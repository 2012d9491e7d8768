"""What a PC has built in, as the distribution's own drivers find it; the log is the recorded machine's."""

import pytest

RECORDED = (
    "ACPI: 1 ACPI AML tables successfully acquired and loaded",
    "00:03: ttyS0 at I/O 0x3f8 (irq = 4, base_baud = 115200) is a 16550A",
    "i8042: PNP: PS/2 Controller [PNP0303:KBD,PNP0f13:MOU] at 0x60,0x64 irq 1,12",
    "serio: i8042 KBD port at 0x60,0x64 irq 1",
    "serio: i8042 AUX port at 0x60,0x64 irq 12",
    "input: AT Translated Set 2 keyboard as /devices/platform/i8042/serio0/input/input0",
    "rtc_cmos 00:04: RTC can wake from S4",
    "rtc_cmos 00:04: registered as rtc0",
)
PORTS = """\
0000-001f : dma1
0020-0021 : pic1
0040-0043 : timer0
0050-0053 : timer1
0060-0060 : keyboard
0064-0064 : keyboard
0070-0077 : rtc0
0080-008f : dma page reg
00a0-00a1 : pic2
00c0-00df : dma2
00f0-00ff : fpu
0170-0177 : 0000:00:01.1
01f0-01f7 : 0000:00:01.1
0376-0376 : 0000:00:01.1
03f6-03f6 : 0000:00:01.1
03f8-03ff : serial
0600-0603 : ACPI PM1a_EVT_BLK
0604-0605 : ACPI PM1a_CNT_BLK
0608-060b : ACPI PM_TMR
0700-070f : 0000:00:01.3
c000-c00f : 0000:00:01.1
"""


def test_drivers_find_it(real):
    log = real.dmesg()
    assert [line for line in RECORDED if line not in log] == []
    assert real.cat("/proc/ioports").decode() == PORTS
    lines = [line.split() for line in real.cat("/proc/interrupts").decode().splitlines()]
    assert {line[0]: line[-1] for line in lines if line[0].strip(":").isdigit()} == {
        "1:": "i8042",
        "4:": "ttyS0",
        "8:": "rtc0",
        "9:": "acpi",
        "12:": "i8042",
    }


def test_what_is_written_to_the_console_comes_out_of_the_serial_port(real):
    before = len(real.pc.serial.sent)
    with real.process() as process:
        fd = process.open("/dev/console", 1)
        process.write(fd, b"hello, world\n" * 8)
        process.close(fd)
    assert bytes(real.pc.serial.sent[before:]) == b"hello, world\r\n" * 8


def test_what_comes_in_by_the_serial_port_is_read(real):
    with real.process() as process:
        fd = process.open("/dev/ttyS0", 2)
        real.pc.serial.receive(b"a line\n")
        real.advance(0.01)
        assert process.read(fd, 100) == b"a line\n"
        process.close(fd)


def test_keys_come_as_events(real, load):
    load("evdev")
    with real.process() as process:
        fd = process.open("/dev/input/event0", 0)
        real.press_key(30)
        events = process.read(fd, 24 * 6)
    rows = [(events[at + 16], events[at + 18], events[at + 20]) for at in range(0, len(events), 24)]
    assert [row for row in rows if row[0] == 1] == [(1, 30, 1), (1, 30, 0)]
    with pytest.raises(ValueError, match="keys have the codes 1 to 88, not 200"):
        real.press_key(200)


def test_the_mouse_is_found_by_its_driver_and_moves(real, load):
    load("psmouse")
    real.advance(3)
    assert any("PS/2" in line and "input:" in line for line in real.dmesg())
    with real.process() as process:
        fd = process.open("/dev/input/mice", 0)
        real.pc.keyboard.move(5, 3, buttons=1)
        real.advance(0.01)
        assert process.read(fd, 3) == bytes([9, 5, 3])


def test_the_power_button(real, load):
    load("evdev", "button")
    with real.process() as process:
        fd = process.open("/dev/input/event1", 0)
        real.pc.power.press_button()
        real.advance(0.01)
        assert process.read(fd, 24)[16:24] == bytes([1, 0, 116, 0, 1, 0, 0, 0])


def test_the_clock_is_read_and_rings(real):
    assert real.cat("/sys/class/rtc/rtc0/date") == b"2023-11-14\n"
    now = int(real.cat("/sys/class/rtc/rtc0/since_epoch"))
    with real.process() as process:
        fd = process.open("/sys/class/rtc/rtc0/wakealarm", 1)
        process.write(fd, b"+30")
        process.close(fd)
    assert int(real.cat("/sys/class/rtc/rtc0/wakealarm")) - now in (30, 31)
    real.advance(40)
    assert real.cat("/sys/class/rtc/rtc0/wakealarm") == b""


def test_a_snapshot_holds_them(real):
    moment = real.snapshot()
    before = len(real.pc.serial.sent)
    with real.process() as process:
        fd = process.open("/dev/ttyS0", 1)
        process.write(fd, b"more")
        process.close(fd)
    real.restore(moment)
    assert len(real.pc.serial.sent) == before
