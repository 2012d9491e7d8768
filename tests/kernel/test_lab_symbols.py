"""How much of what 376 public teaching modules import is there.

Lab_symbols.tsv ranks it, tier 1 matters most.
"""

from pathlib import Path

import pytest

from kmod_emu import Kernel
from kmod_emu.kmod.coverage import MISSING, OTHER, status

ROWS = [line.split("\t") for line in Path(__file__).with_name("lab_symbols.tsv").read_text().splitlines()]


@pytest.mark.parametrize(("tiers", "at_least"), [({"1"}, 182), ({"1", "2"}, 393)])
def test_what_courses_use_is_there(tiers, at_least):
    """Raise the numbers when more is there."""
    kernel = Kernel()
    states = {name: status(kernel, name) for tier, name in ROWS if tier in tiers}
    missing = sorted(name for name, state in states.items() if state == MISSING)
    assert sum(state not in (MISSING, OTHER) for state in states.values()) >= at_least, missing
