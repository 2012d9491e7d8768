"""What load_module does differently in the four releases (SPEC A2 to A7, G1 to G3)."""

from __future__ import annotations

import errno
import lzma
import struct

import pytest

from kmod_emu import Kernel, KernelError, Killed
from kmod_emu.abi.profile import Member, StructLayout
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.bugs import WARN_TRAP_CODE
from kmod_emu.machine import memory
from tests.module.builder import ALLOC, LIVEPATCH, R_32, R_64, WEAK, WRITE, Builder

OLD, OURS, LATER, NEW = "5.10", "6.1", "6.12", "7.2"
RELEASES = (OLD, OURS, LATER, NEW)
OUT_OF_TREE = "tiny: loading out-of-tree module taints kernel."
UNSIGNED = "tiny: module verification failed: signature and/or required key missing - tainting kernel"
UNLOCKED = "Disabling lock debugging due to kernel taint"


def refused(kernel: Kernel, blob: bytes, number: int = errno.ENOEXEC) -> list[str]:
    """What the kernel says when it refuses a module."""
    before = len(kernel.dmesg())
    with pytest.raises(KernelError) as error:
        kernel.insmod(blob)
    assert error.value.errno == number
    return kernel.dmesg()[before:]


def hello(release: str, **modinfo: str | None) -> Builder:
    return Builder(release, **modinfo).prints("tiny: init\n", "tiny: exit\n")


# --- the file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_module_from_scratch(release: str) -> None:
    kernel = Kernel(release)
    kernel.insmod(hello(release).build())
    kernel.rmmod("tiny")
    assert kernel.dmesg() == [OUT_OF_TREE, UNSIGNED, "tiny: init", "tiny: exit"]


@pytest.mark.parametrize("release", RELEASES)
def test_fault_in_the_header(release: str) -> None:
    blob = bytearray(hello(release).build())
    blob[18] = 3
    text = "Module has invalid ELF structures" if release == OLD else "Invalid architecture in ELF header: 3"
    assert refused(Kernel(release), bytes(blob)) == [text]


@pytest.mark.parametrize("release", RELEASES)
def test_no_sections_at_all(release: str) -> None:
    """The first header is looked at all the same where that comes before the number."""
    blob = bytearray(hello(release).build())
    blob[60:62] = bytes(2)
    text = "Invalid ELF section name index: "
    if release == OLD:
        text = "Module has invalid ELF structures"
    (line,) = refused(Kernel(release), bytes(blob))
    assert line.startswith(text)


@pytest.mark.parametrize("release", RELEASES)
def test_section_outside_of_the_file(release: str) -> None:
    """The only faults that the oldest kernel tells apart."""
    module = hello(release)
    module.section(".too.large", b"x").size = 1 << 30
    lines = refused(Kernel(release), module.build())
    assert lines[0].startswith("Invalid ELF section in module (section ")
    assert lines[1:] == (["Module has invalid ELF structures"] if release == OLD else [])


@pytest.mark.parametrize("release", RELEASES)
def test_name_of_a_section_without_memory(release: str) -> None:
    """Only where every section's name is looked at does it have to be in the table."""
    module = hello(release)
    module.section(".comment", b"x", flags=0).name_offset = 1000  # in the file
    kernel = Kernel(release)
    if release == NEW:
        assert "Invalid ELF section name in module" in refused(kernel, module.build())[0]
    else:
        kernel.insmod(module.build())


@pytest.mark.parametrize("release", RELEASES)
def test_struct_module_of_another_size(release: str) -> None:
    module = hello(release)
    module.section(".gnu.linkonce.this_module").data += bytes(64)
    kernel = Kernel(release)
    if release in (OLD, OURS):
        kernel.insmod(module.build())
    else:
        match = "section size must match the kernel's built struct module size at run time"
        assert refused(kernel, module.build()) == [f"module tiny: .gnu.linkonce.this_module {match}"]


@pytest.mark.parametrize("release", RELEASES)
def test_no_struct_module(release: str) -> None:
    module = Builder(release)
    module.sections.clear()
    module.symbols.clear()
    assert refused(Kernel(release), module.build()) == [
        {
            LATER: "module tiny: Only one .gnu.linkonce.this_module section must exist.",
            NEW: "module tiny: Exactly one .gnu.linkonce.this_module section must exist.",
        }.get(release, "tiny: No module found in object")
    ]


@pytest.mark.parametrize("release", [LATER, NEW])
def test_struct_module_without_memory(release: str) -> None:
    module = hello(release)
    module.section(".gnu.linkonce.this_module").flags = WRITE
    text = "module tiny: .gnu.linkonce.this_module must occupy memory during process execution"
    assert refused(Kernel(release), module.build()) == [text]


def test_module_of_another_release_fails_before_its_version_is_looked_at() -> None:
    (line,) = refused(Kernel(LATER), hello(OURS).build())
    assert line.endswith("must match the kernel's built struct module size at run time")


@pytest.mark.parametrize("release", RELEASES)
def test_two_modinfo_sections(release: str) -> None:
    blob = hello(release)
    blob.section(".modinfx", b"name=other\0", align=1)
    image = blob.build().replace(b".modinfx", b".modinfo")
    kernel = Kernel(release)
    if release in (OLD, OURS):
        kernel.insmod(image)
    else:
        assert refused(kernel, image) == ["Only one .modinfo section must exist."]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda strings: b"x" + strings[1:], "symbol string table missing leading NUL"),
        (lambda strings: strings[:-1] + b"x", "symbol string table isn't NUL terminated"),
    ],
)
def test_string_table_is_checked(change, text) -> None:
    blob = hello(NEW).build()
    start = blob.index(b"\0__this_module\0")
    strings = blob[start : blob.index(b"\0\0", start) + 1]
    kernel = Kernel(NEW)
    assert refused(kernel, blob[:start] + change(strings) + blob[start + len(strings) :]) == [text]


def test_symbol_name_outside_of_the_string_table() -> None:
    blob = bytearray(hello(NEW).build())
    table = int.from_bytes(blob[40:48], "little")
    for header in range(table, len(blob), 64):
        if int.from_bytes(blob[header + 4 : header + 8], "little") == 2:  # SHT_SYMTAB
            offset = int.from_bytes(blob[header + 24 : header + 32], "little")
            blob[offset + 24 : offset + 28] = b"\xff\xff\xff\0"
    assert refused(Kernel(NEW), bytes(blob)) == ["symbol name out of bounds in string table"]


@pytest.mark.parametrize(
    ("crcs", "names", "text"),
    [
        (bytes(4), None, "extended version crc+name presence does not match"),
        (bytes(8), b"module_layout\0", "more extended version crcs than names"),
        (bytes(4), b"module_layout\0", None),
    ],
)
def test_extended_versions(crcs: bytes, names: bytes | None, text: str | None) -> None:
    module = hello(NEW)
    module.section("__version_ext_crcs", crcs)
    if names is not None:
        module.section("__version_ext_names", names)
    kernel = Kernel(NEW)
    if text:
        assert refused(kernel, module.build()) == [text]
    else:
        kernel.insmod(module.build())


# --- what only taints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_name_that_is_taken(release: str) -> None:
    """Where that is found before memory is allocated, nothing is said about the second module."""
    kernel = Kernel(release)
    kernel.insmod(hello(release).build())
    said = refused(kernel, hello(release, staging="Y").build(), errno.EEXIST)
    warned = "tiny: module is from the staging directory, the quality is unknown, you have been warned."
    assert said == ([warned] if release in (OLD, OURS) else [])


@pytest.mark.parametrize("release", RELEASES)
def test_proprietary_module(release: str) -> None:
    kernel = Kernel(release)
    kernel.insmod(hello(release, license="Closed").build())
    by_licence = "tiny: module license 'Closed' taints kernel."
    twice = ["tiny: module license taints kernel."] if release in (LATER, NEW) else []
    assert kernel.dmesg() == [OUT_OF_TREE, by_licence, UNLOCKED, UNSIGNED, *twice, "tiny: init"]


@pytest.mark.parametrize("release", RELEASES)
def test_test_module(release: str) -> None:
    kernel = Kernel(release)
    kernel.insmod(hello(release, test="Y").build())
    assert ("tiny: loading test module taints kernel." in kernel.dmesg()) is (release != OLD)
    assert kernel.modules[0].flags() == (" (OE)" if release == OLD else " (OEN)")


@pytest.mark.parametrize("release", RELEASES)
def test_module_without_retpolines(release: str) -> None:
    lines = [
        "Spectre V2 : System may be vulnerable to spectre v2",
        "tiny: loading module not compiled with retpoline compiler.",
    ]
    for cmdline in ("", "mitigations=off", "spectre_v2=off", "nospectre_v2"):
        kernel = Kernel(release, cmdline=cmdline)
        kernel.insmod(hello(release, retpoline=None).build())
        assert kernel.dmesg() == [OUT_OF_TREE, *([] if cmdline else lines), UNSIGNED, "tiny: init"]


@pytest.mark.parametrize("release", RELEASES)
def test_livepatch_module(release: str) -> None:
    module = hello(release, livepatch="Y")
    module.define(".klp.sym.vmlinux.x,0", LIVEPATCH)
    kernel = Kernel(release)
    kernel.insmod(module.build())
    assert "tiny: tainting kernel with TAINT_LIVEPATCH" in kernel.dmesg()
    assert kernel.modules[0].flags() == " (OEK)"


@pytest.mark.parametrize("release", RELEASES)
def test_last_unloaded_module(release: str) -> None:
    kernel = Kernel(release)
    kernel.insmod(hello(release).build())
    kernel.rmmod("tiny")
    assert kernel.modules_text().endswith("[last unloaded: tiny" + ("]" if release == OLD else "(OE)]"))


# --- symbols -------------------------------------------------------------------------------------------


def using(release: str, name: str, *functions: str, **modinfo: str | None) -> Builder:
    """A module whose init calls functions."""
    module = Builder(release, name, **modinfo)
    for function in functions:
        module.call(".init.text", function)
        if module.versions is not None:
            module.versions.setdefault(function, 0x1234)
    module.returns(".init.text", 0)
    module.entry("init", ".init.text")
    return module


@pytest.mark.parametrize("release", RELEASES)
def test_symbols_of_a_proprietary_module(release: str) -> None:
    kernel = Kernel(release)
    kernel.insmod(Builder(release, "owner", license="Closed").exports_function("closed").build())
    kernel.insmod(using(release, "user", "closed").build())
    symbol = "" if release == OLD else "closed "
    text = f"user: module uses symbols {symbol}from proprietary module owner, inheriting taint."
    assert text in kernel.dmesg()
    said = refused(kernel, using(release, "gpl", "class_destroy", "closed").build(), errno.ENOENT)
    users = "gpl: module using GPL-only symbols uses symbols"
    assert f"{users} {symbol}from proprietary module owner." in said


@pytest.mark.parametrize("release", RELEASES)
def test_gpl_only_export(release: str) -> None:
    kernel = Kernel(release)
    kernel.insmod(Builder(release, "owner").exports_function("f", gpl=True).build())
    kernel.insmod(using(release, "free", "f").build())
    said = refused(kernel, using(release, "closed", "f", license="Closed").build(), errno.ENOENT)
    assert said[-1] == "closed: Unknown symbol f (err -2)"


@pytest.mark.parametrize("release", RELEASES)
def test_export_that_exists(release: str) -> None:
    kernel = Kernel(release)
    kernel.insmod(Builder(release, "first").exports_function("f").build())
    said = refused(kernel, Builder(release, "second").exports_function("f").build())
    assert said[-1] == "second: exports duplicate symbol f (owned by first)"
    said = refused(kernel, Builder(release, "third").exports_function("kfree").build())
    assert said[-1] == "third: exports duplicate symbol kfree (owned by kernel)"


@pytest.mark.parametrize("release", RELEASES)
def test_table_out_of_order_hides_symbols(release: str) -> None:
    kernel = Kernel(release)
    owner = Builder(release, "owner")
    for name in ("b", "c", "a"):
        owner.exports_function(name)
    kernel.insmod(owner.build())
    kernel.insmod(using(release, "user", "b", "c").build())
    assert refused(kernel, using(release, "lost", "a").build(), errno.ENOENT)


@pytest.mark.parametrize("release", RELEASES)
def test_weak_symbol_that_nobody_exports_is_zero(release: str) -> None:
    module = hello(release)
    module.undefined("nobody", WEAK)
    module.section(".data", bytes(8), flags=ALLOC | WRITE).relas.append((0, R_64, "nobody", 5))
    kernel = Kernel(release)
    loaded = kernel.insmod(module.build())
    place = next(address for name, address, _ in loaded.sections if name == ".data")
    assert kernel.memory.read_u64(place) == 5


def test_tables_by_licence_are_obsolete_where_flags_say_it() -> None:
    module = hello(NEW)
    module.section("__ksymtab_gpl", bytes(12))
    module.section("__kcrctab_gpl", bytes(4))
    kernel = Kernel(NEW)
    loaded = kernel.insmod(module.build())
    assert "tiny: ignoring obsolete section __ksymtab_gpl" in kernel.dmesg()
    assert "tiny: ignoring obsolete section __kcrctab_gpl" in kernel.dmesg()
    assert loaded.exports == {}


def test_exports_without_flags() -> None:
    module = hello(NEW).exports_function("f")
    module.sections = [section for section in module.sections if section.name != "__kflagstab"]
    assert refused(Kernel(NEW), module.build())[-1] == "tiny: no flags for exported symbols"


def test_namespace_that_names_modules() -> None:
    kernel = Kernel(NEW)
    owner = Builder(NEW, "owner").exports_function("f", namespace="module:friend,kin-*")
    kernel.insmod(owner.build())
    for name in ("friend", "kin_of_mine"):
        kernel.insmod(using(NEW, name, "f").build())
    *_, unknown, _ = refused(kernel, using(NEW, "kinless", "f").build(), errno.EINVAL)
    space = "module:friend,kin-*"
    assert unknown == f"kinless: module uses symbol (f) from namespace {space}, but does not import it."
    module = hello(NEW)
    module.imports_ns.append("module:tiny")
    text = "tiny: module tries to import module namespace: module:tiny"
    assert refused(kernel, module.build(), errno.EPERM)[-1] == text


@pytest.mark.parametrize("release", [LATER, NEW])
def test_imported_namespaces_in_sysfs(release: str) -> None:
    kernel = Kernel(release)
    module = hello(release)
    module.imports_ns += ["ONE", "TWO"]
    kernel.insmod(module.build())
    if release == NEW:
        assert kernel.cat("/sys/module/tiny/import_ns") == b"ONE\nTWO\n"
    else:
        with pytest.raises(KernelError):
            kernel.cat("/sys/module/tiny/import_ns")


# --- relocations ---------------------------------------------------------------------------------------


def relocated(release: str, kind: int, data: bytes, value: int) -> bytes:
    module = hello(release)
    module.define("far", 0xFFF1, value)
    module.section(".data", data, flags=ALLOC | WRITE).relas.append((0, kind, "far", 0))
    return module.build()


@pytest.mark.parametrize("release", RELEASES)
def test_relocation_of_what_is_not_zero(release: str) -> None:
    line = refused(Kernel(release), relocated(release, R_64, b"\1" * 8, 0x55))[-1]
    if release == NEW:
        start = "module: x86/modules: Invalid relocation target, existing value is nonzero for sec "
        assert line.startswith(start)
        assert ", idx 0, type 1, loc ffffffffc000" in line
    elif release == LATER:
        start = "module: x86/modules: Invalid relocation target, existing value is nonzero for type 1"
        assert line.startswith(start)
    else:
        assert line.startswith("module: x86/modules: Skipping invalid relocation target, existing value")
    assert line.endswith(", val 55")


@pytest.mark.parametrize("release", RELEASES)
def test_relocation_that_overflows(release: str) -> None:
    """Found before the place is looked at, in newer kernels."""
    lines = refused(Kernel(release), relocated(release, R_32, b"\1" * 4, 1 << 32))[-2:]
    if release in (OLD, OURS):
        assert "existing value is nonzero for type 10" in lines[-1]
        lines = refused(Kernel(release), relocated(release, R_32, bytes(4), 1 << 32))[-2:]
    first, second = lines
    where = first.removeprefix("module: overflow in relocation type 10 val 100000000")
    assert where == "" if release != NEW else where.startswith(" sec ")
    assert second == "module: `tiny' likely not compiled with -mcmodel=kernel"


@pytest.mark.parametrize("release", RELEASES)
def test_pointer_in_a_per_cpu_variable(release: str) -> None:
    """Such relocations are applied only where the section of per-CPU variables is no longer an exception."""
    module = hello(release)
    percpu = module.section(".data..percpu", struct.pack("<QQ", 0, 77), flags=ALLOC | WRITE)
    percpu.relas.append((0, R_64, "init_module", 0))
    kernel = Kernel(release)
    loaded = kernel.insmod(module.build())
    pointer, number = struct.unpack("<QQ", kernel.memory.read(kernel.percpu.address(loaded.percpu), 16))
    assert (pointer >> 32 == 0xFFFFFFFF) is (release == NEW)
    assert number == 77


# --- running init --------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_init_returns_a_positive_number(release: str) -> None:
    kernel = Kernel(release)
    kernel.insmod(Builder(release).prints("tiny: init\n", result=3).build())
    said = kernel.dmesg()[3:]
    text = "init suspiciously returned 3, it should follow 0/-E convention"
    if release == NEW:
        assert said == [f"tiny: {text}"]
    else:
        assert said[:2] == [f"do_init_module: 'tiny'->{text}", "do_init_module: loading module anyway..."]
        assert "Call Trace:" in said


@pytest.mark.parametrize("release", RELEASES)
def test_init_says_that_something_exists(release: str) -> None:
    expected = errno.EBUSY if release == NEW else errno.EEXIST
    assert refused(Kernel(release), Builder(release).prints("x\n", result=-errno.EEXIST).build(), expected)


# --- finit_module --------------------------------------------------------------------------------------


def finit(kernel: Kernel, data: bytes, flags: int) -> int:
    with kernel.process() as process:
        return process.syscall("finit_module", process.memfd(data), process.put(b"\0"), flags)


@pytest.mark.parametrize("release", RELEASES)
def test_compressed_file(release: str) -> None:
    kernel = Kernel(release)
    result = finit(kernel, lzma.compress(hello(release).build()), 4)
    assert result == {OLD: -errno.EINVAL, OURS: -errno.EOPNOTSUPP}.get(release, 0)
    assert [module.name for module in kernel.modules] == (["tiny"] if result == 0 else [])
    assert kernel.vmalloc.area(kernel.vmalloc.allocate(1))  # the copies are gone: room for all
    before = len(kernel.dmesg())
    if result == 0:
        assert finit(kernel, hello(release).build(), 4) == -errno.EINVAL
        assert finit(kernel, lzma.compress(b"x" * 500)[:-40], 4) == -errno.EINVAL
        said = kernel.dmesg()[before:]
        assert said == ["not an xz compressed module", "decompression failed with status 0"]


def load_twice_at_once(kernel: Kernel, result: int) -> list[int]:
    """Two processes load the same open file, whose init sleeps and then returns `result`."""

    @kernel.export("int take_a_nap(void)")
    async def take_a_nap(kernel):
        await kernel.sched.sleep(1_000_000)
        return result

    module = Builder(kernel.profile.release, "slow")
    module.call(".init.text", "take_a_nap")
    module.code(".init.text", b"\xc3")
    module.entry("init", ".init.text")
    if module.versions is not None:
        module.versions["take_a_nap"] = 0
    with kernel.process(comm="first") as first, kernel.process(comm="second") as second:
        fd = first.memfd(module.build())
        kernel[Vfs].fork(first.task, second.task)
        for process in (first, second):
            process.start("finit_module", fd, process.put(b"\0"), 0)
        return [first.wait(), second.wait()]


@pytest.mark.parametrize("release", RELEASES)
def test_one_file_loaded_twice_at_once(release: str) -> None:
    """Where the second waits for the first it shares its result; elsewhere the name is taken."""
    kernel = Kernel(release)
    results = load_twice_at_once(kernel, 0)
    assert results == [0, -errno.EEXIST if release in (OLD, OURS) else 0]
    assert [module.name for module in kernel.modules] == ["slow"]


@pytest.mark.parametrize("release", RELEASES)
def test_one_file_that_fails_loaded_twice_at_once(release: str) -> None:
    results = load_twice_at_once(Kernel(release), -errno.EIO)
    assert results == [-errno.EIO, -errno.EBUSY if release in (OLD, OURS) else -errno.EIO]


def test_code_is_where_it_may_run() -> None:
    """Each kind of memory is a region of its own, and what it holds cannot be written or run by mistake."""
    kernel = Kernel(LATER)
    module = kernel.insmod(hello(LATER).build())
    assert list(module.regions) == ["text", "data", "rodata"]
    allowed = {
        name: [kernel.memory.mapped(region.base, access) for access in (memory.WRITE, memory.EXEC)]
        for name, region in module.regions.items()
    }
    assert allowed == {"text": [False, True], "data": [True, False], "rodata": [False, False]}


@pytest.mark.parametrize("release", RELEASES)
def test_oops_while_loading(release: str) -> None:
    kernel = Kernel(release)
    module = Builder(release)
    module.code(".init.text", b"\x0f\x0b")  # ud2
    module.entry("init", ".init.text")
    with pytest.raises(Killed):
        kernel.insmod(module.build())
    said = kernel.dmesg()
    head = {
        OLD: "invalid opcode: 0000 [#1] SMP NOPTI",
        OURS: "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
        LATER: "Oops: invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
        NEW: "Oops: invalid opcode: 0000 [#1] SMP NOPTI",
    }
    start = said.index(head[release])
    places = {OLD: 4, NEW: 6}.get(release, 5)  # behind "OE": one for each flag that there is
    user = " UID: 0" if release in (LATER, NEW) else ""
    taint = f"Tainted: G           OE{' ' * places}"
    line = f"CPU: 0{user} PID: 100 Comm: insmod {taint} {kernel.profile.release} #1"
    assert said[start + 1].startswith(line)
    verbose = "Tainted: [O]=OOT_MODULE, [E]=UNSIGNED_MODULE"
    assert (said[start + 2] == verbose) is (release in (LATER, NEW))


def test_table_of_exports_with_plain_pointers(monkeypatch) -> None:
    """Architectures without 32-bit relative relocations have 24 bytes an entry; a profile says so."""
    kernel = Kernel(OURS)
    plain = StructLayout(
        "kernel_symbol", 24, {"value": Member(0, 8), "name": Member(8, 8), "namespace": Member(16, 8)}
    )
    monkeypatch.setitem(kernel.profile.structs._layouts, "kernel_symbol", plain)  # type: ignore[attr-defined]
    module = hello(OURS)
    table = module.section("__ksymtab", bytes(24))
    table.relas += [(0, R_64, "init_module", 0), (8, R_64, module.string("f"), 0)]
    module.section("__kcrctab", struct.pack("<I", 7))
    loaded = kernel.insmod(module.build())
    (exported,) = loaded.exports.items()
    assert exported == ("f", (next(a for n, a, _ in loaded.sections if n == ".init.text"), 7, False, ""))
    assert loaded.view.num_syms == 1


@pytest.mark.parametrize("release", RELEASES)
def test_livepatch_module_keeps_all_symbols(release: str) -> None:
    kernel = Kernel(release)
    usual, patch = (
        kernel.insmod(hello(release, **more).build()) for more in ({}, {"livepatch": "Y", "name": "x"})
    )
    assert {name for _, _, name in usual.symbols} < {name for _, _, name in patch.symbols}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".klp.rela.vmlinux..text", "livepatch: symbol in .klp.rela.vmlinux..text not found in symbol table"),
        (".klp.rela", "livepatch: section .klp.rela has an incorrectly formatted name"),
        (".klp.rela.ext4..text", None),
    ],
)
def test_livepatch_relocations(name: str, text: str | None) -> None:
    module = hello(OURS, livepatch="Y")
    section = module.section(name, bytes(24), flags=ALLOC | 0x100000)
    section.info = 1
    kernel = Kernel(OURS)
    if text is None:
        kernel.insmod(module.build())
    else:
        assert refused(kernel, module.build(), errno.EINVAL)[-1] == text


def test_warning_without_a_record_is_an_invalid_opcode() -> None:
    """The register that should point to the record of a WARN once led the fault handler astray."""
    kernel = Kernel(NEW)
    module = Builder(NEW)
    module.code(".init.text", b"\xbf\x08\0\0\0" + WARN_TRAP_CODE)  # mov $8,%edi
    module.entry("init", ".init.text")
    with pytest.raises(Killed):
        kernel.insmod(module.build())
    assert "Oops: invalid opcode: 0000 [#1] SMP NOPTI" in kernel.dmesg()
