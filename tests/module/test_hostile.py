"""Whatever bytes come, the answer is an errno or an oops, and a refused module leaves nothing behind."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmod_emu import Kernel, KernelError, Killed
from tests.module.replay import CASES

NAMES = ("h_hello", "h_params", "h_exp", "h_ret", "h_weak")
IMAGES = {name: (CASES / f"{name}.ko").read_bytes() for name in NAMES}


@pytest.fixture(scope="module")
def machine():
    kernel = Kernel()
    kernel.cpu.watchdog.limit = 1.0
    return kernel, kernel.snapshot()


def memory_in_use(kernel: Kernel) -> tuple[int, ...]:
    return (
        kernel.vmalloc.allocated,
        kernel.module_area.allocated,
        len(kernel.heap.live),
        len(kernel.tasks.by_pid),
    )


def try_to_load(machine, image: bytes) -> None:
    kernel, clean = machine
    kernel.restore(clean)
    before = memory_in_use(kernel)
    try:
        kernel.insmod(image)
    except Killed:
        return  # a task that an oops killed holds on to what it had
    except KernelError:
        assert kernel.modules == []
        assert memory_in_use(kernel) == before
    assert kernel.call(kernel.symbol("strlen"), kernel.heap.kmalloc(8)) == 0, "the machine lives on"


MUTATION = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12
)


@given(name=st.sampled_from(NAMES), mutation=MUTATION)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_modules(machine, name, mutation):
    image = bytearray(IMAGES[name])
    for place, value in mutation:
        image[int(place * len(image))] = value
    try_to_load(machine, bytes(image))


@given(name=st.sampled_from(NAMES), share=st.floats(0, 1))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_truncated_modules(machine, name, share):
    try_to_load(machine, IMAGES[name][: int(share * len(IMAGES[name]))])


@given(data=st.binary(max_size=300))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes(machine, data):
    try_to_load(machine, b"\x7fELF" + data)


def test_a_symbol_table_without_symbols_is_no_reason_to_stumble(machine):
    """A symbol table of size 0 once made the loader's own tables disagree in length."""
    image = bytearray(IMAGES["h_hello"])
    headers = int.from_bytes(image[40:48], "little")
    for index in range(int.from_bytes(image[60:62], "little")):
        header = headers + 64 * index
        if int.from_bytes(image[header + 4 : header + 8], "little") == 2:
            image[header + 32 : header + 40] = bytes(8)
    try_to_load(machine, bytes(image))
