"""An NVMe disk on a distribution's kernel: queues in RAM, interrupt messages (MSI-X), or its line."""

import pytest

from kmod_emu.devices.nvme import Nvme
from kmod_emu.drivers.board import Board

OFFSET = 4096 * 3 + 512
COUNTERS = 40  # completions.events.counters
TEXT = b"kept on the disk " * 1000  # more than four pages: a list of them


def write(kernel):
    with kernel.process() as process:
        fd = process.open("/dev/nvme0n1", 2)
        process.pwrite(fd, TEXT, OFFSET)
        process.enter("fsync", fd)
        process.close(fd)


def read(kernel):
    with kernel.process() as process:
        fd = process.open("/dev/nvme0n1", 0)
        data = process.pread(fd, len(TEXT), OFFSET)
        process.close(fd)
    return data


def interrupts(kernel):
    """Of the disk: name -> chip and count."""
    lines = [line.split() for line in kernel.cat("/proc/interrupts").decode().splitlines()]
    return {line[-1]: (line[2], int(line[1])) for line in lines if "nvme" in line[-1]}


def test_blocks_go_to_the_disk_and_come_back(real, load):
    disk = real.device(**Nvme.wiring)(Nvme(size=8))
    load("nvme")
    real.advance(1)
    assert "nvme nvme0: 1/0/0 default/read/poll queues" in real.dmesg()
    assert b" 8192 nvme0n1\n" in real.cat("/proc/partitions")
    write(real)
    assert disk.contents()[OFFSET:].startswith(TEXT)
    assert read(real) == TEXT
    counts = interrupts(real)
    assert {name: chip for name, (chip, _) in counts.items()} == {"nvme0q0": "PCI-MSI", "nvme0q1": "PCI-MSI"}
    assert all(count > 1 for _, count in counts.values())
    real.rmmod("nvme")
    assert b"nvme" not in real.cat("/proc/partitions")
    assert interrupts(real) == {}


def test_what_is_written_back_is_counted_in_memory_of_its_own(real):
    """Where the kernel had not made the counter, it was the beginning of the processor's own variables."""
    assert real.memory.read_u64(real.symbol("global_wb_domain") + COUNTERS)


def test_without_messages_the_line_is_raised(real, load):
    real.device(**{**Nvme.wiring, "vectors": 0})(Nvme(size=1))
    load("nvme")
    real.advance(1)
    write(real)
    assert read(real) == TEXT
    (line,) = [line for line in real.cat("/proc/interrupts").decode().splitlines() if "nvme" in line]
    assert line.split()[0] == "10:"
    assert line.split()[2] == "IO-APIC"


def test_a_saved_machine_has_the_disk(real, load, tmp_path):
    """With its file's contents, of which the machine had a copy: the page cache need not know it all."""
    (tmp_path / "disk").write_bytes(bytes(OFFSET) + TEXT)
    real.device(**Nvme.wiring)(Nvme(file=str(tmp_path / "disk")))
    load("nvme")
    real.advance(1)
    real.save(tmp_path / "saved")
    (tmp_path / "disk").unlink()
    kernel = type(real).load(tmp_path / "saved")
    assert read(kernel) == TEXT
    kernel.unplug(next(iter(kernel[Board]._plugged.values())).model)
    assert b"nvme" not in kernel.cat("/proc/partitions")


def test_what_is_no_disk():
    with pytest.raises(ValueError, match="a disk has some blocks"):
        Nvme(size=0)
    with pytest.raises(ValueError, match="nowhere: No such file"):
        Nvme(file="nowhere")
