"""What the code asks kernels for by name is there, or something else is: names.tsv is of four kernels.

Tests boot 6.1, and 6.12 where it can be had: a name that only these have would go unnoticed.
After a change: `python -m scripts.record_names VMLINUZ...`, and in the last column what serves instead.
"""

from kmod_emu.vmlinux.frontier.table import declared
from scripts.record_names import asked, read_table, rows

TABLE = read_table()
RELEASES = {"5.10", "6.1", "6.12", "7.2"}


def test_every_name_is_recorded_and_none_is_left_over():
    assert asked() | rows() == TABLE.keys()


def test_where_a_name_is_missing_it_is_known_what_serves():
    for name in asked():
        releases, instead = TABLE[name]
        missing = RELEASES - releases
        assert instead or not missing, f"{name} is not in {missing}"
        if instead in TABLE:
            assert missing <= TABLE[instead][0], name


def test_a_row_of_the_frontier_serves_some_kernel():
    assert [name for name in declared() if not TABLE[name][0] and not TABLE[name][1]] == []
