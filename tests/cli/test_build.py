"""kmod-emu new and build, as a user runs them."""

from kmod_emu.kbuild.templates import KINDS


def test_command_line(cli):
    assert cli("new", "2nd").exit_code == 2
    assert cli("new", "first", "-t", "nonsense").exit_code == 2
    result = cli("new", "first", "-t", "misc")
    assert result.stdout.splitlines()[:2] == ["first/first.c", "first/Makefile"]
    again = cli("new", "first")
    assert (again.exit_code, again.stderr) == (1, "kmod-emu: first: there is something in it already\n")
    missing = cli("build", "first", "--release", "1.2.3")
    assert missing.exit_code == 1
    assert "there are no kernel headers for 1.2.3 here; " in missing.stderr
    helps = cli("new", "--help").stdout
    assert all(f"{kind}: " in helps for kind in KINDS)
