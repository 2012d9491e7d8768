"""Devices by name and file: the option --device, and models that make mistakes."""

import json

import pytest

from kmod_emu.drivers import catalog

CARD = """
class Timer:
    wiring = {"mmio": 0xFED40000, "size": 0x100}
    def __init__(self, flaw=""):
        self.flaw, self.count = flaw, 0
    def read(self, offset, size):
        if self.flaw == "raises":
            return {}["no such key"]
        if self.flaw == "returns":
            return "text"
        if offset >= 0x10:
            return int.from_bytes(b"kmod-emu"[offset - 0x10 :][:size], "little")
        self.count = max(0, self.count - 1)
        return 0x54494D45 if offset == 0 else self.count
    def write(self, offset, size, value):
        self.count = value

class Lost:
    pass

class Elsewhere:
    wiring = {"usb3": 1}

class Typed:
    wiring = {"i2c": "x"}

class Listed:
    wiring = ["i2c", 1]

class Bars:
    wiring = {"pci": "1234:0001", "bars": "abc"}

class Far:
    wiring = {"mmio": 1 << 50}
"""


@pytest.fixture
def timer(tmp_path):
    file = tmp_path / "timer.py"
    file.write_text(CARD)
    return file


def test_a_class_of_ones_own(cli, timer):
    result = cli("run", "mmio", "-q", "--device", f"{timer}:Timer")
    assert result.exit_code == 0
    assert "kmod-emu" in result.stdout


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ("raises", "read() raised KeyError: 'no such key' (timer.py:8)"),
        ("returns", "read() returned 'text'"),
    ],
)
def test_a_model_that_makes_a_mistake_is_a_report_and_reads_as_ones(cli, timer, flaw, said):
    result = cli("run", "mmio", "-q", "--device", f"{timer}:Timer,flaw={flaw}")
    assert result.exit_code == 1
    assert "mmio: id 0xffffffff: nothing there" in result.stdout
    assert result.stderr.count(f"the model of {timer}:Timer: {said}\n") == 1
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("e2000", "there is no device 'e2000'; there are e1000, "),
        ("e1000", "the stub kernel has no PCI bus: a distribution's has (--kernel VMLINUZ)"),
        ("e1000,mac=1", "a card's address is written as 52:54:00:12:34:56, not '1'"),
        ("e1000,fast", "'fast' behind e1000 is not NAME=VALUE"),
        ("e1000,irq=eleven", "irq=eleven: a number is expected"),
        ("e1000,colour=red", "e1000 cannot be made: TypeError: "),
        ("{file}:Chip", "has no class Chip; it has Timer, Elsewhere, "),
        ("{file}:Lost", "does not say where it is plugged in: it needs a dictionary called wiring"),
        ("{file}:Elsewhere", "wiring has no usb3; it has ports, mmio, "),
        ("{file}:Timer,irq=999", "interrupt lines have the numbers 1 to 255"),
        ("{file}:Timer,mmio=0x1000", "0x1000 is RAM: devices begin at "),
        ("{file}:Typed", "i2c in wiring cannot be 'x'"),
        ("{file}:Listed", "wiring is ['i2c', 1], and has to be a dictionary"),
        ("{file}:Bars", "bars in wiring cannot be 'abc'"),
        ("{file}:Far", "addresses end at 0x10000000000"),
        ("nowhere.py:Chip", "there is no file nowhere.py"),
        ("{bad}:Chip", "cannot be read as Python: SyntaxError: "),
    ],
)
def test_what_cannot_be_plugged_in_is_one_sentence(cli, timer, device, said):
    bad = timer.with_name("bad.py")
    bad.write_text("def :")
    text = device.format(file=timer, bad=bad)
    result = cli("run", "hello", "--device", text)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"kmod-emu: --device {text}: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_kept_machine_has_shipped_models_only(cli, timer):
    """Nobody brings the code of a class along when the next command loads the machine."""
    assert cli("boot", "--device", "lm75,celsius=21.5").exit_code == 0
    result = cli("boot", "--device", f"{timer}:Timer")
    assert result.exit_code == 2
    assert "a kept machine can have e1000, " in result.stderr


def test_models_are_listed_and_what_is_listed_can_be_plugged_in(cli):
    lines = cli("devices", "--models").stdout.splitlines()
    assert "e1000   an Ethernet card, Intel 82540EM; driver e1000; ,mac=52:54:00:12:34:56,peer=" in lines
    assert "mouse   a USB mouse; driver usbhid, hid-generic" in lines
    rows = json.loads(cli("devices", "--models", "--json").stdout)
    assert [row["name"] for row in rows] == [line.split()[0] for line in lines]
    for row in rows:
        said = [f"{key}={value}" for key, value in row["keys"].items() if value != ""]
        made = catalog.parse(",".join([row["name"], *said]))
        wiring = {key: value for key, value in row["wiring"].items() if key != "bars"}
        assert wiring.items() <= made.wiring._asdict().items()
    assert cli("devices", "--json").exit_code == 2
