"""Each benchmark runs; what it measures is nobody's pass or fail."""

from importlib import import_module

import pytest
from click.testing import CliRunner

from benchmarks import qemu
from benchmarks.__main__ import NAMES, main
from benchmarks.sweeping import link
from benchmarks.timing import QUICK, Effort, Row, best, table
from kmod_emu import Kernel, samples


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("starts", "qemu")])  # those boot
def test_benchmark_measures_something(name):
    rows = import_module(f"benchmarks.{name}").measure(Effort(rounds=1, scale=0.0001))
    assert rows
    assert all(row.ours > 0 and (row.reference is None or row.reference > 0) for row in rows)


def test_comparison_with_qemu_is_left_out_where_there_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert CliRunner().invoke(main, ["--quick", "qemu"]).exit_code == 0
    assert qemu.measure(QUICK) == []


def test_command_line():
    result = CliRunner().invoke(main, ["--quick", "guest_loops"])
    assert result.exit_code == 0
    assert "guest loop: push and pop, M/s" in result.output
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2


def test_sides_take_turns_and_the_best_counts():
    order = []
    times = {"a": iter([3.0, 1.0]), "b": iter([5.0, 6.0])}

    def side(name):
        order.append(name)
        return next(times[name])

    assert best(Effort(2, 1), lambda: side("a"), lambda: side("b")) == [1.0, 5.0]
    assert order == ["a", "b", "a", "b"]
    assert QUICK.rounds == 1


def test_table_shows_what_is_missed_and_is_no_error():
    rows = [
        Row("fast", "k/s", 90, 100, 0.6),
        Row("slow", "k/s", 10, 100, 0.6),
        Row("big", "MB", 500, None, 80, True),
        Row("gone", "s", 0, None, 2, True, "it was refused"),
    ]
    fast, slow, big, gone = table(rows).splitlines()[1:]
    assert fast.split() == ["fast,", "k/s", "90", "100", "0.90", ">=", "0.6"]
    assert slow.endswith("missed")
    assert big.split() == ["big,", "MB", "500", "<=", "80", "missed"]
    assert gone.split() == ["gone,", "s", "not", "measured:", "it", "was", "refused"]


def test_a_refusal_is_no_link_time(tmp_path):
    """It was taken for a fast one."""
    file = tmp_path / "hello.ko"
    file.write_bytes(samples.path("hello").read_bytes().replace(b" SMP preempt ", b" UP_ preempt "))
    assert link(Kernel(), samples.path("hello"), "hello").reached
    refused = link(Kernel(), file, "hello")
    assert (refused.reached, refused.failure.partition(":")[0]) == (False, "Exec format error")
