"""kmod-emu profile: build, list, show, remove, and bad input."""

import pytest

from kmod_emu.abi import profile
from tests.vmlinux.synthetic import bzimage, elf, types, vmlinux

SYMVERS = "0x1\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n0x2\tsort\tvmlinux\tEXPORT_SYMBOL_GPL\tCXL\n"


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "vmlinuz").write_bytes(bzimage(vmlinux()))
    (tmp_path / "btf").write_bytes(types())
    (tmp_path / "Module.symvers").write_text(SYMVERS)


def test_build_list_show_remove(cli):
    result = cli("profile", "build", "vmlinuz")
    assert result.exit_code == 0
    assert "9.9.9-test: 4 exports with CRCs" in result.output
    assert "9.9.9-test" in cli("profile", "list").output
    shown = cli("profile", "show", "9.9.9-test").output
    assert "#1 SMP PREEMPT_DYNAMIC Test 9.9" in shown
    assert "HZ=100" in shown
    assert cli("profile", "remove", "9.9.9-test").exit_code == 0
    assert "9.9.9-test" not in cli("profile", "list").output
    assert cli("profile", "remove", "9.9.9-test").exit_code == 1


def test_show_structures_and_exports(cli):
    result = cli("profile", "show", "6.1", "kobject", "misc_register", "dma_buf_get", "nothing")
    assert "struct kobject, 64 bytes\n      0 name (8)\n" in result.output
    assert "     60 state_in_sysfs (4, bit 1)\n" in result.output
    assert "int misc_register(struct miscdevice *misc); for all; CRC 0x844c8938\n" in result.output
    assert "; GPL only; namespace DMA_BUF; CRC " in result.output
    assert "6.1.0-56-amd64 has no structure and no export nothing\n" in result.stderr
    assert result.exit_code == 1


def test_a_shipped_profile_stays(cli):
    result = cli("profile", "remove", "6.1.0-56-amd64")
    assert result.exit_code == 1
    assert "comes with kmod-emu and stays" in result.stderr


def test_boot_needs_layouts_and_says_so(cli):
    cli("profile", "build", "vmlinuz")
    assert cli("boot", "--release", "9.9.9-none").exit_code == 2
    result = cli("boot", "--release", "9.9.9-test")
    assert result.exit_code == 2
    assert "no layout of struct" in result.stderr
    assert "9.9.9-test" in result.stderr


def test_btf_needs_exports_and_a_release(cli):
    assert "Module.symvers" in (result := cli("profile", "build", "btf")).stderr
    assert result.exit_code == 2
    assert "--release" in (result := cli("profile", "build", "btf", "Module.symvers")).stderr
    assert result.exit_code == 2
    assert cli("profile", "build", "btf", "Module.symvers", "--release", "../evil").exit_code == 2
    result = cli("profile", "build", "btf", "Module.symvers", "--release", "9.9.8")
    assert result.exit_code == 0
    assert "not known: addresses of exports" in result.output
    assert profile.load("9.9.8").exports["sort"].namespace == "CXL"
    cli("profile", "build", "btf", "Module.symvers", "--vermagic", "9.9.7 SMP mod_unload ")
    assert profile.load("9.9.7").vermagic == "9.9.7 SMP mod_unload "


def test_the_vmlinux_of_a_headers_package_holds_types_only(cli, tmp_path):
    (tmp_path / "vmlinux").write_bytes(elf([(".BTF", 0xFFFFFFFF82C30000, types())]))
    assert cli("profile", "build", "vmlinux").exit_code == 2
    result = cli("profile", "build", "vmlinux", "Module.symvers", "--release", "9.9.6")
    assert result.exit_code == 0
    assert profile.load("9.9.6").struct("module").size == 64


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none"], "none: No such file or directory"),
        (["."], ".: Is a directory"),
        (["Module.symvers"], "Module.symvers: not a kernel image"),
        (["vmlinuz", "vmlinuz"], "vmlinuz: line 1 is not a line of a Module.symvers"),
        (["vmlinuz", "gone"], "gone: No such file or directory"),
    ],
)
def test_bad_input_is_one_sentence(cli, words, sentence):
    result = cli("profile", "build", *words)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"kmod-emu: {sentence}")
    assert result.stderr.count("\n") == 1
    assert "9.9.9-test" not in profile.available()


def test_a_truncated_kernel(cli, tmp_path):
    blob = (tmp_path / "vmlinuz").read_bytes()
    (tmp_path / "cut").write_bytes(blob[: len(blob) // 2])
    result = cli("profile", "build", "cut")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "cut off" in result.stderr


def test_a_damaged_profile_is_named(cli):
    cli("profile", "build", "vmlinuz")
    path = profile.path("9.9.9-test")
    path.write_bytes(path.read_bytes()[:-1])
    assert "cut off" in (result := cli("profile", "list")).stderr
    assert "6.1.0-56-amd64" in result.output
    assert cli("profile", "show", "9.9.9-test").exit_code == 2
    result = cli("boot", "--release", "9.9.9-test")
    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert cli("profile", "remove", "9.9.9-test").exit_code == 0
