"""The watchdog by itself; test_cpu.py has it stop a processor."""

import threading
import time

from kmod_emu.machine.watchdog import Watchdog


def spin(seconds):
    """Use processor time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_expires_after_its_limit_of_processor_time():
    expired = threading.Event()
    watchdog = Watchdog(expired.set)
    watchdog.limit = 0.1
    watchdog.start()
    spin(0.15)
    assert expired.wait(5)
    watchdog.end()


def test_sleeping_costs_nothing():
    expired = threading.Event()
    watchdog = Watchdog(expired.set)
    watchdog.limit = 0.3
    watchdog.start()
    assert not expired.wait(0.6)
    watchdog.end()


def test_a_run_that_ended_is_left_alone():
    expired = threading.Event()
    watchdog = Watchdog(expired.set)
    watchdog.limit = 0.05
    watchdog.start()
    watchdog.end()
    spin(0.1)
    assert not expired.wait(0.3)


def test_without_a_limit_it_never_expires():
    expired = threading.Event()
    watchdog = Watchdog(expired.set)
    watchdog.limit = None
    watchdog.start()
    spin(0.1)
    assert not expired.wait(0.3)
    watchdog.end()
