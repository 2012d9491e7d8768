"""Commands on a distribution's kernel, as a user gives them; its modules are found by their names."""

import json
import shutil

import pytest

from kmod_emu import samples
from kmod_emu.vmlinux import cache


@pytest.fixture
def command(cli, booted, vmlinuz):
    """Runs a command with --kernel; the machine is kept, as after the first command."""
    machine, moment = booted
    with open(vmlinuz, "rb") as file:
        name = cache.key(cache.digest(file.read()))
    if cache.find(name) is None:
        machine.restore(moment)
        machine._name = name
        machine._settle()
    return lambda verb, *words: cli(verb, "--kernel", vmlinuz, *words)


def test_run_tells_the_story_of_a_module(command):
    result = command("run", "hello")
    assert result.exit_code == 0
    assert "state LIVE" in result.stdout
    assert result.stdout.endswith("Cleaning up module.\n")


def test_run_finds_a_module_of_the_kernels_own_and_loads_what_it_needs(command):
    result = command("run", "uas", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["rc"], found["rmmod_rc"]) == (0, 0, 0)
    assert found["dmesg"] == [
        "usbcore: registered new interface driver uas",
        "usbcore: deregistering interface driver uas",
    ]


def test_run_with_a_card_in_a_slot(command):
    result = command("run", "e1000.ko", "-q", "--device", "e1000")
    assert result.exit_code == 0
    assert "Intel(R) PRO/1000 Network Connection" in result.stdout


def test_what_a_module_needs_may_be_there_already(command):
    """--modprobe has loaded it, or a device has: usbcore."""
    result = command("run", "hid-generic", "-q", "--device", "mouse", "--modprobe", "usbhid")
    assert result.exit_code == 0
    assert "USB HID v1.10 Mouse [kmod-emu USB mouse]" in result.stdout


@pytest.mark.parametrize("name", ["nosuch", "nosuch.ko"])
def test_a_name_that_nothing_has_is_one_sentence(command, name):
    result = command("run", name)
    assert result.exit_code != 0
    assert result.stderr.startswith(
        f"kmod-emu: there is no file {name}, and no module of that name in /lib/modules/"
    )
    assert result.stderr.count("\n") == 1


def test_exec_runs_a_shell(command, capfd):
    result = command("exec", "sh", "-c", "uname -s; echo $((6 * 7)); exit 3")
    assert (result.exit_code, capfd.readouterr().out) == (3, "Linux\n42\n")


def test_conform_says_that_both_loaders_agree(command):
    result = command("conform", samples.path("params"))
    assert result.exit_code == 0, result.output


def test_the_kernel_starts_a_modprobe_that_is_there(command, cli, capfd, tmp_path, vmlinuz):
    release = vmlinuz.partition("-")[2]
    folder = tmp_path / "root" / "lib" / "modules" / release
    folder.mkdir(parents=True)
    for name in ("hello", "autoload"):
        shutil.copy(samples.path(name), folder / f"{name}.ko")
    cli("depmod", "-b", tmp_path / "root", release)
    capfd.readouterr()
    place = f"/lib/modules/{release}"
    shell = f"mkdir -p /sbin; ln -s /bin/busybox /sbin/modprobe; insmod {place}/autoload.ko; lsmod"
    result = command("exec", "--time-limit", 60, "--bind", f"{folder}:{place}", "sh", "-c", shell)
    listed = [line.split()[0] for line in capfd.readouterr().out.splitlines()[1:]]
    assert (result.exit_code, listed) == (0, ["hello", "autoload"])
