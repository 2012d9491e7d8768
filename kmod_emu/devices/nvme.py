"""An NVMe disk: a controller with one namespace, its queues in RAM, an interrupt message for each queue.

Names are those of the specification (NVM Express 1.3). What is written is there at once.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.devices.wires import Wires

_CAP, _VS, _INTMS, _INTMC, _CC, _CSTS, _AQA, _ASQ, _ACQ = 0x00, 0x08, 0x0C, 0x10, 0x14, 0x1C, 0x24, 0x28, 0x30
_DOORBELLS = 0x1000
_CAPABILITIES = 1023 | 1 << 16 | 1 << 24 | 1 << 37  # entries of a queue, contiguous, 0.5 s, NVM commands
_VERSION = 0x0001_0300
_ENABLE, _SHUTDOWN = 1, 3 << 14  # CC
_READY, _SHUT_DOWN = 1, 2 << 2  # CSTS
_PAGE, _BLOCK, _SHIFT = 4096, 512, 9
_MOST_PAGES = 32  # of a transfer
_QUEUES = 8  # besides that for administration
_INVALID_OPCODE, _INVALID_FIELD, _OUT_OF_RANGE = 0x01, 0x02, 0x80
_DO_NOT_RETRY = 0x4000
_NO_ANSWER = -1
_MEBIBYTE = 1 << 20


class _Queue:
    """A ring of commands or of completions: where it is, how long, and how far it was read or written."""

    def __init__(self, base: int, size: int, peer: int = 0, *, interrupts: bool = True) -> None:
        self.base, self.size, self.peer, self.interrupts = base, size, peer, interrupts
        self.place, self.phase = 0, 1

    def next(self) -> None:
        self.place += 1
        if self.place == self.size:
            self.place, self.phase = 0, self.phase ^ 1

    def save(self) -> list[Any]:
        return [self.base, self.size, self.peer, self.interrupts, self.place, self.phase]

    @classmethod
    def loaded(cls, state: list[Any]) -> _Queue:
        queue = cls(*state[:3], interrupts=state[3])
        queue.place, queue.phase = state[4:]
        return queue


class _Command(NamedTuple):
    opcode: int
    cid: int
    nsid: int
    prp1: int
    prp2: int
    words: tuple[int, ...]  # CDW10 to CDW15


class Nvme:
    """The disk.

    Args:
        size: In MiB.
        file: What it holds at first: a file of this computer, which is read and stays as it is.

    Raises:
        ValueError: That is no size, or no such file.
    """

    wiring: ClassVar[dict[str, Any]] = {
        "pci": "1b36:0010",
        "class_code": 0x010802,
        "bars": [0x4000],
        "irq": 10,
        "vectors": _QUEUES + 1,
    }

    def __init__(self, size: int | str = 16, file: str = "") -> None:
        self._blocks = int(size) * _MEBIBYTE >> _SHIFT
        self._data: dict[int, bytes] = {}  # by block, those that are not zeros
        if file:
            try:
                self._fill(Path(file).read_bytes())
            except OSError as error:
                raise ValueError(f"{file}: {error.strerror}") from None
        if self._blocks <= 0:
            raise ValueError("a disk has some blocks: size=16 is 16 MiB")
        self._wires: Wires | None = None
        self._registers: dict[int, int] = {}
        self._reset()

    def connect(self, wires: Wires) -> None:
        """It is in its slot."""
        self._wires = wires

    def contents(self) -> bytes:
        """All that is on it."""
        zeros = bytes(_BLOCK)
        return b"".join(self._data.get(block, zeros) for block in range(self._blocks))

    def _fill(self, data: bytes) -> None:
        self._blocks = -(-len(data) // _BLOCK)
        self._store(0, data.ljust(self._blocks * _BLOCK, b"\0"))

    def _reset(self) -> None:
        self._submission: dict[int, _Queue] = {}
        self._completion: dict[int, _Queue] = {}

    # --- registers ------------------------------------------------------------------------------------

    def read(self, bar: int, offset: int, size: int) -> int:
        """Read a register."""
        known = struct.pack("<QI", _CAPABILITIES, _VERSION)
        if offset < len(known):
            return int.from_bytes(known[offset : offset + size], "little")
        return self._registers.get(offset & ~3, 0) >> 8 * (offset & 3)

    def write(self, bar: int, offset: int, size: int, value: int) -> None:
        """Write a register; a doorbell says that there are commands."""
        if offset >= _DOORBELLS:
            number, head = divmod((offset - _DOORBELLS) // 4, 2)
            if not head and number in self._submission:
                self._work(number, value)
            return
        if offset == _CC:
            self._configure(value)
        if offset not in (_CSTS, _INTMS, _INTMC):
            self._registers[offset] = value

    def _configure(self, value: int) -> None:
        get, status = self._registers.get, self._registers.get(_CSTS, 0)
        if value & _ENABLE and not status & _READY:
            sizes = get(_AQA, 0)
            self._submission[0] = _Queue(get(_ASQ, 0) | get(_ASQ + 4, 0) << 32, (sizes & 0xFFF) + 1)
            self._completion[0] = _Queue(get(_ACQ, 0) | get(_ACQ + 4, 0) << 32, (sizes >> 16 & 0xFFF) + 1)
            status = _READY
        elif not value & _ENABLE:
            self._reset()
            status = 0
        self._registers[_CSTS] = status | (_SHUT_DOWN if value & _SHUTDOWN else 0)

    # --- queues ---------------------------------------------------------------------------------------

    def _work(self, number: int, tail: int) -> None:
        """Do what lies between head and tail."""
        assert self._wires is not None
        queue = self._submission[number]
        tail %= queue.size
        while queue.place != tail:
            raw = self._wires.read_memory(queue.base + 64 * queue.place, 64)
            opcode, cid, nsid, prp1, prp2, *words = struct.unpack("<BxHI16xQQ6I", raw)
            queue.next()
            command = _Command(opcode, cid, nsid, prp1, prp2, tuple(words))
            result, status = (self._administer if number == 0 else self._transfer)(command)
            if result != _NO_ANSWER:
                self._complete(number, queue, cid, result, status)
            if number not in self._submission:  # it has deleted itself
                return

    def _complete(self, number: int, queue: _Queue, cid: int, result: int, status: int) -> None:
        assert self._wires is not None
        done = self._completion.get(queue.peer)
        if done is None:
            return
        code = status | (_DO_NOT_RETRY if status else 0)
        entry = struct.pack("<IIHHHH", result, 0, queue.place, number, cid, code << 1 | done.phase)
        self._wires.write_memory(done.base + 16 * done.place, entry)
        done.next()
        if done.interrupts:
            self._wires.raise_irq(done.peer)

    def _administer(self, command: _Command) -> tuple[int, int]:
        first, second = command.words[:2]
        number, size = first & 0xFFFF, (first >> 16) + 1
        if command.opcode == 0x06:
            return self._identify(command, first & 0xFF)
        if command.opcode == 0x05 and 0 < number <= _QUEUES:
            self._completion[number] = _Queue(command.prp1, size, second >> 16, interrupts=bool(second & 2))
        elif command.opcode == 0x01 and second >> 16 in self._completion and 0 < number <= _QUEUES:
            self._submission[number] = _Queue(command.prp1, size, second >> 16)
        elif command.opcode in (0x00, 0x04) and number:
            (self._completion if command.opcode else self._submission).pop(number, None)
        elif command.opcode in (0x09, 0x0A):  # features: of them, the number of queues matters
            return ((_QUEUES - 1) * 0x10001 if first & 0xFF == 7 else 0), 0
        elif command.opcode == 0x02:  # logs are empty
            self._send(command, bytes(((first >> 16) + 1) * 4))
        elif command.opcode == 0x0C:  # events: there are none
            return _NO_ANSWER, 0
        elif command.opcode == 0x08:
            return 1, 0  # nothing is there to be aborted
        else:
            return 0, _INVALID_FIELD if command.opcode in (0x01, 0x05) else _INVALID_OPCODE
        return 0, 0

    def _identify(self, command: _Command, what: int) -> tuple[int, int]:
        page = bytearray(_PAGE)
        if what == 0:
            struct.pack_into("<QQQ", page, 0, *[self._blocks if command.nsid == 1 else 0] * 3)
            struct.pack_into("<HB", page, 128, 0, _SHIFT)
        elif what == 1:
            texts = b"1".ljust(20), b"kmod-emu NVMe disk".ljust(40), b"1".ljust(8)
            struct.pack_into("<HH20s40s8s", page, 0, 0x1B36, 0x1AF4, *texts)
            struct.pack_into("<BHI", page, 77, _MOST_PAGES.bit_length() - 1, 1, _VERSION)
            struct.pack_into("<BBHI", page, 512, 0x66, 0x44, 0, 1)  # sizes of entries, one namespace
            struct.pack_into("<H", page, 520, 8)  # it can write zeros
            page[768:800] = b"nqn.2023-11.example:kmod-emu-1".ljust(32, b"\0")
        elif what == 2:
            struct.pack_into("<I", page, 0, 1 if command.nsid < 1 else 0)
        elif what == 3:
            page[:12] = struct.pack("<BBxxQ", 1, 8, 0x1)
        else:
            return 0, _INVALID_FIELD
        self._send(command, bytes(page))
        return 0, 0

    def _transfer(self, command: _Command) -> tuple[int, int]:
        block, count = command.words[0] | command.words[1] << 32, (command.words[2] & 0xFFFF) + 1
        if command.opcode == 0x00:  # flush
            return 0, 0
        if command.opcode not in (0x01, 0x02, 0x08):
            return 0, _INVALID_OPCODE
        if block + count > self._blocks:
            return 0, _OUT_OF_RANGE
        if count * _BLOCK > _MOST_PAGES * _PAGE and command.opcode != 0x08:
            return 0, _INVALID_FIELD
        if command.opcode == 0x02:
            zeros = bytes(_BLOCK)
            self._send(command, b"".join(self._data.get(block + each, zeros) for each in range(count)))
        elif command.opcode == 0x08:
            self._store(block, bytes(count * _BLOCK))
        else:
            assert self._wires is not None
            pieces = self._pieces(command, count * _BLOCK)
            self._store(block, b"".join(self._wires.read_memory(place, size) for place, size in pieces))
        return 0, 0

    def _store(self, block: int, data: bytes) -> None:
        for each in range(0, len(data), _BLOCK):
            part = data[each : each + _BLOCK]
            if part.strip(b"\0"):
                self._data[block] = part
            else:
                self._data.pop(block, None)
            block += 1

    def _send(self, command: _Command, data: bytes) -> None:
        assert self._wires is not None
        for place, size in self._pieces(command, len(data)):
            self._wires.write_memory(place, data[:size])
            data = data[size:]

    def _pieces(self, command: _Command, size: int) -> Iterator[tuple[int, int]]:
        """Where a command's data is: in pages, the first of which may begin in its middle."""
        assert self._wires is not None
        here = min(size, _PAGE - command.prp1 % _PAGE)
        yield command.prp1, here
        size -= here
        if 0 < size <= _PAGE:
            yield command.prp2, size
            return
        entry = command.prp2
        for _ in range(2 * _MOST_PAGES):
            if size <= 0:
                return
            (place,) = struct.unpack("<Q", self._wires.read_memory(entry, 8))
            if entry % _PAGE == _PAGE - 8 and size > _PAGE:  # the list goes on elsewhere
                entry = place
                continue
            entry += 8
            yield place, min(size, _PAGE)
            size -= _PAGE

    # --- state ----------------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        return {
            "blocks": self._blocks,
            "data": [[block, data.hex()] for block, data in self._data.items()],
            "registers": list(self._registers.items()),
            "submission": [[number, queue.save()] for number, queue in self._submission.items()],
            "completion": [[number, queue.save()] for number, queue in self._completion.items()],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Put saved state back."""
        self._blocks, self._registers = state["blocks"], dict(state["registers"])
        self._data = {block: bytes.fromhex(data) for block, data in state["data"]}
        self._submission = {number: _Queue.loaded(queue) for number, queue in state["submission"]}
        self._completion = {number: _Queue.loaded(queue) for number, queue in state["completion"]}
