"""The public API: what scripts rely on."""

import pytest

import kmod_emu
from kmod_emu import Kernel, KernelError, Unimplemented, samples
from tests.module.builder import calling


def test_public_names():
    assert set(kmod_emu.__all__) <= set(dir(kmod_emu)) | {
        "Kernel",
        "Module",
        "Process",
        "Snapshot",
        "samples",
    }
    assert issubclass(KernelError, OSError)
    with pytest.raises(AttributeError):
        kmod_emu.nothing  # noqa: B018


def test_module_objects():
    kernel = Kernel()
    module = kernel.insmod(samples.path("params"), "count=2")
    assert (module.name, module.size, module.refcnt, module.init_rc) == ("params", 16384, 0, 0)
    assert module.state.name == "LIVE"
    assert kernel.modules == [module]


def test_bytes_are_as_good_as_a_path():
    kernel = Kernel()
    assert kernel.insmod(samples.path("hello").read_bytes()).name == "hello"


def test_releases():
    assert Kernel("6.12").profile.release.startswith("6.12.")
    with pytest.raises(LookupError, match=r"5\.10\.0-32-amd64"):
        Kernel("2.6")


def test_two_machines_do_not_share_anything():
    one, other = Kernel(), Kernel()
    one.insmod(samples.path("hello"))
    assert (len(one.modules), other.modules, other.dmesg()) == (1, [], [])


def test_two_runs_are_identical():
    def run() -> tuple[str, bytes]:
        kernel = Kernel()
        kernel.insmod(samples.path("params"), "count=3")
        kernel.insmod(samples.path("globals"))
        return kernel.printk.dmesg(), kernel.cat("/proc/kallsyms")

    assert run() == run()


def test_snapshots_go_back_and_forth():
    kernel = Kernel()
    empty = kernel.snapshot()
    kernel.insmod(samples.path("hello"))
    loaded = kernel.snapshot()
    kernel.rmmod("hello")
    kernel.insmod(samples.path("params"))
    kernel.restore(loaded)
    assert [m.name for m in kernel.modules] == ["hello"]
    kernel.restore(empty)
    assert (kernel.modules, kernel.dmesg()) == ([], [])
    kernel.restore(loaded)
    kernel.rmmod("hello")
    assert kernel.dmesg()[-1] == "Cleaning up module."


def test_calls_after_going_back():
    """The thread of earlier calls is gone, and another task may have got its number."""
    kernel = Kernel()
    empty = kernel.snapshot()

    def call(name: str) -> int:
        kernel.insmod(samples.path(name))
        return kernel.call(kernel.symbol("strlen"), kernel.heap.kmalloc(8))

    assert call("hello") == 0
    kernel.restore(empty)
    assert call("waitqueue") == 0


def test_saved_machines(tmp_path):
    kernel = Kernel(cmdline="")
    kernel.insmod(samples.path("params"), "whom=someone")
    kernel.save(tmp_path / "x.kmod")
    again = Kernel.load(tmp_path / "x.kmod")
    assert again.printk.dmesg() == kernel.printk.dmesg()
    assert again.cat("/proc/kallsyms") == kernel.cat("/proc/kallsyms")
    assert again.cat("/sys/module/params/parameters/whom") == b"someone\n"
    again.rmmod("params")
    assert again.dmesg()[-1] == "params: goodbye, someone"


def test_saving_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "x.kmod"
    Kernel().save(path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="No such file"):
        Kernel().save(tmp_path / "missing" / "x.kmod")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.kmod"]


def test_an_export_from_python_serves_a_module():
    kernel = Kernel()
    asked = []

    @kernel.export("int vga_switcheroo_process_delayed_switch(void)")
    def vga_switcheroo_process_delayed_switch(kernel) -> int:
        asked.append("switch")
        return 0

    image = calling("vga_switcheroo_process_delayed_switch")
    with pytest.raises(Unimplemented) as missing:
        Kernel().insmod(image)
    assert missing.value.name == "vga_switcheroo_process_delayed_switch"
    prototype = "int vga_switcheroo_process_delayed_switch(void)"  # from the kernel's BTF
    assert f'@kernel.export("{prototype}")' in missing.value.explanation
    module = kernel.insmod(image)
    assert (module.init_rc, len(asked)) == (0, 1)
