"""Modules that are refused, or nearly are: a slice of the recorded ones. All of them: `make conform`."""

import pytest

from kmod_emu.sweep.conform.seen import Conformity
from tests.conftest import RECORDINGS, recording

CASES = sorted((RECORDINGS / "errno-cases").glob("*.ko"))
MUTATIONS = recording("mutations-6.1.json")
# The code of exit is gone, or is called unpatched; what runs instead depends on registers of the caller's.
BY_REGISTERS = {"shdr6.type=0x8", "shdr7.type=0x0"}
# The kernel's own handler says what it thinks of an address that might be a user's.
BY_ADDRESS = {"shdr21.size=0x0"}


@pytest.fixture(scope="module")
def both(vmlinuz):
    return Conformity(vmlinuz)


@pytest.fixture
def mutated(tmp_path):
    """Makes the file of a mutation."""

    def make(case):
        image = bytearray((RECORDINGS / "errno-cases/h_hello.ko").read_bytes())
        place, _, code = case["patch"].partition(":")
        image[int(place) : int(place) + len(code) // 2] = bytes.fromhex(code)
        file = tmp_path / "h_hello.ko"
        file.write_bytes(image)
        return str(file)

    return make


@pytest.mark.parametrize("file", CASES[::8], ids=lambda file: file.stem)
def test_hand_made_cases_are_answered_alike(both, file):
    assert both.load(str(file))[1] == []


CHANGED_WHAT_IS_IN_MEMORY = (
    "shdr10.name=0xffffffff",
    "shdr14.size=0x58",
    "shdr15.size=0x0",
    "shdr24.type=0xffffffff",
    "shdr28.flags=0x2",
)


@pytest.mark.parametrize(
    "case",
    [
        case
        for index, case in enumerate(MUTATIONS)
        if (index % 24 == 5 and case["case"] not in BY_REGISTERS | BY_ADDRESS)
        or case["case"] in CHANGED_WHAT_IS_IN_MEMORY
    ],
    ids=lambda case: case["case"],
)
def test_mutations_are_answered_alike(both, mutated, case):
    """Among them those that found mistakes here: tables of unequal length, symbols laid out twice."""
    ours, differences = both.load(mutated(case))
    assert differences == []
    assert (ours.rc is None) is (case["status"] == "crash")


def test_a_caller_that_the_kernel_itself_ends_is_told_of(both, mutated):
    """A fault that its own handler sees, at an address that might be a user's, left no answer at all."""
    case = next(case for case in MUTATIONS if case["case"] in BY_ADDRESS)
    seen = [machine.load(mutated(case)) for machine in both.machines]
    assert [each.rc for each in seen] == [None, None]
    assert all(any("BUG: unable to handle page fault" in line for line in each.dmesg) for each in seen)
