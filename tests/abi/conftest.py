"""Guest memory as one bytearray."""

import pytest

from kmod_emu.machine.memory import Access, PageFault

BASE = 0xFFFF888000001000


class FakeMemory:
    """The part of `Memory` that views use, over `size` bytes at BASE."""

    def __init__(self, size=0x4000):
        self.ram = bytearray(size)

    def _at(self, address, size, access):
        if not BASE <= address <= address + size <= BASE + len(self.ram):
            raise PageFault(address, access)
        return slice(address - BASE, address - BASE + size)

    def read(self, address, size):
        return bytes(self.ram[self._at(address, size, Access.READ)])

    def write(self, address, data):
        self.ram[self._at(address, len(data), Access.WRITE)] = data


def _reader(size):
    return lambda self, address: int.from_bytes(self.read(address, size), "little")


def _writer(size):
    return lambda self, address, value: self.write(address, value.to_bytes(size, "little"))


for _bits in (8, 16, 32, 64):
    setattr(FakeMemory, f"read_u{_bits}", _reader(_bits // 8))
    setattr(FakeMemory, f"write_u{_bits}", _writer(_bits // 8))


@pytest.fixture
def memory():
    return FakeMemory()


@pytest.fixture(scope="session")
def scratch_memory():
    """For property tests, which may find anything in it."""
    return FakeMemory()


@pytest.fixture(scope="session")
def base():
    return BASE
