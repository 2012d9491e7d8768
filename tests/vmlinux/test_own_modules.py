"""Modules that the kernel's own loader has loaded are known by what is in guest memory."""

import pytest

from kmod_emu import samples
from kmod_emu.errors import Killed
from kmod_emu.vmlinux.own_modules import OwnModules
from kmod_emu.vmlinux.syscalls import system_calls


@pytest.fixture
def own(real, monkeypatch):
    """The list of modules of a machine whose own code loads them."""
    for name in ("locators", "name_locators"):
        monkeypatch.setattr(real, name, [])
    for name in ("modules_text", "try_module_get", "module_put"):
        monkeypatch.setattr(real, name, getattr(real, name))
    monkeypatch.setattr(real, "own_syscalls", system_calls(real, own_loader=True))
    return OwnModules(real)


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
