"""Initcalls that die or are not wanted."""

import pytest

from kmod_emu import samples
from kmod_emu.vmlinux import adding, kallsyms
from kmod_emu.vmlinux.errors import BadImage, BootFailed
from kmod_emu.vmlinux.kernel import VmlinuxKernel
from kmod_emu.vmlinux.vmlinux import Vmlinux

DIES = "trace_init_flags_sys_enter"  # the first of all initcalls
READS_NULL = bytes.fromhex("31c0 488b00")  # xor %eax,%eax; mov (%rax),%rax


@pytest.fixture(scope="module")
def broken(vmlinuz):
    """Debian's kernel with an initcall that reads a NULL pointer."""
    with open(vmlinuz, "rb") as file:
        kernel = Vmlinux.from_image(file.read())
    place = kallsyms.find(kernel).address(DIES)
    section = kernel.section(".init.text")
    at = section.offset + place - section.address
    return kernel.elf[:at] + READS_NULL + kernel.elf[at + len(READS_NULL) :]


def test_an_initcall_that_dies_ends_the_boot_with_its_oops(broken):
    with pytest.raises(BootFailed) as failed:
        VmlinuxKernel(broken, kept=False)
    assert str(failed.value) == (
        f"the kernel did not boot: in {DIES}, the code reads a NULL pointer at {DIES}+0x2/0x13; "
        f"--skip-initcall {DIES} leaves that out"
    )
    assert "BUG: kernel NULL pointer dereference, address: 0000000000000000" in failed.value.dmesg


def test_a_kernel_boots_without_it_and_without_symbols_and_types_of_its_own(broken, tmp_path, monkeypatch):
    """One boot for three things, since it takes seconds: --skip-initcall, System.map, and no BTF."""
    kernel = Vmlinux.from_image(broken)
    symbols = kallsyms.find(kernel)
    bare = broken.replace(b".BTF\0", b".btf\0")
    bare = bare.replace(b"".join(b"%d\0" % digit for digit in range(10)), bytes(20))
    (tmp_path / "vmlinuz").write_bytes(bare)
    with pytest.raises(BadImage, match="without symbols"):
        adding.add_directory(tmp_path)
    lines = (f"{each.address:016x} {each.kind} {each.name}\n" for each in symbols if "_BTF" not in each.name)
    (tmp_path / "System.map").write_text("".join(lines))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    added = adding.add_directory(tmp_path)
    machine = VmlinuxKernel(added.image, skip=[DIES], kept=False)
    assert machine.types is None
    assert {call.name: call.reason for call in machine.boot.initcalls}[DIES] == "it was asked to be left out"
    assert machine.insmod(samples.path("hello")).init_rc == 0
