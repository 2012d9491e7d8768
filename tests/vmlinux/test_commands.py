"""Commands on a distribution's kernel, as a user gives them; its modules are found by their names."""

import json
import shutil

import pytest

from kmod_emu import samples
from kmod_emu.vmlinux import cache
from tests.user.conftest import needs_busybox


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


def test_devices_are_in_the_kernels_own_table(command, cli):
    """Nothing was listed."""
    command("boot")
    cli("insmod", samples.path("mailbox"))
    lines = cli("devices").stdout.splitlines()
    assert lines[0] == "major  minors    name"
    assert lines[1].split()[1:] == ["0", "mailbox"]
    assert "                 read             mailbox_read+0x0/0x1f0 [mailbox]" in lines
    own = cli("devices", "--all").stdout.splitlines()
    assert "    1  0-255     mem" in own
    assert "   10  228       hpet" in own


def test_tools_write_to_the_kept_machines_system_log(command, cli):
    """It has no logger of its own: the command failed, and so did tools that wanted to log."""
    command("boot")
    assert cli("rmmod", "-s", "nosuch").exit_code == 1
    logged = cli("syslog", "-n", 1)
    assert logged.stdout.endswith(" kmod-emu rmmod: ERROR: Module nosuch is not currently loaded\n")


@needs_busybox
@pytest.mark.parametrize("loader", ["python", "kernel"])
def test_programs_load_modules_by_either_loader(command, capfd, monkeypatch, loader):
    own = []

    async def load(kernel, call):
        own.append(kernel.sched.current.comm)
        return await call

    monkeypatch.setattr("kmod_emu.vmlinux.syscalls.load", load)
    bound = f"{samples.path('hello')}:/hello.ko"
    script = "insmod /hello.ko; rmmod hello; dmesg | tail -n 1"
    result = command("exec", "--loader", loader, "--insmod", "params", "--bind", bound, "sh", "-c", script)
    assert (result.exit_code, result.stderr) == (0, "")
    assert capfd.readouterr().out.endswith("] Cleaning up module.\n")
    assert own == (["insmod", "insmod"] if loader == "kernel" else [])


@needs_busybox
def test_what_a_program_leaves_behind_on_a_kept_machine_ends(command, cli):
    command("boot")
    result = cli("exec", "--kept", "sh", "-c", "sleep 1000 & sleep 2000 & exit 3")
    told = [line.partition(" (pid ")[::2] for line in result.stderr.splitlines()]
    assert [name for name, _ in told] == ["kmod-emu: sleep"] * 2
    assert all(rest.endswith(") ended: programs are no part of a kept machine") for _, rest in told)
    assert result.exit_code == 3
    assert cli("exec", "--kept", "sh", "-c", "exec true").stderr == ""


def test_conform_does_directories_and_goes_on_where_it_was(command, tmp_path):
    """One process has both machines; a file that is there twice is loaded once."""
    folder, out = tmp_path / "modules", tmp_path / "out"
    (folder / "below").mkdir(parents=True)
    shutil.copy(samples.path("hello"), folder / "below")
    shutil.copy(samples.path("ret_enodev"), folder)
    words = ("conform", "--jobs", 1, "--json", out, folder, samples.path("params"), folder / "ret_enodev.ko")
    result = command(*words)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("     3 of 3 are loaded alike\n")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["module"]: row["rc"] for row in rows} == {"hello": 0, "ret_enodev": -19, "params": 0}
    assert "3 were done before" in command(*words).stdout


def test_conform_says_what_it_cannot_compare(command, tmp_path):
    (tmp_path / "out").write_text('{"module": "hello", "path": "hello.ko", "outcome": "loaded"}\n')
    for words, said in (
        ((), "name module files, a directory of them, or --modules DIR"),
        ((tmp_path / "nosuch.ko",), "there is no such module"),
        ((tmp_path,), "there is no module in it"),
        ((samples.path("hello"), "--json", tmp_path / "out"), "out holds a sweep"),
        (("--modules", tmp_path), "depmod writes it"),
    ):
        result = command("conform", *words)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_conform_tells_what_differs_and_is_no_more_than_that(command, monkeypatch):
    row = {
        "path": "a.ko",
        "module": "a",
        "rc": 0,
        "reason": None,
        "differences": ["rc: ours 0, the kernel's -2"],
    }
    rows = [row | {"outcome": "differs"}, row | {"path": "b.ko", "outcome": "alike", "differences": []}]
    monkeypatch.setattr("kmod_emu.sweep.workers.sweep", lambda setup, targets, jobs: (each for each in rows))
    result = command("conform", samples.path("hello"), samples.path("params"))
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "a.ko: rc: ours 0, the kernel's -2"
    assert result.stdout.splitlines()[-2:] == ["     1 differ: rc 1", "     1 of 2 are loaded alike"]


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
