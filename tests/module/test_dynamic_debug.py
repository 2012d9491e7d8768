"""dyndbg: pr_debug() turned on and off (lib/dynamic_debug.c), with the sample prdebug."""

import os
import re

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.uapi import errno

CONTROL = "/proc/dynamic_debug/control"
DEBUGGING, UNLOADING = "prdebug: debugging", "prdebug: unloading"


def loaded(params: str = "") -> Kernel:
    kernel = Kernel()
    kernel.insmod(samples.path("prdebug"), params)
    return kernel


def control(kernel: Kernel, query: bytes, path: str = CONTROL) -> None:
    with kernel.process() as process:
        assert process.write(process.open(path, os.O_WRONLY), query) == len(query)


def poke(kernel: Kernel) -> list[str]:
    """What a pr_debug() prints now."""
    before = len(kernel.dmesg())
    with kernel.process() as process:
        process.write(process.open("/sys/module/prdebug/parameters/poke", os.O_WRONLY), b"x")
    return kernel.dmesg()[before:]


def flags(kernel: Kernel) -> list[str]:
    """Of poke_set, prdebug_init and prdebug_exit, sorted by name."""
    lines = kernel.cat(CONTROL).decode().splitlines()[1:]
    return [line.split(" =")[1].split()[0] for line in sorted(lines, key=lambda line: line.split("]")[1])]


def test_the_list():
    kernel = loaded()
    assert kernel.cat(CONTROL).decode() == (
        "# filename:lineno [module]function flags format\n"
        'samples/prdebug/prdebug.c:10 [prdebug]poke_set =_ "prdebug: poked with "%c"\\n"\n'
        'samples/prdebug/prdebug.c:22 [prdebug]prdebug_init =_ "prdebug: debugging\\n"\n'
        'samples/prdebug/prdebug.c:29 [prdebug]prdebug_exit =_ "prdebug: unloading\\n"\n'
    )
    kernel.rmmod("prdebug")
    assert kernel.cat(CONTROL).count(b"\n") == 1


def test_silent_until_asked():
    kernel = loaded()
    assert poke(kernel) == []
    control(kernel, b"module prdebug +p\n")
    assert poke(kernel) == ['prdebug: poked with "x"']
    assert kernel.printk.readable()[-1].level == 7
    control(kernel, b"module prdebug -p", "/sys/kernel/debug/dynamic_debug/control")
    assert poke(kernel) == []


@pytest.mark.parametrize("params", ["dyndbg", "dyndbg=+p", "prdebug.dyndbg=+p", 'dyndbg="func *_init =p"'])
def test_as_a_parameter(params):
    """Such a parameter is set before init runs."""
    kernel = loaded(params)
    assert kernel.dmesg()[-2:] == [DEBUGGING, "prdebug: loaded"]


@pytest.mark.parametrize("params", ["dyndbg=-p", "other.dyndbg=+p", 'dyndbg="func nobody +p"'])
def test_as_a_parameter_for_something_else(params):
    assert DEBUGGING not in loaded(params).dmesg()


def test_prefixes():
    kernel = loaded()
    control(kernel, b"func poke_set =pmfl")
    assert poke(kernel) == ['prdebug:poke_set:10: prdebug: poked with "x"']
    control(kernel, b"func poke_set =pt")
    (line,) = poke(kernel)
    assert re.fullmatch(r'\[\d+\] prdebug: poked with "x"', line)


@pytest.mark.parametrize(
    ("query", "changed"),
    [
        (b"+p", "ppp"),
        (b"file prdebug.c +p", "ppp"),
        (b"file samples/*/prdebug.c +p", "ppp"),
        (b"file prdebug.c:10 +p", "p__"),
        (b"file prdebug.c:prdebug_exit +p", "_p_"),
        (b"line 20- +p", "_pp"),
        (b"line -20 +p", "p__"),
        (b"line 20-28 +p", "__p"),
        (b'format "prdebug: un" +p', "_p_"),
        (b"format ^debugging +p", "___"),
        (b"format ^prdebug: module prdebug func p* +p", "ppp"),
        (b"module hello +p", "___"),
        (b"func poke_set +p; func prdebug_init +p # both", "p_p"),
        (b"# nothing +p", "___"),
    ],
)
def test_queries(query, changed):
    kernel = loaded()
    control(kernel, query)
    assert "".join(flags(kernel)) == changed


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        (b"module prdebug", ["bad flag-op p, at start of prdebug", "flags parse failed"]),
        (b"module prdebug +x", ["unknown flag 'x'", "flags parse failed"]),
        (b"module +p", ["expecting pairs of match-spec <value>", "query parse failed"]),
        (b"colour red +p", ['unknown keyword "colour"', "query parse failed"]),
        (b"line x +p", ["bad line-number: x", "query parse failed"]),
        (b"line 9-3 +p", ["last-line:3 < 1st-line:9", "query parse failed"]),
        (b"line 1 line 2 +p", ["match-spec: line used 2x", "query parse failed"]),
        (b"func a func b +p", ["match-spec:func val:a overridden by b", "query parse failed"]),
        (b"format 'x +p", ["unclosed quote: x +p", "tokenize failed"]),
        (b"a b c d e f g h i j", ["too many words, legal max <=9", "tokenize failed"]),
    ],
)
def test_bad_queries(query, lines):
    kernel = loaded()
    with pytest.raises(KernelError) as error:
        control(kernel, query)
    assert error.value.errno == errno.EINVAL
    assert kernel.dmesg()[-len(lines) :] == [f"dyndbg: {line}" for line in lines]


def test_a_bad_query_is_no_reason_not_to_load():
    kernel = loaded("dyndbg=x foo.bar=1")
    assert kernel.dmesg()[2:] == [
        "dyndbg: bad flag-op x, at start of x",
        "dyndbg: flags parse failed",
        "prdebug: unknown parameter 'foo' ignored",
        "prdebug: loaded",
    ]


def test_too_long():
    with pytest.raises(KernelError) as error:
        control(Kernel(), b"x" * 4096)
    assert error.value.errno == errno.E2BIG


def test_part_of_a_saved_machine(tmp_path):
    kernel = loaded("dyndbg")
    kernel.save(tmp_path / "m")
    again = Kernel.load(tmp_path / "m")
    assert poke(again) == ['prdebug: poked with "x"']
    control(again, b"-p")
    assert poke(again) == []
