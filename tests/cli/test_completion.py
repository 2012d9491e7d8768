"""What the shell is offered when Tab is pressed."""

import pytest
from click.shell_completion import ShellComplete

from kmod_emu import samples
from kmod_emu.cli.main import main


def offered(words: list[str], incomplete: str) -> list[str]:
    items = ShellComplete(main, {}, "kmod-emu", "_KMOD_EMU_COMPLETE").get_completions(words, incomplete)
    return [item.type if item.type == "file" else item.value for item in items]


def test_modules_that_are_loaded(cli):
    assert offered(["rmmod"], "") == ["file"]
    cli("insmod", samples.path("hello"))
    cli("--state", "other", "insmod", samples.path("params"))
    assert offered(["rmmod"], "") == ["hello"]
    assert offered(["--state", "other", "rmmod"], "p") == ["params"]


@pytest.mark.parametrize(
    ("words", "incomplete", "wanted"),
    [
        ([], "insm", ["insmod"]),
        (["run"], "hell", ["hello"]),
        (["modinfo"], "hell", ["hello"]),
        (["run"], "./x", ["file"]),
        (["insmod"], "", ["file"]),
        (["rmmod"], "--fo", ["--force"]),
        (["dmesg", "-T"], "--fac", ["--facility"]),
        (["run", "--device"], "", ["e1000", "lm75", "mouse", "nvme"]),
        (["exec", "--device"], "e1000,mac=02:00:00:00:00:07,p", ["e1000,mac=02:00:00:00:00:07,peer="]),
        (["boot", "--device"], "./card", ["file"]),
    ],
)
def test_names_options_and_files(cli, words, incomplete, wanted):
    assert offered(words, incomplete) == wanted


def test_files_of_the_machine(cli):
    cli("insmod", samples.path("echo"))
    assert offered(["cat"], "/proc/mod") == ["/proc/modules"]
    assert offered(["ls"], "/sys/module/ech") == ["/sys/module/echo/"]
    assert offered(["stat"], "/nowhere/") == []


def test_modules_of_the_module_directory(cli, tmp_path):
    names = ("kernel/a-b.ko", "kernel/c.ko.xz")
    (tmp_path / "modules.dep").write_text("".join(f"{name}: kernel/z.ko\n" for name in names))
    assert offered(["modprobe"], "") == ["file"]
    cli("boot", "--modules", tmp_path)
    assert offered(["modprobe"], "") == ["a-b", "c"]
    assert offered(["modprobe", "-r"], "") == ["file"]


def test_the_classic_machine(cli):
    cli("--classic", "insmod", samples.classic("fat"))
    assert offered(["--classic", "rmmod"], "") == ["fat"]
    assert offered(["rmmod"], "") == ["file"]
    assert offered(["--classic", "modprobe"], "ms") == ["msdos"]
    assert offered(["--classic", "insmod"], "--pro") == ["--probe"]
