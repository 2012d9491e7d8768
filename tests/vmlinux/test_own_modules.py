"""Modules that the kernel's own loader has loaded are known by what is in guest memory."""

import pytest

from kmod_emu import samples
from kmod_emu.errors import KernelError, Killed
from kmod_emu.module.modules import Modules
from kmod_emu.observe.record import Recorder
from kmod_emu.observe.run import Run
from kmod_emu.sweep.one import Setup
from kmod_emu.sweep.tree import Target
from kmod_emu.vmlinux.kernel import Loader, VmlinuxKernel
from kmod_emu.vmlinux.own_modules import OwnModules
from kmod_emu.vmlinux.syscalls import functions, system_calls
from tests.conftest import RECORDINGS


@pytest.fixture
def own(real, monkeypatch):
    """The list of modules of a machine whose own code loads them."""
    for name in ("locators", "name_locators"):
        monkeypatch.setattr(real, name, [])
    for name in ("modules_text", "try_module_get", "module_put"):
        monkeypatch.setattr(real, name, getattr(real, name))
    monkeypatch.setattr(real, "own_syscalls", system_calls(functions(real), own_loader=True))
    modules = OwnModules(real)
    monkeypatch.setitem(real._subsystems, Modules, modules)
    return modules


def load(kernel, path):
    with kernel.process(comm="insmod") as process:
        image = path.read_bytes()
        return process.syscall("init_module", process.put(image), len(image), process.put(b"\0"))


def test_an_oops_names_symbols_of_modules(real, own):
    inits = []
    stop = real.events.listen(lambda event: inits.append(event) if event.name == "do_one_initcall" else None)
    with pytest.raises(Killed):
        load(real, samples.path("oops_null"))
    stop()
    assert "RIP: 0010:oops_null_init+0x1a/0x1000 [oops_null]" in real.dmesg()
    assert "Modules linked in: oops_null(OE+)" in real.dmesg()
    assert [event.detail["symbol"] for event in inits] == ["oops_null_init+0x0/0x1000 [oops_null]"]


def test_the_list_is_that_of_proc_modules(real, own):
    assert own.rows() == []
    assert load(real, samples.path("hello")) == load(real, samples.path("echo")) == 0
    listed = [line.split()[0] for line in real.cat("/proc/modules").decode().splitlines()]
    assert [name for name, *_ in own.rows()] == listed == ["echo", "hello"]
    address = own.lookup_name("hello:hello_exit")
    assert str(own.locate(address)).startswith("hello_exit+0x0/")
    real.rmmod("hello")
    assert own.find("hello") is None
    assert own.locate(address) is None


def test_insmod_gives_the_module(real, own, distribution_module):
    hello = real.insmod(samples.path("hello"))
    assert (hello.name, hello.init_rc, hello.refcnt) == ("hello", 0, 0)
    without_init = real.insmod(distribution_module("lib/crc-itu-t"))
    assert (without_init.name, without_init.init_rc) == ("crc_itu_t", None)


def test_why_it_was_refused(real, own):
    with pytest.raises(KernelError) as refused:
        real.insmod(samples.path("ret_enodev"))
    assert refused.value.explanation == "init returned -19: it did run, and refused"
    with pytest.raises(KernelError) as refused:
        real.insmod(samples.path("hello").read_bytes().replace(b" SMP preempt ", b" UP_ preempt "))
    assert "refused it: hello: version magic '6.1.0-56-amd64 UP_ " in refused.value.explanation


def test_a_run_tells_what_init_and_rmmod_did(real, own):
    recorder = Recorder()
    stop = real.events.listen(recorder)
    run = Run(real, str(samples.path("hello")), "", 0)
    run.look()
    run.remove()
    stop()
    told = run.to_json(recorder)
    assert (told["rc"], told["init_rc"], told["rmmod_rc"]) == (0, 0, 0)
    names = [step["name"] for step in told["steps"]]
    assert names[-5:] == ["initcall_result", "module_live", "syscall", "sys_delete_module", "free_module"]
    refused = Run(real, str(samples.path("ret_enodev")), "", 0)
    assert (refused.to_json(Recorder())["init_rc"], refused.name) == (-19, "ret_enodev")


def test_a_sweep_may_be_done_by_the_kernels_own_loader(vmlinuz):
    machine = Setup(None, "", 20.0, vmlinuz, loader="kernel").machine()
    row = machine.sweep(Target("hello.ko", str(samples.path("hello")), []))
    assert (row["outcome"], row["init_rc"], row["rmmod_rc"]) == ("loaded", 0, 0)
    assert not {step["name"] for step in row["steps"]} & {"elf_validity_check", "layout_and_allocate"}


def test_init_may_warn_and_return_what_is_no_errno(vmlinuz):
    """Its bug table counts while init runs; a result below all errnos means that the module is gone."""
    kernel = VmlinuxKernel(vmlinuz, loader=Loader.KERNEL)
    image = (RECORDINGS / "errno-cases/h_ret.ko").read_bytes()
    module = kernel.insmod(image, "mode=warnon")
    assert any(line.startswith("WARNING: CPU: 0") for line in kernel.dmesg())
    kernel.rmmod(module.name)
    with pytest.raises(KernelError) as refused:
        kernel.insmod(image, "ret=-4096")
    assert refused.value.errno == 4096
    assert kernel.modules == []
    assert [name for name in kernel.faults.tables if name != "vmlinux"] == []
