"""A machine with one arena of data and one of code, and nothing of Linux in it."""

import pytest

from kmod_emu.machine.asm import assemble
from kmod_emu.machine.cpu import Cpu
from kmod_emu.machine.memory import EXEC, READ, WRITE, Memory

DATA = 0xFFFF_8880_0000_0000
CODE = 0xFFFF_FFFF_C000_0000
DIRECT = 0xFFFF_9000_0000_0000
STACK_TOP = DATA + 0x8000


class Machine:
    """64 KiB of data and 16 KiB of code are mapped; all RAM is also visible at DIRECT."""

    DATA, CODE, DIRECT, STACK_TOP = DATA, CODE, DIRECT, STACK_TOP

    def __init__(self):
        self.memory = Memory()
        self.data_arena = self.memory.add_arena("data", DATA, 1 << 20)
        self.code_arena = self.memory.add_arena("code", CODE, 1 << 20)
        self.memory.direct_map(DIRECT)
        self.memory.protect(DATA, 0x10000, READ | WRITE)
        self.memory.protect(CODE, 0x4000, READ | EXEC)
        self.cpu = Cpu(self.memory)
        self.cpu.write("rsp", STACK_TOP)

    def put(self, source, address=CODE):
        """Assemble Intel syntax to an address."""
        self.memory.write(address, assemble(source, address))

    def run(self, source, count=0, **registers):
        """Run code from CODE with these registers; the Stop."""
        self.put(source)
        for name, value in registers.items():
            self.cpu.write(name, value)
        return self.cpu.run(CODE, count)


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def memory(machine):
    return machine.memory


@pytest.fixture
def cpu(machine):
    return machine.cpu


@pytest.fixture(scope="session")
def new_machine():
    """Makes machines, for tests that need several."""
    return Machine
