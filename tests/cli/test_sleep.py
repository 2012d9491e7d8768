"""Time on the kept machine passes when somebody says so.

Threads and timers outlive the command that started them.
"""

from kmod_emu import samples


def test_a_thread_works_on_between_commands(cli):
    cli("insmod", samples.path("kthread"))
    cli("insmod", samples.path("timer"))
    assert cli("sleep", "1.5").exit_code == 0
    assert cli("sleep", "1").exit_code == 0
    assert (cli("rmmod", "kthread").exit_code, cli("rmmod", "timer").exit_code) == (0, 0)
    log = cli("dmesg", "-t").output.splitlines()
    assert [line for line in log if "tick " in line] == [f"kthread: tick {n}" for n in (1, 2, 3)]
    assert "kthread: ticker returned 3" in log
    assert sum("blink" in line for line in log) == 3


def test_a_time_is_a_number_of_seconds(cli):
    assert cli("sleep", "-1").exit_code == cli("sleep", "soon").exit_code == 2


def test_run_lets_time_pass_before_rmmod(cli):
    assert cli("run", "-q", "--for", "2.5", "kthread").output.count("tick ") == 3
