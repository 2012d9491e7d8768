"""The tools on a kept machine, each call a process of its own."""

import os
import subprocess
import sys

import pytest

from kmod_emu import __version__, samples

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
    assert cli("lsmod").stdout == HEADER + "oops_null              28672  1\n"
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
    assert not any(line.endswith("  misc_register") for line in lines)
    assert any(line.endswith("  misc_register") for line in cli("ksyms", "-a").stdout.splitlines())


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


def test_help_and_version(cli):
    assert cli("--version").stdout == f"kmod-emu, version {__version__}\n"
    listing = cli("--help").stdout
    for name in ("run", "boot", "insmod", "rmmod", "lsmod", "dmesg", "modinfo", "ksyms", "cat", "shell"):
        assert f"  {name} " in listing
        assert cli(name, "--help").exit_code == 0
