"""The tools on a kept machine, each call a process of its own."""

import fcntl
import lzma
import os
import pty
import resource
import shutil
import subprocess
import sys

import pytest

from kmod_emu import __version__, samples
from kmod_emu.cli import machine
from tests.conftest import RECORDINGS

HELLO = samples.path("hello")
HEADER = "Module                  Size  Used by\n"


def test_one_machine_across_calls(cli):
    assert cli("insmod", HELLO).exit_code == 0
    assert cli("lsmod").stdout == HEADER + "hello                  16384  0\n"
    assert cli("cat", "/proc/modules").stdout == "hello 16384 0 - Live 0xffffffffc0000000 (OE)\n"
    assert cli("cat", "--uid", "1000", "/proc/modules").stdout.split()[5] == "0x0000000000000000"
    assert cli("rmmod", "hello").exit_code == 0
    assert cli("lsmod").stdout == HEADER
    assert cli("dmesg", "-t").stdout.splitlines()[-2:] == ["Hello world!", "Cleaning up module."]


def test_compressed_files(cli, tmp_path):
    (tmp_path / "hello.ko.xz").write_bytes(lzma.compress(HELLO.read_bytes()))
    assert cli("insmod", "hello.ko.xz").exit_code == 0
    assert cli("lsmod").stdout == HEADER + "hello                  16384  0\n"
    assert cli("modinfo", "-Flicense", "./hello.ko.xz").stdout == "GPL\n"
    assert cli("modinfo", "-n", "./hello.ko.xz").stdout == f"{tmp_path}/./hello.ko.xz\n"
    (tmp_path / "hello.ko.xz").write_bytes(lzma.compress(HELLO.read_bytes())[:100])
    message = "insmod: ERROR: could not insert module hello.ko.xz: Invalid parameters\n"
    assert cli("insmod", "-f", "hello.ko.xz").stderr == message


def test_loading_twice(cli):
    cli("insmod", HELLO)
    result = cli("insmod", HELLO)
    assert (result.exit_code, result.stderr) == (
        1,
        f"insmod: ERROR: could not insert module {HELLO}: File exists\n",
    )


def test_removing_what_is_not_there(cli):
    result = cli("rmmod", "hello")
    assert (result.exit_code, result.stderr) == (
        1,
        "rmmod: ERROR: Module hello is not currently loaded\n",
    )


def test_removing_what_cannot_be_removed(cli):
    cli("insmod", samples.path("noexit"))
    result = cli("rmmod", "noexit")
    assert result.exit_code == 1
    busy = "Device or resource busy"
    first = (
        "rmmod: ERROR: ../libkmod/libkmod-module.c:856 kmod_module_remove_module() could not remove 'noexit'"
    )
    assert result.stderr == f"{first}: {busy}\nrmmod: ERROR: could not remove module noexit: {busy}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["insmod"], "insmod: ERROR: missing filename.\n"),
        (["insmod", "-"], "insmod: ERROR: this tool does not support loading from stdin!\n"),
        (["insmod", "no.ko"], "insmod: ERROR: could not load module no.ko: No such file or directory\n"),
        (["insmod", "/dev/zero"], "insmod: ERROR: could not insert module /dev/zero: Invalid parameters\n"),
        (["rmmod"], "rmmod: ERROR: missing module name.\n"),
        (["modinfo"], "modinfo: ERROR: missing module or filename.\n"),
        (["cat", "/proc/nothing"], "cat: /proc/nothing: No such file or directory\n"),
    ],
)
def test_messages(cli, words, message):
    result = cli(*words)
    assert (result.exit_code, result.stderr) == (1, message)


def test_a_crash_leaves_its_traces(cli):
    result = cli("insmod", samples.path("oops_null"))
    assert result.exit_code == 3
    assert result.stderr.startswith("Killed\n")
    assert cli("lsmod").stdout == HEADER + "oops_null              16384  1\n"  # coresize: without init
    assert cli("rmmod", "oops_null").stderr == "rmmod: ERROR: Module oops_null is in use\n"
    assert "NULL pointer dereference" in cli("dmesg").stdout


def test_boot_starts_over(cli):
    cli("insmod", HELLO)
    assert "6.1.0-56-amd64" in cli("boot").stdout
    assert cli("lsmod").stdout == HEADER
    assert "5.10.0-32-amd64" in cli("boot", "--release", "5.10").stdout
    assert cli("cat", "/proc/sys/kernel/osrelease").stdout == "5.10.0-32-amd64\n"
    result = cli("boot", "--release", "1.0")
    assert result.exit_code == 2
    assert "there are: 5.10" in result.stderr


def test_dmesg_options(cli):
    cli("insmod", HELLO)
    assert cli("dmesg", "-r").stdout.splitlines()[-1] == "<6>[    2.000005] Hello world!"
    assert cli("dmesg", "-c").stdout.splitlines()[-1] == "[    2.000005] Hello world!"
    assert cli("dmesg").stdout == ""


def test_ksyms_lists_what_modules_may_use(cli):
    lines = cli("ksyms").stdout.splitlines()
    assert any(line.endswith("  _printk") for line in lines)
    assert not any(line.endswith("  vga_switcheroo_process_delayed_switch") for line in lines)
    assert any(line.endswith("  misc_register") for line in cli("ksyms", "-a").stdout.splitlines())
    assert lines[0].split() == ["Address", "Symbol", "Defined", "by"]
    assert cli("ksyms", "-H").stdout.splitlines() == lines[1:]
    cli("insmod", HELLO)
    told = "ffffffffc0000000  (16k)                             [hello]"
    assert cli("ksyms", "-mH").stdout.splitlines()[0] == told


def test_ls(cli):
    cli("insmod", HELLO)
    assert "initstate" in cli("ls", "/sys/module/hello").stdout.split()
    assert cli("ls", "/sys/none").stderr == "ls: cannot access '/sys/none': No such file or directory\n"


def test_shell_reads_commands_from_a_pipe(cli):
    script = f"insmod {HELLO}\nsudo lsmod\n# a comment\nnonsense\n'open\nrmmod hello\nexit\n"
    result = cli("shell", text=script)
    assert "hello                  16384  0" in result.stdout
    assert "nonsense: command not found" in result.stderr
    assert "No closing quotation" in result.stderr
    assert cli("lsmod").stdout == HEADER


def test_a_damaged_state_file_is_refused_with_the_reason(cli, tmp_path):
    cli("insmod", HELLO)
    state = tmp_path / "machine.kmod"
    whole = state.read_bytes()
    for bad, reason in (
        (b"junk", "is not a saved machine"),
        (whole[:-9] + bytes(9), "its checksum is wrong"),
    ):
        state.write_bytes(bad)
        result = cli("lsmod")
        assert result.exit_code == 1
        assert reason in result.stderr
        assert state.read_bytes() == bad


def test_two_processes_at_once_take_turns(tmp_path):
    """Every insmod counts, however the processes interleave: the lock lets one at a time in."""
    names = ["hello", "params", "noexit", "noinit"]
    environment = {**os.environ, "KMOD_EMU_STATE": str(tmp_path / "machine.kmod")}
    command = [sys.executable, "-m", "kmod_emu.cli.main"]
    loads = [
        subprocess.Popen([*command, "insmod", str(samples.path(name))], env=environment) for name in names
    ]
    assert [load.wait() for load in loads] == [0] * len(names)
    listing = subprocess.run([*command, "lsmod"], env=environment, capture_output=True, text=True, check=True)
    assert {line.split()[0] for line in listing.stdout.splitlines()[1:]} == set(names)


def test_who_waits_for_the_machine_is_told_for_whom(cli, tmp_path, monkeypatch):
    cli("insmod", HELLO)
    monkeypatch.setattr(machine, "_PATIENCE", 2)
    flock = fcntl.flock

    def let_go(file, operation):
        if operation == fcntl.LOCK_EX:  # it would wait now
            flock(other, fcntl.LOCK_UN)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", let_go)
    with (tmp_path / "machine.kmod.lock").open() as other:
        flock(other, fcntl.LOCK_EX)
        result = cli("rmmod", "hello")
    assert result.exit_code == 0
    assert result.stderr == f"kmod-emu: another command uses the machine (process {os.getpid()}): waiting\n"


def test_a_full_disk_is_told_and_changes_nothing(cli, tmp_path):
    cli("insmod", HELLO)
    before = (tmp_path / "machine.kmod").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        result = cli("rmmod", "hello")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.exit_code == 1
    assert "File too large; the machine there stays what it was before this command" in result.stderr
    assert (tmp_path / "machine.kmod").read_bytes() == before
    assert cli("lsmod").stdout.splitlines()[1].startswith("hello ")


def test_what_a_killed_command_left_is_removed(cli, tmp_path):
    left, foreign = tmp_path / ".machine.kmod.abcd_123", tmp_path / ".other.kmod.abcd_123"
    for path in (left, foreign):
        path.write_bytes(b"half a machine")
    cli("insmod", HELLO)
    assert not left.exists()
    assert foreign.exists()


def test_help_and_version(cli):
    assert cli("--version").stdout == f"kmod-emu, version {__version__}\n"
    listing = cli("--help").stdout
    for name in ("run", "boot", "insmod", "rmmod", "lsmod", "dmesg", "modinfo", "ksyms", "cat", "shell"):
        assert f"  {name} " in listing
        assert cli(name, "--help").exit_code == 0


def test_force_ignores_for_which_kernel_a_module_was_built(cli):
    other = RECORDINGS / "errno-cases" / "mi_vermagic_other.ko"
    assert "Invalid module format" in cli("insmod", other).stderr
    assert cli("insmod", "-f", other).exit_code == 0
    assert cli("lsmod").stdout == HEADER + "h_hello                16384  0\n"


def test_an_error_of_the_emulator_leaves_the_machine_as_it_was(cli, tmp_path, monkeypatch):
    cli("boot")
    before = (tmp_path / "machine.kmod").read_bytes()

    def breaks(*words, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("kmod_emu.kmod.insmod.insmod", breaks)
    result = cli("insmod", HELLO)
    assert result.exit_code == 70
    assert result.stderr.startswith("kmod-emu: internal error: RuntimeError: a bug; please report it")
    assert (tmp_path / "machine.kmod").read_bytes() == before


@pytest.mark.parametrize(
    ("state", "message"),
    [("folder", "folder: Is a directory"), ("file/machine", "file/machine: Not a directory")],
)
def test_a_state_file_that_cannot_be(cli, tmp_path, state, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    result = cli("--state", state, "lsmod")
    assert (result.exit_code, result.stderr) == (1, f"kmod-emu: {message}\n")


def test_modinfos_short_options(cli):
    assert cli("modinfo", "-l", HELLO).stdout == "GPL\n"
    assert cli("modinfo", "-a", HELLO).stdout == "kmod-emu\n"
    assert cli("modinfo", "-d", HELLO).stdout == "Say hello and goodbye\n"
    assert cli("modinfo", "-n", HELLO).stdout == f"{HELLO}\n"


def test_a_file_name_that_is_no_text(cli, tmp_path):
    name = os.fsdecode(b"bad\xff.ko")
    (tmp_path / name).write_bytes(HELLO.read_bytes())
    assert cli("modinfo", "-n", name).stdout_bytes == os.fsencode(tmp_path / name) + b"\n"
    assert cli("run", name).exit_code == 0


def test_cat_spares_the_terminal(cli, tmp_path):
    """Into a pipe it prints what is there, as cat does; on a terminal a module's text must not command it."""
    image = HELLO.read_bytes()
    start = image.index(b"hello\0\0\0\0\0\0\0\0")
    (tmp_path / "evil.ko").write_bytes(image[:start] + b"h\x1b[2J" + image[start + 5 :])
    cli("insmod", "evil.ko")
    raw = cli("cat", "/proc/modules").stdout_bytes
    assert raw.startswith(b"h\x1b[2J 16384 0 ")
    seen, tail = pty.openpty()
    command = [sys.executable, "-m", "kmod_emu.cli.main", "cat", "/proc/modules"]
    subprocess.run(command, stdout=tail, check=True)
    os.close(tail)
    shown = os.read(seen, 4096)
    os.close(seen)
    assert shown.replace(b"\r\n", b"\n") == raw.replace(b"\x1b", b"\\x1b")


def test_the_system_log(cli):
    cli("insmod", HELLO)
    assert cli("rmmod", "-s", "none").stderr == ""
    cli("dmesg", "-C")
    lines = cli("cat", "/var/log/syslog").stdout.splitlines()
    assert lines[-2] == "Nov 14 22:13:22 kmod-emu kernel: [    2.000005] Hello world!"
    assert lines[-1] == "Nov 14 22:13:22 kmod-emu rmmod: ERROR: Module none is not currently loaded"


def test_system_map(cli):
    lines = cli("cat", "/boot/System.map-6.1.0-56-amd64").stdout.splitlines()
    addresses = [int(line.split()[0], 16) for line in lines]
    assert addresses == sorted(addresses)
    printk = next(line for line in lines if line.endswith(" T _printk"))
    assert f"{printk.split()[0]}  _printk" in cli("ksyms").stdout.splitlines()


def test_removing_what_is_built_in(cli, tmp_path, monkeypatch):
    directory = tmp_path / "lib/modules/1.0"
    directory.mkdir(parents=True)
    (directory / "modules.builtin").write_text("kernel/inside.ko\n")
    (directory / "modules.order").touch()
    (directory / "modules.builtin.modinfo").touch()
    assert cli("depmod", "-b", tmp_path, "1.0").exit_code == 0
    monkeypatch.setattr("kmod_emu.kmod.explain.module_directory", lambda kernel: str(directory))
    assert cli("rmmod", "inside").stderr == "rmmod: ERROR: Module inside is builtin.\n"


def test_a_module_directory_for_the_machine_and_for_run(cli, tmp_path):
    release = "6.1.0-56-amd64"
    tree = tmp_path / "lib/modules" / release
    tree.mkdir(parents=True)
    shutil.copy(HELLO, tree)
    assert cli("depmod", "-b", tmp_path, release).exit_code == 0
    story = cli("run", "autoload", "--modules", tree).stdout
    assert "insmod (100) has /sbin/modprobe -q -- hello started and waits" in story
    assert "request_module('hello') gives 0: it exited with 0" in story
    assert cli("boot", "--modules", tree).exit_code == 0
    assert cli("modprobe", "-v", "hello").stdout == f"insmod {tree}/hello.ko \n"
    assert cli("modprobe", "-r", "hello").exit_code == 0
    assert cli("insmod", samples.path("autoload")).exit_code == 0
    assert "hello" in cli("lsmod").stdout
    assert cli("boot", "--modules", tmp_path / "nothing").exit_code == 2
