"""modinfo of modutils."""

from kmod_emu import samples
from tests.classic.test_tools import classic  # noqa: F401

HELLO = samples.classic("hello")


def test_all(classic):  # noqa: F811
    assert classic("modinfo", HELLO).stdout == (
        f"filename:    {HELLO}\n"
        'description: "Say hello and goodbye"\nauthor:      "kmod-emu"\nlicense:     "GPL"\n'
    )


def test_parameters(classic):  # noqa: F811
    assert classic("modinfo", "params").stdout.splitlines()[1:] == [
        "description: <none>",
        "author:      <none>",
        'license:     "GPL"',
        'parm:        irq int array (min = 1, max = 4), description "One to four interrupt lines"',
        "parm:        byte byte",
        "parm:        half short",
        "parm:        wide long",
        "parm:        name string",
        "parm:        label char",
    ]


def test_formats(classic):  # noqa: F811
    assert classic("modinfo", "-a", HELLO).stdout == '"kmod-emu"\n'
    assert classic("modinfo", "-f", r"%n: %{kernel_version} %%\t%{nope}\n", HELLO).stdout == (
        f"{HELLO}: 2.4.32 %\t<none>\n"
    )
    assert classic("modinfo", "-f", "%x", HELLO).stderr == "modinfo: x: unknown replacement\n"


def test_what_is_no_module(classic, tmp_path):  # noqa: F811
    assert classic("modinfo", "nope").stderr == "modinfo: nope: no module by that name found\n"
    assert classic("modinfo", "./nope.o").stderr == "modinfo: ./nope.o: No such file or directory\n"
    (tmp_path / "x.o").write_bytes(b"x" * 64)
    assert classic("modinfo", "./x.o").stderr == "./x.o is not an ELF file\n"
