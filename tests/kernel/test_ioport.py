"""Ports and device memory: who has them, and what reaches device models."""

import pytest

from kmod_emu import Kernel
from kmod_emu.machine.memory import Access, PageFault

BASE = 0xFED0_0000


class Recorder:
    """Answers each read with a constant, and keeps what happened."""

    def __init__(self, answer=0x1122_3344):
        self.answer, self.seen = answer, []

    def read(self, offset, size):
        self.seen.append(("r", offset, size))
        return self.answer

    def write(self, offset, size, value):
        self.seen.append(("w", offset, size, value))


def test_ports_of_all_widths(kernel, guest):
    model = kernel.device(ports=0x300, size=8)(Recorder())
    code = "mov dx, 0x301; in al, dx; out dx, al; mov dx, 0x302; in ax, dx; out dx, ax; mov dx, 0x304;"
    assert guest.call(code + "in eax, dx; out dx, eax; ret") == 0x1122_3344
    assert model.seen == [
        ("r", 1, 1), ("w", 1, 1, 0x44), ("r", 2, 2), ("w", 2, 2, 0x3344),
        ("r", 4, 4), ("w", 4, 4, 0x1122_3344),
    ]  # fmt: skip


def test_strings_of_ports(kernel, guest):
    model = kernel.device(ports=0x300)(Recorder())
    place = guest.data(bytes(8))
    guest.call(
        "mov edx, 0x300; mov ecx, 3; rep insb; mov ecx, 2; mov rsi, rdi; sub rsi, 3; rep outsb; ret", place
    )
    assert kernel.memory.read(place, 4) == b"\x44\x44\x44\0"
    assert model.seen == [("r", 0, 1)] * 3 + [("w", 0, 1, 0x44)] * 2


def test_where_nothing_is_all_bits_are_ones(kernel, guest):
    assert guest.call("mov edx, 0x300; in eax, dx; out dx, eax; ret") == 0xFFFF_FFFF
    at = guest.export("ioremap", BASE, 16)
    assert guest.call("mov rax, [rdi]; mov [rdi], rax; ret", at) == 0xFFFF_FFFF_FFFF_FFFF


def test_a_program_may_not_touch_ports(kernel, guest):
    task = guest.user_task()
    assert task.space is not None
    model = kernel.device(ports=0x300)(Recorder())
    kernel.cpu.memory.user_mode = True
    assert kernel.cpu._in(None, 0x300, 1, None) == 0
    kernel.cpu.memory.user_mode = False
    assert model.seen == []


def test_a_model_that_fails_is_the_callers_exception(kernel, guest):
    class Broken:
        def read(self, offset, size):
            raise RuntimeError("broken model")

    kernel.device(ports=0x300)(Broken)
    with pytest.raises(RuntimeError, match="broken model"):
        guest.call("mov edx, 0x300; in al, dx; ret")


def test_memory_of_all_widths(kernel, guest):
    model = kernel.device(mmio=BASE, size=0x2000)(Recorder())
    at = guest.export("ioremap", BASE + 0xFF8, 0x20)
    assert at & 0xFFF == 0xFF8
    guest.call("mov al, [rdi + 1]; mov [rdi + 2], ax; mov eax, [rdi + 4]; mov [rdi + 8], rax; ret", at)
    assert model.seen == [
        ("r", 0xFF9, 1), ("w", 0xFFA, 2, 0x44), ("r", 0xFFC, 4), ("w", 0x1000, 4, 0x1122_3344),
        ("w", 0x1004, 4, 0),
    ]  # fmt: skip


def test_accessors_reach_memory_and_ports(kernel, guest):
    memory = kernel.device(mmio=BASE, size=16)(Recorder())
    ports = kernel.device(ports=0x300, size=16)(Recorder())
    for at, model in (
        (guest.export("ioremap", BASE, 16), memory),
        (guest.export("ioport_map", 0x300, 16), ports),
    ):
        assert guest.export("ioread8", at) == 0x44
        assert guest.export("ioread16be", at + 2) == 0x4433
        assert guest.export("ioread32", at + 4) == 0x1122_3344
        guest.export("iowrite32be", 0x1122_3344, at + 8)
        place = guest.data(b"ab" + bytes(8))
        guest.export("iowrite8_rep", at, place, 2)
        guest.export("ioread16_rep", at, place, 2)
        assert kernel.memory.read(place, 5) == b"\x44\x33\x44\x33\0"
        assert model.seen[3:6] == [("w", 8, 4, 0x4433_2211), ("w", 0, 1, ord("a")), ("w", 0, 1, ord("b"))]


def test_an_unmapped_window_is_gone(kernel, guest):
    kernel.device(mmio=BASE, size=16)(Recorder())
    at = guest.export("ioremap", BASE, 16)
    guest.export("iounmap", at)
    with pytest.raises(PageFault):
        kernel.memory.fill(at, Access.READ)
    guest.export("iounmap", at)
    assert any(line.startswith("iounmap: bad address ") for line in kernel.dmesg())


def test_ram_is_no_device(kernel, guest):
    assert guest.export("ioremap", 0x200_0000, 4096) == 0
    assert "ioremap on RAM at 0x0000000002000000 - 0x0000000002000fff" in kernel.dmesg()
    with pytest.raises(ValueError, match="is RAM"):
        kernel.device(mmio=0x200_0000)(Recorder())


def test_low_memory_is_ram_that_may_be_mapped(kernel, guest):
    at = guest.export("ioremap", 0xB8000, 4000)
    guest.call("mov dword ptr [rdi], 0x41424344; ret", at)
    assert guest.export("ioread32", at) == 0x41424344


def test_two_models_at_one_place(kernel):
    kernel.device(ports=0x300, size=4)(Recorder)
    with pytest.raises(ValueError, match="already"):
        kernel.device(ports=0x303)(Recorder)


def test_an_interrupt_from_a_model_comes_at_once(kernel, guest):
    class Model(Recorder):
        def write(self, offset, size, value):
            kernel.raise_irq(5)

    kernel.device(mmio=BASE, size=16)(Model)
    counter = guest.near_data(bytes(8))
    handler = guest.code(f"mov rax, {counter:#x}; inc dword ptr [rax]; mov eax, 1; ret")
    guest.export("request_threaded_irq", 5, handler, 0, 0, guest.text("x"), 0)
    at = guest.export("ioremap", BASE, 16)
    seen = guest.call(f"mov [rdi], eax; jmp next; next: mov rax, {counter:#x}; mov eax, [rax]; ret", at)
    assert seen == 1


# --- who has what ---------------------------------------------------------------------------------------


def region(kernel, guest, start, size, parent="ioport_resource"):
    name = guest.text(f"r{start:x}")
    return guest.export("__request_region", kernel.symbol(parent), start, size, name, 0)


def test_regions_do_not_overlap(kernel, guest):
    ports = kernel.symbol("ioport_resource")
    assert region(kernel, guest, 0x300, 8)
    assert region(kernel, guest, 0x308, 8)
    assert not region(kernel, guest, 0x307, 2)
    assert not region(kernel, guest, 0x60, 1)
    assert not region(kernel, guest, 0xFFF0, 0x20)
    listing = kernel.cat("/proc/ioports").decode()
    assert "00f0-00ff : fpu\n0300-0307 : r300\n0308-030f : r308\n03c0-03df : vga+\n" in listing
    guest.export("__release_region", ports, 0x300, 8)
    assert region(kernel, guest, 0x307, 1)


def test_releasing_what_is_not_there(kernel, guest):
    guest.export("__release_region", kernel.symbol("ioport_resource"), 0x300, 8)
    assert kernel.dmesg() == [
        "resource: Trying to free nonexistent resource <0x0000000000000300-0x0000000000000307>"
    ]


def test_a_drivers_own_resource(kernel, guest):
    memory = kernel.symbol("iomem_resource")
    place = guest.data(bytes(64))
    view = kernel.view("resource", place)
    view.start, view.end, view.flags = BASE, BASE + 0xFFF, 0x200
    view.set("name", guest.text("bridge"))
    assert guest.export("request_resource", memory, place) == 0
    assert region(kernel, guest, BASE + 16, 16, "iomem_resource")
    assert f"{BASE:08x}-{BASE + 0xFFF:08x} : bridge\n  {BASE + 16:08x}-{BASE + 31:08x} : r" in (
        kernel.cat("/proc/iomem").decode()
    )
    assert guest.export("release_resource", place) == 0


def test_addresses_are_for_administrators(kernel):
    assert "00000000-00000000 : System RAM\n" in kernel.cat("/proc/iomem", uid=1000).decode()
    assert "0000-0000 : dma1\n" in kernel.cat("/proc/ioports", uid=1000).decode()


def test_mappings_survive_in_a_saved_machine(kernel, guest, tmp_path):
    at = guest.export("ioremap", BASE, 16)
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    model = again.device(mmio=BASE, size=16)(Recorder())
    assert again.call(again.symbol("ioread8"), at) == 0x44
    assert model.seen == [("r", 0, 1)]
