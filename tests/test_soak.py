"""A short soak: what `make soak` does for long."""

import pytest

from benchmarks.soak import calls, cycles, growth, soak
from kmod_emu import Kernel


@pytest.mark.parametrize(("make", "rounds"), [(cycles, 60), (calls, 120)])
def test_nothing_grows(make, rounds):
    kernel = Kernel()
    looks = list(soak(kernel, make(kernel), rounds, looks=4))
    assert growth(looks[1:]) == []
