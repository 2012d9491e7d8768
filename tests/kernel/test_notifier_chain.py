"""Chains of modules' own, and the kernel's (kernel/notifier.c)."""

import errno

import pytest

DONE, OK, BAD = 0, 1, 0x8002
MASK = 0xFFFF_FFFF


@pytest.fixture
def chain(guest, kernel):
    """A place for what is called, and a function that makes a block which leaves its number there."""
    trace = guest.near_data(bytes(16))

    def block(number, priority=0, answer=OK):
        code = guest.code(
            f"mov rax, {trace:#x}; mov ecx, [rax]; inc dword ptr [rax];"
            f" mov byte ptr [rax + rcx + 4], {number}; mov eax, {answer}; ret"
        )
        return guest.data(code.to_bytes(8, "little") + bytes(8) + (priority & MASK).to_bytes(8, "little"))

    def called():
        count = kernel.memory.read_u32(trace)
        kernel.memory.write_u32(trace, 0)
        return list(kernel.memory.read(trace + 4, count))

    return block, called


@pytest.mark.parametrize("kind", ["raw", "atomic", "blocking", "srcu"])
def test_blocks_are_called_by_priority_until_one_stops(kernel, guest, chain, kind):
    block, called = chain
    head = guest.data(bytes(kernel.profile.struct(f"{kind}_notifier_head").size))
    blocks = [
        block(1),
        block(2, priority=5),
        block(3),
        block(4, priority=-1, answer=BAD),
        block(5, priority=-2),
    ]
    for each in blocks:
        assert guest.export(f"{kind}_notifier_chain_register", head, each) == 0
    assert guest.export(f"{kind}_notifier_call_chain", head, 7, 0) == BAD
    assert called() == [2, 1, 3, 4]
    assert guest.export(f"{kind}_notifier_chain_unregister", head, blocks[3]) == 0
    assert guest.export(f"{kind}_notifier_chain_unregister", head, blocks[3]) & MASK == -errno.ENOENT & MASK
    assert guest.export(f"{kind}_notifier_call_chain", head, 7, 0) == OK
    assert called() == [2, 1, 3, 5]


def test_registering_twice_is_warned_of(kernel, guest, chain):
    block, _ = chain
    head, first = guest.data(bytes(8)), block(1)
    guest.export("raw_notifier_chain_register", head, first)
    assert guest.export("raw_notifier_chain_register", head, first) & MASK == -errno.EEXIST & MASK
    assert any("already registered" in line for line in kernel.dmesg())
    assert any(
        "kernel/notifier.c:28 raw_notifier_chain_register+0x3b/0x60" in line for line in kernel.dmesg()
    )


def test_a_refusal_is_told_to_those_before(guest, chain):
    block, called = chain
    head = guest.data(bytes(8))
    for each in (block(1), block(2), block(3, answer=BAD), block(4)):
        guest.export("raw_notifier_chain_register", head, each)
    assert guest.export("raw_notifier_call_chain_robust", head, 1, 2, 0) == BAD
    assert called() == [1, 2, 3, 1, 2]


@pytest.mark.parametrize("name", ["reboot", "die", "keyboard"])
def test_chains_of_the_kernel(kernel, guest, chain, name):
    block, called = chain
    one = block(1)
    assert guest.export(f"register_{name}_notifier", one) == 0
    assert kernel.notify(name, 1) == OK
    assert called() == [1]
    assert guest.export(f"unregister_{name}_notifier", one) == 0
    assert kernel.notify(name, 1) == DONE


def test_the_panic_chain_is_data(kernel, guest, chain):
    block, called = chain
    guest.export("atomic_notifier_chain_register", kernel.symbol("panic_notifier_list"), block(1))
    kernel.notify("panic", 0)
    assert called() == [1]
    with pytest.raises(LookupError, match="no chain x"):
        kernel.notify("x", 0)
