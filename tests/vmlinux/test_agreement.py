"""Modules of the distribution do on its kernel what they did on the real machine."""

import pytest

from kmod_emu import samples
from kmod_emu.sweep.measures import aspects
from kmod_emu.sweep.one import Machine
from kmod_emu.sweep.tree import Target, choose, read_tree
from tests.conftest import recording

CASES = {case["module"]: case for case in recording("vmlinux-6.1.json")}


@pytest.fixture(scope="module")
def machine(booted):
    kernel, moment = booted
    kernel.restore(moment)
    return Machine(kernel, "vmlinuz")


@pytest.fixture(scope="module")
def targets(vmlinuz):
    return {
        target.name: target
        for target in choose(read_tree(f"/lib/modules/{vmlinuz.partition('-')[2]}"), [*CASES])
    }


@pytest.mark.parametrize("name", CASES)
def test_as_recorded(machine, targets, name):
    """Among them are one that waits for jiffies, one that needs an AMD processor, and one with timers."""
    row = machine.sweep(targets[name])
    machine.kernel.findings.reports.clear()
    differ = {
        each.what or each.measure: (each.here, each.there)
        for each in aspects(row, CASES[name])
        if not each.agrees
    }
    assert differ == {}


@pytest.mark.parametrize("bad", ["oops_null", "selfdeadlock", "noexit"])
def test_what_dies_takes_nobody_along(machine, bad):
    """Who loads modules was there before all of them, so it has to be there again after one it died of."""

    def tried(name):
        file = samples.path(name)
        row = machine.sweep(Target(file.name, str(file), []))
        machine.kernel.findings.reports.clear()
        return {key: value for key, value in row.items() if key not in ("total_s", "link_s", "steps")}

    before = tried("hello")
    tried(bad)
    assert tried("hello") == before
