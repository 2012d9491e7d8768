"""The linker in insmod: what it reads, whom it asks, what it says (SPEC B5)."""

import errno
import re
import struct

import pytest

from kmod_emu import KernelError, samples
from kmod_emu.classic import ClassicKernel
from kmod_emu.classic.insmod import Options, load
from kmod_emu.classic.program import Program, execute
from kmod_emu.classic.structs import MODULE
from kmod_emu.classic.tool import Report
from kmod_emu.kmod.errors import ToolError

HELLO = samples.classic("hello")
START = b"\x7fELF\x02\x01\x01" + bytes(9)  # of a 64-bit file in little-endian order


@pytest.fixture
def kernel():
    return ClassicKernel()


class Tool:
    """insmod on a machine, with what it printed."""

    def __init__(self, kernel):
        self.kernel, self.lines = kernel, []

    def __call__(self, path, *words, uid=0, **options):
        self.lines = []
        report = Report(lambda line: self.lines.append(line.rstrip("\n")))
        with self.kernel.process(uid=uid, comm="insmod") as process:
            execute(process, load(Program(process), str(path), words, Options(**options), report))

    def refused(self, path, *words, **options):
        """The message it fails with; nothing stays of the module."""
        before = self.kernel.held(), self.kernel.cat("/proc/modules")
        with pytest.raises(ToolError) as error:
            self(path, *words, **options)
        assert (self.kernel.held(), self.kernel.cat("/proc/modules")) == before
        return str(error.value)


@pytest.fixture
def insmod(kernel):
    return Tool(kernel)


def ksyms(kernel, module):
    lines = kernel.cat("/proc/ksyms").decode().splitlines()
    found = (line.partition(" ")[::2] for line in lines if line.endswith(f"\t[{module}]"))
    return {name.split("\t")[0]: int(address, 16) for address, name in found}


def changed(tmp_path, old, new, source=HELLO, name="changed.o"):
    blob = source.read_bytes()
    assert old in blob
    file = tmp_path / name
    file.write_bytes(blob.replace(old, new, 1))
    return file


def test_the_image_begins_with_struct_module(kernel, insmod):
    insmod(HELLO)
    (module,) = kernel.modules
    assert (module.address, module.size_of_struct) == (0xFFFFFFFFA0000000, 184)
    assert kernel.memory.read_cstring(module.name) == b"hello"
    assert module.name > module.address + MODULE.size, "insmod's own string, not create_module's"
    text = ksyms(kernel, "hello")["__insmod_hello_S.text_L46"]
    assert (module.init, module.cleanup) == (text, text + 32)


def test_references_are_patched_with_the_answers_of_query_module(kernel, insmod):
    events = []
    kernel.events.listen(events.append)
    insmod(HELLO)
    found = {event.name: event.detail for event in events}
    printk = int(re.search(rb"(\w+) printk\n", kernel.cat("/proc/ksyms"))[1], 16)
    assert found["classic_resolve"]["resolved"] == [{"name": "printk", "address": printk, "owner": ""}]
    calls = [place for place in found["classic_relocate"]["places"] if place["symbol"] == "printk"]
    text = ksyms(kernel, "hello")["__insmod_hello_S.text_L46"]
    for place in calls:
        distance = struct.unpack("<i", kernel.memory.read(text + place["offset"], 4))[0]
        assert text + place["offset"] + 4 + distance == printk


def test_ksymoops_symbols(kernel, insmod):
    insmod(HELLO)
    names = list(ksyms(kernel, "hello"))
    assert re.fullmatch(rf"__insmod_hello_O{re.escape(str(HELLO))}_M[0-9A-F]{{16}}_V132128", names[0])
    assert names[1:] == ["__insmod_hello_S.text_L46"]
    kernel.rmmod("hello")
    insmod(HELLO, ksymoops=False)
    assert ksyms(kernel, "hello") == {}


def test_exports(kernel, insmod):
    insmod(samples.classic("fat"))
    symbols = ksyms(kernel, "fat")
    assert {"fat_add_cluster", "fat_free", "GPLONLY_fat_free_clusters"} <= set(symbols)
    assert symbols["fat_add_cluster"] == symbols["__insmod_fat_S.text_L302"]
    insmod(samples.classic("msdos"))
    assert kernel.dmesg()[-1] == "msdos: a file in clusters 2 and 3, 12 are free"
    assert kernel.cat("/proc/modules").decode().splitlines()[1].endswith(" 0 [msdos]")
    with pytest.raises(KernelError, match="busy"):
        kernel.rmmod("fat")
    kernel.rmmod("msdos")
    assert kernel.cat("/proc/modules").decode().split("\n")[0].split(None, 2)[2] == "0", "it was used"
    kernel.rmmod("fat")
    assert kernel.dmesg()[-2:] == ["msdos: 2 clusters freed", "fat: gone"]


def test_all_globals_are_exported_where_nothing_is_named(kernel, insmod):
    insmod(samples.classic("exports"))
    assert "spoken" in ksyms(kernel, "exports")
    assert not {"init_module", "cleanup_module", "silent"} & set(ksyms(kernel, "exports"))
    kernel.rmmod("exports")
    insmod(samples.classic("exports"), export=False)
    assert "spoken" not in ksyms(kernel, "exports")


def test_unresolved_symbols(insmod, tmp_path):
    msdos = samples.classic("msdos")
    assert insmod.refused(msdos).splitlines() == [
        f"{msdos}: unresolved symbol {name}" for name in ("fat_add_cluster", "fat_free_clusters", "fat_free")
    ]
    assert insmod.refused(msdos, quiet=True) == ""


def test_gplonly_symbols_are_for_gpl_modules(insmod, tmp_path):
    insmod(samples.classic("fat"))
    proprietary = changed(tmp_path, b"license=GPL", b"license=BSD", samples.classic("msdos"))
    message = insmod.refused(proprietary)
    assert f"{proprietary}: unresolved symbol fat_free_clusters\n" in message
    assert "unresolved symbol fat_free\n" not in message
    assert "The module may be trying to access\n      GPLONLY symbols" in message


def test_the_licence(kernel, insmod, tmp_path):
    file = changed(tmp_path, b"license=GPL", b"license=BSD")
    insmod(file)
    assert insmod.lines == [
        f"Warning: loading {file} will taint the kernel: non-GPL license - BSD",
        "  See http://www.tux.org/lkml/#export-tainted for information about tainted modules",
        "Module changed loaded, with warnings",
    ]
    assert kernel.cat("/proc/sys/kernel/tainted") == b"1\n"
    insmod(changed(tmp_path, b"license=GPL", b"licence=GPL", name="none.o"), force=True)
    assert insmod.lines[0].endswith("will taint the kernel: no license")
    assert insmod.lines[2].endswith("will taint the kernel: forced load")
    assert kernel.cat("/proc/sys/kernel/tainted") == b"3\n"
    assert kernel.dmesg() == ["Hello world!"] * 2


def test_another_kernel_version(kernel, insmod, tmp_path):
    file = changed(tmp_path, b"kernel_version=2.4.32", b"kernel_version=2.4.18")
    text = (
        f"kernel-module version mismatch\n\t{file} was compiled for kernel version 2.4.18\n"
        "\twhile this kernel is version 2.4.32"
    )
    assert insmod.refused(file) == f"{file}: {text}."
    insmod(file, force=True)
    assert "\n".join(insmod.lines).startswith(f"Warning: {text}\nWarning: loading")
    assert kernel.dmesg() == ["Hello world!"]


def test_no_version(insmod, tmp_path):
    for new in (b"kernel_versiom=2.4.32", b"kernel_version=2.4.xx"):
        file = changed(tmp_path, b"kernel_version=2.4.32", new)
        text = "couldn't find the kernel version the module was compiled for"
        assert insmod.refused(file) == f"{file}: {text}"


def test_autoclean(kernel, insmod):
    insmod(samples.classic("chardev"), autoclean=True)
    assert kernel.cat("/proc/modules").decode().endswith("   0 (autoclean) (unused)\n")


def test_probe_and_noload_leave_the_kernel_alone(kernel, insmod):
    for options in ({"probe": True}, {"noload": True, "map": True}):
        insmod(HELLO, **options)
        assert kernel.modules == []
    assert insmod.lines[1].split() == [".this", "000000b8", "0000000012340000", "2**3"]


def test_the_map(insmod):
    insmod(samples.classic("chardev"), map=True)
    assert insmod.lines[0] == "Sections:       Size      Address           Align"
    assert insmod.lines[1] == ".this           000000b8  ffffffffa0000000  2**3"
    symbols = insmod.lines[insmod.lines.index("Symbols:") + 1 :]
    assert "ffffffffa0000000 d __this_module" in symbols
    assert any(re.fullmatch(r"ffffffffa00000c0 [tT] chardev_ioctl", line) for line in symbols)
    assert any(re.fullmatch(r"[0-9a-f]{16} b length", line) for line in symbols)
    addresses = [line[:16] for line in symbols]
    assert addresses == sorted(addresses)


def test_verbose(insmod):
    insmod(HELLO, verbose=True)
    assert insmod.lines[0] == f"Using {HELLO}"
    assert re.fullmatch(r"printk = ffffffff8[0-9a-f]{7} of the kernel", insmod.lines[1])


def test_twice(insmod):
    insmod(HELLO)
    assert insmod.refused(HELLO) == "insmod: a module named hello already exists"
    insmod(HELLO, name="hello2")


def test_init_that_fails(kernel, insmod):
    file = samples.classic("ret_enodev")
    assert insmod.refused(file) == f"{file}: init_module: No such device"
    assert insmod.refused(file, "result=7") == f"{file}: init_module: Device or resource busy"
    assert kernel.dmesg() == ["ret_enodev: returning -19", "ret_enodev: returning 7"]


def test_who_is_not_root(kernel, insmod):
    assert insmod.refused(HELLO, uid=1000) == f"{HELLO}: create_module: Operation not permitted"
    with pytest.raises(ToolError) as error:
        kernel.insmod(HELLO, uid=1000)
    assert error.value.__cause__.errno == errno.EPERM


def test_no_room(insmod, tmp_path):
    blob = bytearray(samples.classic("msdos").read_bytes())
    shoff, shnum = struct.unpack_from("<Q", blob, 40)[0], struct.unpack_from("<H", blob, 60)[0]
    for index in range(shnum):
        at = shoff + 64 * index
        if struct.unpack_from("<I", blob, at + 4)[0] == 8:  # SHT_NOBITS
            struct.pack_into("<Q", blob, at + 32, 1 << 60)
    file = tmp_path / "msdos.o"
    file.write_bytes(blob)
    insmod(samples.classic("fat"))
    message = insmod.refused(file)
    assert re.fullmatch(rf"{file}: can't allocate kernel memory for module; needed \d{{19}} bytes", message)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "cannot read ELF header from {}"),
        (b"\x7fELF" + bytes(59), "cannot read ELF header from {}"),
        (b"#!/bin/sh\n" + bytes(64), "{} is not an ELF file"),
        (b"\x7fELF\x01\x01\x01" + bytes(64), "ELF file {} not for this architecture"),
        (START + b"\x01\0\x03\0" + bytes(64), "ELF file {} not for this architecture"),
        (START + b"\x02\0\x3e\0" + bytes(64), "ELF file {} not a relocatable object"),
        (START + b"\x01\0\x3e\0" + bytes(64), "section header size mismatch {}: 0 != 64"),
    ],
)
def test_files_that_are_no_modules(insmod, tmp_path, blob, message):
    file = tmp_path / "x.o"
    file.write_bytes(blob)
    assert insmod.refused(file) == f"{file}: {message.format(file)}"


def test_no_file(insmod, tmp_path):
    assert insmod.refused(tmp_path / "no.o") == f"insmod: {tmp_path}/no.o: No such file or directory"
    assert insmod.refused(tmp_path) == f"insmod: {tmp_path}: Is a directory"


def test_a_relocation_of_no_known_type(insmod, tmp_path):
    blob = bytearray(HELLO.read_bytes())
    rela = next(i for i in range(0, len(blob) - 24, 4) if struct.unpack_from("<QI", blob, i) == (7, 11))
    struct.pack_into("<I", blob, rela + 8, 23)
    file = tmp_path / "x.o"
    file.write_bytes(blob)
    assert insmod.refused(file) == f"{file}: Unhandled relocation of type 23 for .rodata.str1.1"


def test_the_image_as_a_file(kernel, insmod, tmp_path):
    insmod(HELLO, blob=str(tmp_path / "image"))
    (module,) = kernel.modules
    image = (tmp_path / "image").read_bytes()
    assert len(image) == module.size
    assert image[MODULE.size :] == kernel.memory.read(module.address + MODULE.size, module.size - MODULE.size)
    assert "open /dev/null/x failed Not a directory" in insmod.refused(
        samples.classic("fat"), blob="/dev/null/x"
    )


def test_a_module_without_entry_points(kernel, insmod, tmp_path):
    blob = HELLO.read_bytes().replace(b"\0init_module\0", b"\0init_modulf\0")
    file = tmp_path / "none.o"
    file.write_bytes(blob.replace(b"\0cleanup_module\0", b"\0cleanup_modulf\0"))
    insmod(file)
    (module,) = kernel.modules
    assert (module.init, module.cleanup, module.flags) == (0, 0, 1)
    kernel.rmmod("none")
    assert kernel.dmesg() == []
