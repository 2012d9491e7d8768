"""What is kept of a machine does not change when the machine goes on."""

import json

from kmod_emu import Kernel, samples
from kmod_emu.kernel.plain import Kept

SAMPLES = ("tracepoint", "ftrace_hook", "kprobe", "skeletons")


def text(tables: dict) -> dict[str, str]:
    return {name: json.dumps(table, default=ordered) for name, table in tables.items()}


def ordered(value: Kept | set[int]) -> list:
    return sorted(value.pairs() if isinstance(value, Kept) else value)


def test_kept_tables_stay_as_they_are():
    """Trace events of a sweep's first module were on the list of all that came later."""
    kernel = Kernel()
    kept = [kernel.save_tables()]
    before = [text(kept[0])]
    for name in SAMPLES:
        kernel.insmod(samples.path(name))
        kept.append(kernel.save_tables())
        before.append(text(kept[-1]))
    for name in reversed(SAMPLES):
        kernel.rmmod(name)
    assert [text(tables) for tables in kept] == before
