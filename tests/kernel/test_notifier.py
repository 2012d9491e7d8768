"""Notifier chains of guest callbacks."""

import errno
import json

import pytest

from kmod_emu import KernelError
from kmod_emu.kernel.notifier import NOTIFY_STOP_MASK, notifier_to_errno

NOTIFY_OK = 1
NOTIFY_BAD = NOTIFY_STOP_MASK | 2


class Chain:
    """The chain "test"; its callbacks write down who was called with what."""

    def __init__(self, kernel, guest):
        self.kernel, self.guest = kernel, guest
        self.calls = []

        @kernel.export("int note(void *block, unsigned long event, void *data)")
        def note(kernel, block, event, data):
            self.calls.append((self.names[block], event, data))
            return self.results[block]

        self.names, self.results = {}, {}

    def block(self, name, priority=0, result=NOTIFY_OK):
        """Address of a struct notifier_block: callback, next, priority."""
        address = self.guest.data(b"", 24)
        self.kernel.memory.write_u64(address, self.guest.code("jmp {note}"))
        self.kernel.memory.write_u32(address + 16, priority)
        self.names[address], self.results[address] = name, result
        return address

    def add(self, *args, **options):
        block = self.block(*args, **options)
        self.kernel.notifiers.register("test", block)
        return block

    def call(self, event=1, data=0):
        return self.kernel.run(self.kernel.notifiers.call("test", event, data))

    def robust(self, up, down, data=0):
        return self.kernel.run(self.kernel.notifiers.call_robust("test", up, down, data))

    @property
    def order(self):
        """Names called, with the event where it is not 1."""
        return [name if event == 1 else f"{name}{event}" for name, event, _ in self.calls]


@pytest.fixture
def chain(kernel, guest):
    return Chain(kernel, guest)


def test_higher_priority_first_then_in_order_of_registration(chain):
    for name, priority in [("a", 0), ("b", 5), ("c", 0), ("d", -3), ("e", 5), ("f", 0x7FFF_FFFF)]:
        chain.add(name, priority)
    chain.call()
    assert "".join(chain.order) == "fbeacd"


def test_callback_gets_block_event_and_data(chain):
    chain.add("a")
    assert chain.call(event=7, data=0xFFFF_8880_0000_1234) == (NOTIFY_OK, 1)
    assert chain.calls == [("a", 7, 0xFFFF_8880_0000_1234)]


def test_empty_chain(chain):
    assert chain.call() == (0, 0)
    assert chain.robust(1, 2) == 0


def test_stop_ends_the_chain(chain):
    chain.add("a")
    chain.add("b", result=NOTIFY_BAD)
    chain.add("c")
    assert chain.call() == (NOTIFY_BAD, 2)
    assert chain.order == ["a", "b"]


def test_an_error_without_stop_goes_on(chain):
    chain.add("a", result=5)
    chain.add("b")
    assert chain.call() == (NOTIFY_OK, 2)


def test_robust_call_takes_back_in_the_same_order_without_the_one_that_refused(chain):
    for name in "abd":
        chain.add(name)
    chain.add("c", priority=-1, result=NOTIFY_STOP_MASK | (1 + errno.EBUSY))
    chain.add("e", priority=-2)
    assert chain.robust(1, 2) == -errno.EBUSY
    assert chain.order == ["a", "b", "d", "c", "a2", "b2", "d2"]


def test_robust_call_refused_by_the_first(chain):
    chain.add("a", result=NOTIFY_BAD)
    assert chain.robust(1, 2) == -1
    assert chain.order == ["a"]


def test_robust_call_that_all_accept(chain):
    chain.add("a")
    assert chain.robust(1, 2) == 0
    assert chain.order == ["a"]


def test_register_twice(chain, kernel):
    block = chain.add("a")
    with pytest.raises(KernelError) as caught:
        kernel.notifiers.register("test", block)
    assert caught.value.errno == errno.EEXIST


def test_unregister(chain, kernel):
    block = chain.add("a")
    kernel.notifiers.unregister("test", block)
    assert chain.call() == (0, 0)
    with pytest.raises(KernelError) as caught:
        kernel.notifiers.unregister("test", block)
    assert caught.value.errno == errno.ENOENT


def test_callback_may_unregister_itself(chain, kernel):
    @kernel.export("int leave(void *block, unsigned long event, void *data)")
    def leave(kernel, block, event, data):
        kernel.notifiers.unregister("test", block)
        return NOTIFY_OK

    block = chain.block("a")
    kernel.memory.write_u64(block, kernel.symbol("leave"))
    kernel.notifiers.register("test", block)
    chain.add("b")
    chain.call()
    chain.call()
    assert chain.order == ["b", "b"]


def test_module_notifiers_by_their_exports(guest, chain):
    block = chain.block("a")
    assert guest.export("register_module_notifier", block) == 0
    eexist, enoent = (-e & (1 << 64) - 1 for e in (errno.EEXIST, errno.ENOENT))
    assert guest.export("register_module_notifier", block) == eexist
    assert guest.export("unregister_module_notifier", block) == 0
    assert guest.export("unregister_module_notifier", block) == enoent


@pytest.mark.parametrize(
    ("result", "expected"), [(0, 0), (1, 0), (0x8000, 0), (0x8001, 0), (0x8002, -1), (13, -12)]
)
def test_notifier_to_errno(result, expected):
    assert notifier_to_errno(result) == expected


def test_state_survives_json(chain, kernel):
    block = chain.add("a")
    state = json.loads(json.dumps(kernel.notifiers.save()))
    kernel.notifiers.unregister("test", block)
    kernel.notifiers.load(state)
    chain.call()
    assert chain.order == ["a"]
