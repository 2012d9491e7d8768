"""Machine code in AT&T syntax, as objdump writes it."""

import io
import re
import shutil
import subprocess

import pytest
from elftools.elf.elffile import ELFFile

from kmod_emu import samples
from kmod_emu.debug.disassembly import decode, indirect_target

# capstone and binutils differ in the names of nops and a few others.
DIFFERENT = re.compile(r"data16|xchg|pushf|popf")


@pytest.mark.skipif(shutil.which("objdump") is None, reason="binutils are not installed")
@pytest.mark.parametrize("sample", ["echo", "kthread", "mailbox", "oops_null"])
def test_as_objdump(sample):
    path = samples.path(sample)
    sections = ELFFile(io.BytesIO(path.read_bytes()))
    for name in (".text", ".init.text"):
        words = ["objdump", "-d", "-j", name, "--no-show-raw-insn", path]
        shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        expected = dict(re.findall(r"^ +([0-9a-f]+):\t(.*)$", shown, re.MULTILINE))
        for one in decode(sections.get_section_by_name(name).data(), 0):
            theirs = re.sub(r"\s*<.*?>|\s+$", "", expected[f"{one.address:x}"])
            theirs = re.sub(r"^(call|j\w+)( +)([0-9a-f]+)$", r"\1\g<2>0x\3", theirs)
            theirs = re.sub(r"# ([0-9a-f]+)", r"# 0x\1", theirs)
            if not DIFFERENT.search(theirs):
                assert one.text(lambda address: "").split() == theirs.split()


def test_what_is_no_instruction():
    assert [one.mnemonic for one in decode(b"\x06" + b"\x90" * 20, 0)][:2] == ["(bad)", "nop"]
    assert list(decode(b"", 0)) == []


def test_where_an_indirect_call_leads():
    memory = {0x1028: 0x4000}
    assert indirect_target(b"\xff\xd0", 0, {"rax": 0x3000}, memory.__getitem__) == 0x3000
    assert indirect_target(b"\xff\x50\x28", 0, {"rax": 0x1000}, memory.__getitem__) == 0x4000
    assert indirect_target(b"\xff\x15\x22\x10\x00\x00", 0, {}, memory.__getitem__) == 0x4000
    assert indirect_target(b"\x90", 0, {}, memory.__getitem__) is None
