"""Tables that keep moments are like copies, along any path through the tree of these."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.kernel.plain import Table, to_json

_STEPS = st.lists(st.tuples(st.sampled_from(["set", "pop", "del", "keep", "back"]), st.integers(0, 5)))


@given(_STEPS)
def test_a_table_is_what_it_was(steps):
    table, model = Table(), {}
    kept = []
    for number, (what, key) in enumerate(steps):
        if what == "set":
            table[key] = model[key] = number
        elif what == "pop":
            assert table.pop(key, None) == model.pop(key, None)
        elif what == "del" and key in model:
            del table[key], model[key]
        elif what == "keep":
            kept.append((table.keep(), dict(model)))
        elif what == "back" and kept:
            moment, copy = kept[key % len(kept)]
            table.put_back(moment)
            model = dict(copy)
        assert table == model
    for moment, copy in kept:
        assert dict(json.loads(json.dumps(moment, default=to_json))) == copy


def test_a_table_takes_what_another_kept():
    one, other = Table(), Table()
    one[1], other[2] = 2, 3
    kept = one.keep()
    one[1] = 4
    other.keep()
    other.put_back(kept)
    assert other == {1: 2}
    other[5] = 6
    again = other.keep()
    del other[5]
    other.put_back(again)
    assert other == {1: 2, 5: 6}
