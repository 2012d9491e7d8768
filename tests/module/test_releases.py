"""Modules that kbuild made for each release load, run and unload there (tests/modules/Makefile)."""

from pathlib import Path

import pytest

from kmod_emu import Kernel, KernelError
from kmod_emu.abi import profile
from kmod_emu.observe.trace.text import TextSink
from kmod_emu.observe.trace.tracer import DEFAULT, Tracer

MODULES = Path(__file__).resolve().parents[1] / "modules"
RELEASES = profile.available()
pytestmark = pytest.mark.parametrize("release", RELEASES)

OUT_OF_TREE = "hello: loading out-of-tree module taints kernel."
UNSIGNED = "hello: module verification failed: signature and/or required key missing - tainting kernel"


def test_hello(release):
    kernel = Kernel(release)
    hello = kernel.insmod(MODULES / release / "hello.ko")
    assert kernel.dmesg() == [OUT_OF_TREE, UNSIGNED, "Hello world!"]
    # text, read-only data and data; before 6.4 the struct module made data two pages of one region
    assert hello.size == (12288 if kernel.profile.has("module.mem") else 16384)
    line = kernel.cat("/proc/modules").decode()
    assert line == f"hello {hello.size} 0 - Live 0xffffffffc0000000 (OE)\n"
    assert kernel.cat("/sys/module/hello/coresize") == f"{hello.size}\n".encode()
    assert kernel.cat("/sys/module/hello/initsize") == b"0\n"
    kernel.rmmod("hello")
    assert kernel.dmesg()[3:] == ["Cleaning up module."]
    assert kernel.module_area.allocated == 0


def test_sizes_are_those_of_the_real_kernel(release):
    """As /proc/modules had them in QEMU; on 7.2 call sites of static calls have a page that is sealed."""
    kernel = Kernel(release)
    for name in ("hello", "machine", "params", "exporter", "importer"):
        kernel.insmod(MODULES / release / f"{name}.ko")
    sizes = [module.size for module in kernel.modules][::-1]
    recorded = {"5.10": [16384, 20480, 16384, 16384, 16384], "6.1.": [16384, 20480, 16384, 16384, 16384]}
    assert sizes == recorded.get(release[:4], [12288, 16384, 12288, 12288, 12288])


def test_calls_of_a_module_are_traced(release):
    """Code is the beginning of one region, or one of seven."""
    lines, kernel = [], Kernel(release)
    tracer = Tracer(kernel, [TextSink(lines.append, 1000, str)], DEFAULT)
    kernel.insmod(MODULES / release / "hello.ko")
    tracer.finish()
    assert any(line.strip() == "hello_init() {" for line in lines)


def test_parameters(release):
    kernel = Kernel(release)
    kernel.insmod(MODULES / release / "params.ko", "count=3 verbose=y whom=bob")
    assert "params: count=3 size=16 verbose=1 whom=bob level=3" in kernel.dmesg()
    assert kernel.cat("/sys/module/params/parameters/whom") == b"bob\n"
    kernel.rmmod("params")


def test_exports(release):
    """A plain function, a GPL-only variable and a function in a namespace."""
    kernel = Kernel(release)
    exporter, importer = (MODULES / release / f"{name}.ko" for name in ("exporter", "importer"))
    with pytest.raises(KernelError) as error:
        kernel.insmod(importer)
    assert error.value.errno == 2
    unknown = {line for line in kernel.dmesg() if "Unknown symbol" in line}
    assert unknown == {
        f"importer: Unknown symbol {name} (err -2)"
        for name in ("exporter_add", "exporter_double", "exporter_count")
    }
    kernel.insmod(exporter)
    kernel.insmod(importer)
    assert kernel.dmesg()[-1] == "importer: 5 42 8"
    assert [module.name for module in kernel.modules[1].users] == ["importer"]
    with pytest.raises(KernelError) as error:
        kernel.rmmod("exporter")
    assert error.value.errno == 11
    kernel.rmmod("importer")
    kernel.rmmod("exporter")


def test_what_a_module_finds_in_the_machine(release):
    """`current`, per-CPU variables of its own, the heap, jump labels, a fixup, the preempt count."""
    kernel = Kernel(release)
    kernel.insmod(MODULES / release / "machine.ko")
    assert "machine: insmod 1 counter 42 42 branches 0 1 fault -14 preempt 0" in kernel.dmesg()
    kernel.rmmod("machine")
    assert kernel.dmesg()[-1] == "machine: gone 5"


def test_warning(release):
    kernel = Kernel(release)
    kernel.insmod(MODULES / release / "machine.ko", "warn=7")
    lines = kernel.dmesg()
    cut = lines.index("------------[ cut here ]------------")
    assert lines[cut + 1] == "machine: 7"
    assert lines.count("------------[ cut here ]------------") == 1
    if kernel.profile.has("bug_entry.format_disp"):
        assert lines[cut + 2].startswith("WARNING: machine.c:38 at machine_init+0x")
        assert lines[cut + 2].endswith("[machine], CPU#0: insmod/100")
    else:
        assert lines[cut + 2].startswith("WARNING: CPU: 0 PID: 100 at modules/machine.c:38 machine_init+0x")


def test_saved_and_loaded_machine_still_knows_the_module(release, tmp_path):
    kernel = Kernel(release)
    kernel.insmod(MODULES / release / "machine.ko")
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    assert again.profile.release == release
    again.rmmod("machine")
    assert again.module_area.allocated == 0


def test_true_is_no_bool_to_older_kernels(release):
    kernel = Kernel(release)
    params = MODULES / release / "params.ko"
    if kernel.profile.has("exception_table_entry.handler"):
        with pytest.raises(KernelError) as error:
            kernel.insmod(params, "verbose=true")
        assert error.value.errno == 22
        assert kernel.dmesg()[-1] == "params: `true' invalid for parameter `verbose'"
    else:
        kernel.insmod(params, "verbose=true")
        assert kernel.cat("/sys/module/params/parameters/verbose") == b"Y\n"


def test_a_device_is_initialized(release):
    """Its mutex has a list of waiters, but in 7.2 a pointer to the first, where this once failed."""
    kernel = Kernel(release)
    layout = kernel.profile.struct("device")
    device = kernel.heap.kmalloc(layout.size)
    kernel.call(kernel.symbol("device_initialize"), device)
    head = device + layout.offset("devres_head")
    assert kernel.memory.read_u64(head) == head
