"""--explain: the reason and what to do, behind the tool's own message."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from kmod_emu.cli.main import main
from tests.conftest import RECORDINGS

BEHAVIOUR, CASES = RECORDINGS / "behaviour", RECORDINGS / "errno-cases"


@pytest.fixture
def tool(tmp_path):
    """Runs a command on a machine of its own: the lines on standard error."""

    def call(*words) -> list[str]:
        result = CliRunner().invoke(main, ["--state", str(tmp_path / "m"), *map(str, words)])
        return result.stderr.splitlines()

    return call


def test_who_exports_what_is_missing(tool):
    message, why, where = tool("insmod", "--explain", BEHAVIOUR / "b_consumer.ko")
    file = BEHAVIOUR / "b_consumer.ko"
    assert message == f"insmod: ERROR: could not insert module {file}: Unknown symbol in module"
    assert why.startswith("kmod-emu: neither the base kernel nor a loaded module exports b_shared, b_next, ")
    assert where == f"kmod-emu: {BEHAVIOUR}/b_provider.ko exports b_next, b_shared: load it first"


@pytest.mark.parametrize(
    ("path", "params", "reason"),
    [
        (
            CASES / "mi_vermagic_other.ko",
            [],
            "built for 5.10.0-1-amd64, this machine runs 6.1.0-56-amd64: boot with --release",
        ),
        (
            CASES / "crc_printk.ko",
            [],
            "_printk has version 0x92997ed8 here, and the module was built against",
        ),
        (CASES / "crc_layout.ko", [], "h_hello was built against other headers than 6.1.0-56-amd64's"),
        (CASES / "gplsym_proprietary.ko", [], "is for GPL modules only, and this one's licence is"),
        (BEHAVIOUR / "b_param.ko", ["level=99999999999"], "its range; it takes -2147483648 to 2147483647"),
        (CASES / "h_params.ko", ["p_byte=300"], "'300' is out of its range; it takes 0 to 255"),
        (CASES / "h_params.ko", ["p_ushort=x"], "'x' is no value for it; it takes 0 to 65535"),
        (CASES / "h_params.ko", ["p_invbool"], "needs a value: p_invbool=...; it takes y, n, 1 or 0"),
        (BEHAVIOUR / "b_param.ko", ["arr=1,2,3,4"], "it takes 3 values at most"),
        (BEHAVIOUR / "b_param.ko", ["ranged=99"], "ranged=99: '99' is out of its range"),
        (CASES / "h_hello.ko", ["--uid=5"], "uid 5 has no CAP_SYS_MODULE"),
    ],
)
def test_why_not(tool, path, params, reason):
    options = [word for word in params if word.startswith("--")]
    rest = [word for word in params if word not in options]
    lines = tool("insmod", "--explain", *options, path, *rest)
    assert lines[0].startswith("insmod: ERROR: could not insert module")
    assert lines[1].startswith("kmod-emu: ")
    assert reason in lines[1]


def test_a_module_of_another_kernel(tool, tmp_path):
    there, here = "6.12.107+deb13-amd64", "6.1.0-56-amd64"
    said = tool("insmod", "--explain", Path(__file__).parents[1] / "modules" / there / "hello.ko")[1]
    assert said.startswith(
        f"kmod-emu: built for {there}, this machine runs {here}: boot --release {there}, or let"
    )
    image = (CASES / "crc_layout.ko").read_bytes()
    other = tmp_path / "other.ko"
    other.write_bytes(image.replace(b"vermagic=6.1.0-56", b"vermagic=6.1.0-47"))
    said = tool("insmod", "--explain", other)[1]
    assert said.startswith(
        f"kmod-emu: h_hello was built for 6.1.0-47-amd64, and this machine runs {here}, whose"
    )


def test_nothing_is_explained_unasked(tool):
    assert len(tool("insmod", CASES / "crc_printk.ko")) == 1


def test_removing(tool):
    for name in ("b_provider", "b_consumer"):
        assert tool("insmod", BEHAVIOUR / f"{name}.ko") == []
    again = tool("insmod", "--explain", BEHAVIOUR / "b_consumer.ko")
    assert again[1] == "kmod-emu: a module b_consumer is loaded already: remove it first"
    assert tool("rmmod", "--explain", "b_provider", "nope") == [
        "rmmod: ERROR: Module b_provider is in use by: b_consumer",
        "kmod-emu: b_provider is used by b_consumer: remove that first",
        "rmmod: ERROR: Module nope is not currently loaded",
        "kmod-emu: no module of that name is loaded; loaded are: b_consumer, b_provider",
    ]
    assert tool("rmmod", "--explain", "-f", "b_provider")[2] == (
        "kmod-emu: b_provider is used by b_consumer: remove that first"
    )


@pytest.fixture
def directory(tmp_path, tool):
    """A module directory, which the machine is told of."""
    top = tmp_path / "root" / "lib/modules/6.1.0-56-amd64"
    top.mkdir(parents=True)
    for name in ("b_provider", "b_consumer", "b_param"):
        shutil.copy(BEHAVIOUR / f"{name}.ko", top)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        (top / name).touch()
    assert tool("depmod", "-b", tmp_path / "root", "6.1.0-56-amd64") == []
    assert tool("boot", "--modules", top) == []
    return top


def test_the_module_directory_knows_who_exports(tool, directory, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    file = shutil.copy(BEHAVIOUR / "b_consumer.ko", tmp_path / "elsewhere")
    assert tool("insmod", "--explain", file)[2] == (
        f"kmod-emu: {directory}/b_provider.ko exports b_shared, b_next: `modprobe b_provider` loads it"
    )
    assert tool("modprobe", "b_provider") == tool("insmod", "--explain", file) == []


def test_modprobe_explains_too(tool, directory):
    message, why = tool("modprobe", "--explain", "b_param", "ranged=99")
    assert message == "modprobe: ERROR: could not insert 'b_param': Numerical result out of range"
    assert why == "kmod-emu: ranged=99: '99' is out of its range"
    assert tool("modprobe", "--explain", "nosuch")[1] == (
        f"kmod-emu: {directory} has no module and no alias 'nosuch'; `depmod` brings its indexes up to date"
    )
