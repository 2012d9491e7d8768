"""modprobe, depmod and modules.conf of modutils."""

import shutil

import pytest

from kmod_emu import samples
from kmod_emu.classic import conf
from kmod_emu.kmod.errors import ToolError
from tests.classic.test_tools import classic, rows  # noqa: F401

ROOT = "/lib/modules/2.4.32"


@pytest.fixture
def tree(classic, tmp_path):  # noqa: F811
    """A module directory with fat, msdos and others, known to the machine."""
    top = tmp_path / "lib" / "modules" / "2.4.32"
    for name, folder in (("fat", "fs/fat"), ("msdos", "fs/msdos"), ("chardev", "drivers"), ("params", "misc"),
                         ("ret_enodev", "misc"), ("needs", "misc")):  # fmt: skip
        (top / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(samples.classic(name), top / folder)
    assert classic("depmod", "-b", tmp_path).exit_code == 0
    classic("boot", "--modules", top)
    return top


def configure(classic, *lines):  # noqa: F811
    for number, line in enumerate(lines):
        result = classic("echo", *(["-a"] if number else []), line, "/etc/modules.conf")
        assert result.exit_code == 0


def test_depmod(tree):
    text = (tree / "modules.dep").read_text()
    assert f"{ROOT}/fs/fat/fat.o:\n\n" in text
    assert f"{ROOT}/fs/msdos/msdos.o:\t{ROOT}/fs/fat/fat.o\n\n" in text


def test_depmod_of_files(classic):  # noqa: F811
    fat, msdos = samples.classic("fat"), samples.classic("msdos")
    assert classic("depmod", fat, msdos).stdout == f"{fat}:\n\n{msdos}:\t{fat}\n\n"
    result = classic("depmod", "-e", msdos)
    assert (result.exit_code, result.stderr) == (
        1,
        f"depmod: *** Unresolved symbols in {msdos}\n"
        "depmod: \tfat_add_cluster\ndepmod: \tfat_free_clusters\ndepmod: \tfat_free\n",
    )


def test_depmod_with_the_symbols_of_another_kernel(classic, tmp_path):  # noqa: F811
    (tmp_path / "map").write_text("ffffffff80000000 T register_chrdev\n")
    result = classic("depmod", "-e", "-F", "map", samples.classic("hello"))
    assert "depmod: \tprintk\n" in result.stderr
    (tmp_path / "map").write_text("ffffffff80000000 ? __ksymtab_printk\nffffffff80000000 D foo\n")
    assert classic("depmod", "-F", "map", samples.classic("hello")).exit_code == 0


def test_depmod_where_nothing_may_be_written(classic):  # noqa: F811
    result = classic("depmod", "-a")
    assert (result.exit_code, result.stderr) == (
        1,
        "depmod: the machine has no module directory: use -b, or boot --modules DIR\n",
    )


def test_what_is_needed_comes_first(classic, tree):  # noqa: F811
    result = classic("modprobe", "-v", "msdos")
    assert result.stdout == f"/sbin/insmod {ROOT}/fs/fat/fat.o\n/sbin/insmod {ROOT}/fs/msdos/msdos.o\n"
    assert rows(classic("lsmod")) == ["msdos   0 (unused)", "fat   0 [msdos]"]
    assert classic("modprobe", "-v", "msdos").stdout == ""
    assert classic("modprobe", "-rv", "msdos").stdout == "# delete msdos\n# delete fat\n"
    assert rows(classic("lsmod")) == []


def test_the_samples_are_the_directory_of_a_machine_without(classic):  # noqa: F811
    assert classic("modprobe", "msdos").exit_code == 0
    assert rows(classic("lsmod")) == ["msdos   0 (unused)", "fat   0 [msdos]"]
    assert classic("insmod", "hello").stdout == f"Using {ROOT}/hello.o\n"
    assert classic("insmod", "nobody").stderr == "insmod: nobody: no module by that name found\n"


def test_show_only(classic, tree):  # noqa: F811
    assert len(classic("modprobe", "-nv", "msdos").stdout.splitlines()) == 2
    assert rows(classic("lsmod")) == []


def test_list(classic, tree):  # noqa: F811
    assert classic("modprobe", "-l", "*a*s*").stdout == f"{ROOT}/misc/params.o\n"
    assert classic("modprobe", "-l", "-t", "drivers").stdout == f"{ROOT}/drivers/chardev.o\n"


def test_aliases_and_options(classic, tree):  # noqa: F811
    configure(classic, "alias card params", "options params wide=5 half=6", "options card half=7 byte=8")
    result = classic("modprobe", "-v", "card", "byte=9")
    assert result.stdout == f"/sbin/insmod {ROOT}/misc/params.o wide=5 half=7 byte=9\n"
    assert "byte=9 half=7 wide=5" in classic("dmesg").stdout


def test_aliased_off(classic, tree):  # noqa: F811
    configure(classic, "alias char-major-10-* off", "alias fat null")
    assert classic("modprobe", "char-major-10-144").exit_code == 0
    assert classic("modprobe", "fat").exit_code == 0
    assert rows(classic("lsmod")) == []


def test_above_below_probe_and_probeall(classic, tree):  # noqa: F811
    configure(
        classic, "above fat params", "below fat chardev", "probe any nobody params", "probeall all fat params"
    )
    classic("modprobe", "fat")
    assert rows(classic("lsmod")) == ["params   0 (unused)", "fat   0 (unused)", "chardev   0 (unused)"]
    classic("rmmod", "params", "fat", "chardev")
    classic("modprobe", "any")
    assert rows(classic("lsmod")) == ["params   0 (unused)"]


def test_commands_are_shown_and_not_run(classic, tree, tmp_path):  # noqa: F811
    configure(classic, f"pre-install fat touch {tmp_path}/pre", f"install params touch {tmp_path}/in")
    assert classic("modprobe", "-v", "fat").stdout.startswith(f"# pre-install fat:\ntouch {tmp_path}/pre\n")
    assert classic("modprobe", "params").exit_code == 0
    assert rows(classic("lsmod")) == ["fat   0 (unused)"]
    assert not (tmp_path / "pre").exists()
    assert not (tmp_path / "in").exists()


def test_autoclean(classic, tree):  # noqa: F811
    classic("modprobe", "-k", "msdos")
    assert rows(classic("lsmod")) == ["msdos   0 (autoclean) (unused)", "fat   0 (autoclean) [msdos]"]
    classic("modprobe", "-r", "msdos")
    classic("modprobe", "-r")
    assert rows(classic("lsmod")) == []


def test_what_cannot_be_loaded(classic, tree):  # noqa: F811
    result = classic("modprobe", "nobody")
    assert (result.exit_code, result.stderr) == (1, "modprobe: Can't locate module nobody\n")
    assert classic("modprobe", "-q", "nobody").stderr == ""
    assert classic("modprobe", "ret_enodev").stderr == (
        f"{ROOT}/misc/ret_enodev.o: init_module: No such device\n"
        f"modprobe: insmod {ROOT}/misc/ret_enodev.o failed\nmodprobe: insmod ret_enodev failed\n"
    )
    configure(classic, "below ret_enodev nobody")
    assert classic("modprobe", "ret_enodev").stderr == (
        "modprobe: Can't locate module nobody which is needed for ret_enodev\n"
    )
    assert classic("modprobe").stderr.startswith("modprobe: Nothing to load ???\n")


def test_what_was_loaded_for_it_goes_with_it(classic, tree):  # noqa: F811
    configure(classic, "below ret_enodev fat")
    assert classic("modprobe", "ret_enodev").exit_code == 1
    assert rows(classic("lsmod")) == []


def test_a_circle(classic, tree):  # noqa: F811
    configure(classic, "below fat params", "below params fat")
    assert classic("modprobe", "fat").stderr == "modprobe: Too deep recursion in module dependencies!\n"
    configure(classic, "alias a b", "alias b a")
    assert classic("modprobe", "a").exit_code == 1


def test_showconfig(classic, tree, tmp_path):  # noqa: F811
    (tmp_path / "my.conf").write_text("# mine\nalias a b # c\noptions \\\n b x=1\nkeep\npath[misc]=/x\n")
    lines = classic("modprobe", "-c", "-C", "my.conf").stdout.splitlines()
    assert lines[0] == "# Generated by modprobe -c (2.4.16)"
    assert "alias a b" in lines
    assert "options b x=1" in lines


@pytest.mark.parametrize("line", ["nonsense", "alias a", 'options a x="'])
def test_a_line_that_makes_no_sense(line):
    with pytest.raises(ToolError, match=r"modprobe: Invalid line x:1\n\t"):
        conf.parse(line, "x")


def test_no_modules_dep(classic, tmp_path):  # noqa: F811
    (tmp_path / "empty").mkdir()
    classic("boot", "--modules", "empty")
    assert classic("modprobe", "fat").stderr == (
        f"modprobe: Can't open dependencies file {ROOT}/modules.dep (No such file or directory)\n"
    )
    (tmp_path / "empty" / "modules.dep").write_text("what is this\n")
    assert classic("modprobe", "fat").stderr == "modprobe: line 1: Invalid dependency\n\twhat is this\n"
    (tmp_path / "empty" / "modules.dep").write_text(f"{ROOT}/fat.o:\n")
    assert classic("modprobe", "fat").stderr.startswith(f"insmod: {ROOT}/fat.o: No such file or directory\n")


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("char-major-*", "char-major-10", True),
        ("sg?", "sg1", True),
        ("sg?", "sg", False),
        ("sg", "sg1", False),
        ("sg1", "sg", False),
        ("*", "x", True),
    ],
)
def test_patterns_of_aliases(pattern, name, fits):
    assert (conf.parse(f"alias {pattern} y", "x").alias(name) == "y") is fits
