"""Keyboard notifiers are told of keys (drivers/tty/vt/keyboard.c)."""

import os
import struct

import pytest

from kmod_emu import Kernel, samples

A, ONE, C, SHIFT, CTRL, ALT, CAPS, F1 = 30, 2, 46, 42, 29, 56, 58, 59
KEYCODE, UNBOUND, KEYSYM, POST = 1, 2, 4, 5
STOP = 0x8001


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def told(kernel):
    """What a notifier in Python is told: event, down, shift, lights, value."""
    seen = []
    kernel.answer = {}

    @kernel.export("int watch_keys(struct notifier_block *nb, unsigned long event, void *param)")
    def watch_keys(kernel, nb, event, param):
        console, *fields = struct.unpack("<QiiiI", kernel.memory.read(param, 24))
        assert kernel.memory.read(console, 8) == bytes(8)
        seen.append((event, *fields))
        return kernel.answer.get(event, 1)

    block = kernel.heap.kmalloc(24)
    kernel.memory.write_u64(block, kernel.symbol("watch_keys"))
    assert kernel.call(kernel.symbol("register_keyboard_notifier"), block) == 0
    return seen


def test_a_key_is_told_three_times_when_it_goes_down_and_when_it_goes_up(kernel, told):
    kernel.press_key(A)
    down = [(KEYCODE, 1, 0, 0, A), (KEYSYM, 1, 0, 0, 0xFB61), (POST, 1, 0, 0, 0xFB61)]
    assert told == down + [(event, 0, *rest) for event, _, *rest in down]


def symbols(told):
    found = [value for event, down, _, _, value in told if event == KEYSYM and down]
    told.clear()
    return found


def test_modifiers_and_locks(kernel, told):
    kernel.press_key(SHIFT, hold=True)
    kernel.press_key(A)
    kernel.press_key(ONE)
    assert symbols(told) == [0xF700, 0xFB41, 0xF021]
    kernel.release_key(SHIFT)
    kernel.press_key(CTRL, hold=True)
    kernel.press_key(C)
    kernel.release_key(CTRL)
    kernel.press_key(ALT, hold=True)
    kernel.press_key(A)
    kernel.release_key(ALT)
    assert symbols(told) == [0xF702, 0xF003, 0xF703, 0xF861]
    kernel.press_key(CAPS)
    kernel.press_key(A)
    kernel.press_key(ONE)
    assert told[-1][3] == 4  # the light is on
    assert symbols(told) == [0xF207, 0xFB41, 0xF031]
    kernel.press_key(CAPS)
    kernel.press_key(F1)
    assert symbols(told) == [0xF207, 0xF100]
    kernel.press_key(200)
    assert symbols(told) == [0xF200]


def test_keys_of_a_modules_device_are_told(kernel, told):
    kernel.insmod(samples.path("inputdev"))
    with kernel.process() as process:
        process.write(process.open("/sys/class/input/input0/key", os.O_WRONLY), b"30 1")
    assert symbols(told) == [0xFB61]


def test_a_notifier_may_stop_a_key(kernel, told):
    kernel.answer[KEYCODE] = STOP
    kernel.press_key(SHIFT, hold=True)
    assert told == [(KEYCODE, 1, 0, 0, SHIFT), (UNBOUND, 1, 0, 0, SHIFT)]
    kernel.answer.clear()
    told.clear()
    kernel.answer[KEYSYM] = STOP
    kernel.press_key(A)
    assert [event for event, *_ in told] == [KEYCODE, KEYSYM] * 2
    assert symbols(told) == [0xFB61]  # the Shift key had no effect


def test_modifiers_together_have_no_map(kernel, told):
    kernel.press_key(CTRL, hold=True)
    kernel.press_key(SHIFT, hold=True)
    told.clear()
    kernel.press_key(A)
    assert [(event, value) for event, down, _, _, value in told if down] == [(KEYCODE, A), (UNBOUND, A)]
    snapshot = kernel.snapshot()
    kernel.release_key(CTRL)
    kernel.restore(snapshot)
    told.clear()
    kernel.press_key(A)
    assert told[0][2] == 5
