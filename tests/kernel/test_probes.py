"""kprobes, kretprobes and ftrace, by the samples `kprobe` and `ftrace_hook`."""

import pytest

from kmod_emu import Kernel, samples


@pytest.fixture
def kernel():
    return Kernel()


def lines_of(kernel, name):
    kernel.insmod(samples.path(name))
    kernel.rmmod(name)
    return [line.removeprefix(f"{name}: ") for line in kernel.dmesg() if line.startswith(f"{name}: ")][2:]


def test_handlers_run_around_the_function(kernel):
    lines = lines_of(kernel, "kprobe")
    assert lines[:4] == [
        'kstrtoint("12")', "one instruction further: 1", "base 10, returns 0", "12 is 12 (err 0)",
    ]  # fmt: skip


def test_an_entry_handler_may_pass_a_call_over(kernel):
    lines = lines_of(kernel, "kprobe")
    start = lines.index('kstrtoint("17")')
    assert lines[start : start + 3] == ['kstrtoint("17")', "one instruction further: 1", "17 is 15 (err 0)"]


def test_unregistered_probes_are_silent(kernel):
    assert 'kstrtoint("13")' not in lines_of(kernel, "kprobe")


def test_the_trick_that_finds_what_is_not_exported(kernel):
    assert "found it: 1" in lines_of(kernel, "kprobe")


def test_what_register_kprobe_refuses(kernel):
    assert "refused: -2 -22" in lines_of(kernel, "kprobe")


def test_a_handler_changes_an_argument(kernel):
    assert lines_of(kernel, "kprobe")[-3:] == [
        "twice 4 is 8", "twice 4 is 200 with a probe (0)", "twice 4 is 8",
    ]  # fmt: skip


def test_nothing_stays_marked(kernel):
    lines_of(kernel, "kprobe")
    lines_of(kernel, "ftrace_hook")
    assert list(kernel.probes.hooks) == [kernel.symbol("arch_rethook_trampoline")]
    assert kernel.kretprobes.calls == []


def test_an_ftrace_callback_replaces_a_function(kernel):
    assert lines_of(kernel, "ftrace_hook") == [
        "42 is 42 (err 0)", 'param_set_int("42") = 0', "42 is 1042 (err 0)", "42 is 42 (err 0)",
    ]  # fmt: skip


def test_probes_survive_saving(kernel, tmp_path):
    kernel.insmod(samples.path("ftrace_hook"))
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    again.insmod(samples.path("params"), "count=5")
    assert 'ftrace_hook: param_set_int("5") = 0' in again.dmesg()
    assert any("count=1005" in line for line in again.dmesg())


def test_a_probe_on_freed_code_is_forgotten(kernel):
    place = kernel.insmod(samples.path("hello")).regions
    text = next(iter(place.values())).base + 3000  # behind its code
    kernel.probes.kinds["nobody"] = None
    kernel.probes.add(text, "nobody", 0)
    kernel.rmmod("hello")
    assert text not in kernel.probes.original
