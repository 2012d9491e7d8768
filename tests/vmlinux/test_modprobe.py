"""request_module() on a distribution's kernel: its code starts /sbin/modprobe, which looks in --modules."""

import pytest

from kmod_emu import samples
from kmod_emu.module.kmod import Kmod
from kmod_emu.user.execute import STDOUT
from kmod_emu.vmlinux import modprobe
from kmod_emu.vmlinux.kernel import Loader, VmlinuxKernel
from tests.user.conftest import BUSYBOX, needs_busybox


@pytest.fixture
def directory(vmlinuz):
    return f"/lib/modules/{vmlinuz.partition('-')[2]}"


@pytest.fixture
def probing(real, directory):
    """A machine that was made with a directory of modules."""
    real[Kmod].directory = directory
    modprobe.install(real)
    return real


def _names(machine):
    return {module.name for module in machine.modules}


def _asked(machine, wanted):
    machine.insmod(samples.path("autoload"), f"wanted={wanted}")
    return machine.dmesg()[-1].rpartition(" ")[2]


def test_a_module_finds_another_with_what_it_needs(probing):
    assert _asked(probing, "fs-ext4") == "0"
    assert _names(probing) >= {"autoload", "ext4", "jbd2", "mbcache", "crc16"}


def test_what_is_not_there_is_what_modprobe_says(probing):
    assert _asked(probing, "no-such-module") == "256"


def test_without_a_directory_there_is_no_modprobe(real):
    assert _asked(real, "loop") == "-2"


def test_options_and_the_blacklist_of_the_machine_count(probing):
    probing.userland.put_file(
        "/etc/modprobe.d/own.conf", b"options brd rd_nr=3\nblacklist ext4\nalias my brd\n"
    )
    assert _asked(probing, "fs-ext4") == "0"
    probing.rmmod("autoload")
    assert _asked(probing, "my") == "0"
    assert "ext4" not in _names(probing)
    with probing.process() as process:
        assert process.read_file("/sys/module/brd/parameters/rd_nr") == b"3\n"


@needs_busybox
def test_programs_find_it_too(probing):
    probing.userland.install_busybox(BUSYBOX)

    def sh(command, **options):
        result = probing.userland.execute("/bin/busybox", ["sh", "-c", command], stderr=STDOUT, **options)
        return result.status, result.stdout.decode()

    assert sh("/sbin/modprobe dummy numdummies=2; ls /sys/class/net") == (0, "dummy0\ndummy1\nlo\n")
    assert sh("/sbin/modprobe none") == (1, "modprobe: none: No such file or directory\n")
    assert sh("/sbin/modprobe -q none") == (1, "")
    assert sh("/sbin/modprobe -r dummy")[0] == 1
    assert sh("/sbin/modprobe loop", uid=1000) == (1, "modprobe: loop: Operation not permitted\n")
    assert "loop" not in _names(probing)


def test_the_kernels_own_loader_works_the_same(vmlinuz, directory):
    machine = VmlinuxKernel(vmlinuz, loader=Loader.KERNEL, modules=directory)
    assert _asked(machine, "brd") == "0"
    assert _names(machine) == {"autoload", "brd"}


def test_a_modprobe_of_the_machines_own_comes_first(real, directory):
    real.userland.put_file(modprobe.PATH, b"#!/bin/false\n")
    real[Kmod].directory = directory
    modprobe.install(real)
    assert _asked(real, "loop") != "0"
