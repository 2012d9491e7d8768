"""BTF, and everything that is asked of it."""

from kmod_emu.abi.btf import BadBtf, Btf
from tests.abi.test_btf import kernel_types

EXPECTED = (BadBtf,)


def seeds():
    return [kernel_types().bytes()]


def start():
    def run(data):
        btf = Btf(data)
        for name in list(btf.structs)[:50]:
            btf.layout(name)
            btf.member_types(name)
        for name in list(btf.functions)[:50]:
            btf.prototype(name)
        for number in range(min(btf.count, 50)):
            btf.size(number)
            btf.declare(number, "x")
        btf.percpu_size()

    return run
