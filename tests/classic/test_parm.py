"""Parameters typed by parm_ strings."""

import pytest

from kmod_emu import samples
from kmod_emu.classic import ClassicKernel
from kmod_emu.kmod.errors import ToolError

PARAMS = samples.classic("params")
DEFAULT = "params: irq=-1,-1,-1,-1 byte=1 half=2 wide=3 name=nobody label=none"


@pytest.fixture(scope="module")
def kernel():
    return ClassicKernel()


def loaded(kernel, *words):
    kernel.insmod(PARAMS, list(words))
    line = kernel.dmesg()[-1]
    kernel.rmmod("params")
    return line


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("irq=5", "irq=5,-1,-1,-1"),
        ("irq=5,0x10,010,-7", "irq=5,16,8,-7"),
        ("irq= 5 , 6 ", "irq=5,6,-1,-1"),
        ("irq=", "irq=-1,"),
        ("irq=1,", "irq=1,-1"),
        ("byte=255", "byte=255"),
        ("byte=257", "byte=1"),
        ("half=-3", "half=-3"),
        ("wide=0x123456789", "wide=4886718345"),
        ("name=bob", "name=bob"),
        ('name="a,b\\tc\\101"', "name=a,b\tcA"),
        ("label=abc", "label=abc"),
        ("noequals", "name=nobody"),
    ],
)
def test_values(kernel, word, part):
    assert part in loaded(kernel, word)


def test_several(kernel):
    line = loaded(kernel, "irq=1", "byte=2", "half=3", "wide=4", "name=x", "label=y")
    assert line == "params: irq=1,-1,-1,-1 byte=2 half=3 wide=4 name=x label=y"
    assert loaded(kernel) == DEFAULT, "each load begins with the file"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nope=1", "invalid parameter parm_nope"),
        ("irq=1,2,3,4,5", "too many values for irq (max 4)"),
        ("byte=1,2", "too many values for byte (max 1)"),
        ("irq=x", "invalid argument syntax for irq: 'x'"),
        ("irq=1x", "invalid argument syntax for irq: 'x'"),
        ("irq=1;2", "invalid argument syntax for irq: ';'"),
        ('name="bob', "improperly terminated string argument for name"),
        ("label=1234567", "string too long for label (max 7)"),
    ],
)
def test_bad_values(kernel, word, message):
    with pytest.raises(ToolError) as error:
        kernel.insmod(PARAMS, [word])
    assert str(error.value) == f"{PARAMS}: {message}"
    assert kernel.modules == []


@pytest.mark.parametrize(
    ("declared", "word", "message"),
    [
        ("2-4i", "irq=1", "too few values for irq (min 2)"),
        ("1-4q", "irq=1", "unknown parameter type 'q' for irq"),
        ("1-4c", "irq=a", "parameter type 'c' for irq must be followed by the maximum size"),
    ],
)
def test_odd_declarations(kernel, tmp_path, declared, word, message):
    file = tmp_path / "params.o"
    file.write_bytes(PARAMS.read_bytes().replace(b"parm_irq=1-4i", f"parm_irq={declared}".encode()))
    with pytest.raises(ToolError) as error:
        kernel.insmod(file, [word])
    assert str(error.value) == f"{file}: {message}"


def test_a_parameter_without_a_variable(kernel, tmp_path):
    file = tmp_path / "params.o"
    file.write_bytes(PARAMS.read_bytes().replace(b"parm_irq=1-4i", b"parm_irx=1-4i"))
    with pytest.raises(ToolError, match="symbol for parameter irx not found"):
        kernel.insmod(file, ["irx=1"])


def test_values_that_go_beyond_the_data(kernel, tmp_path):
    """modutils of the time wrote on; here that is an error."""
    file = tmp_path / "params.o"
    file.write_bytes(PARAMS.read_bytes().replace(b"parm_irq=1-4i", b"parm_irq=1-99"))
    with pytest.raises(ToolError, match="unknown parameter type"):
        kernel.insmod(file, ["irq=1"])
    file.write_bytes(PARAMS.read_bytes().replace(b"parm_irq=1-4i", b"parm_irq=1-9l"))
    with pytest.raises(ToolError, match="do not fit in section"):
        kernel.insmod(file, ["irq=1,2,3,4,5,6,7,8,9"])


@pytest.mark.parametrize("word", ["wide=" + "9" * 5000, "wide=0x" + "f" * 5000, "wide=" + "0" * 5000])
def test_very_long_numbers(kernel, word):
    assert "wide=0" in loaded(kernel, word) or "wide=-1" in loaded(kernel, word)


def test_bytes_by_their_numbers(kernel):
    kernel.insmod(PARAMS, [r'label="\377\7"'])
    address = kernel.symbol("__insmod_params_S.data_L" + str(_data_size()))
    assert b"\xff\x07\0" in kernel.memory.read(address, _data_size())
    kernel.rmmod("params")


def _data_size():
    from kmod_emu.classic.obj import ObjectFile

    return ObjectFile("params.o", PARAMS.read_bytes()).find_section(".data").size


def test_declarations_with_very_long_numbers(kernel, tmp_path):
    blob = PARAMS.read_bytes()
    file = tmp_path / "params.o"
    file.write_bytes(blob.replace(b"parm_irq=1-4i", b"parm_irq=9999"))
    with pytest.raises(ToolError, match="unknown parameter type ''"):
        kernel.insmod(file, ["irq=1"])
