"""Whatever bytes come, the answer is an errno or an oops, and a refused module leaves nothing behind."""

from contextlib import suppress

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmod_emu import Kernel, KernelError, Killed, samples
from kmod_emu.errors import SleepsForever
from kmod_emu.fs.vfs import Vfs
from tests.module.mutate import EDGES, Fields, patched
from tests.module.replay import CASES
from tests.module.test_releases import MODULES

NAMES = ("h_hello", "h_params", "h_exp", "h_ret", "h_weak")
IMAGES = {name: (CASES / f"{name}.ko").read_bytes() for name in NAMES}


@pytest.fixture(scope="module")
def machine():
    kernel = Kernel()
    kernel.cpu.watchdog.limit = 1.0
    return kernel, kernel.snapshot()


def traces(kernel: Kernel, name: str) -> tuple:
    """What a module leaves behind: memory, lists, files."""
    return (
        kernel.held(),
        kernel.modules,
        kernel.cat("/proc/modules"),
        kernel[Vfs].walk(kernel.tasks.init_task, f"/sys/module/{name}").dentry is not None,
    )


def try_to_load(machine, image: bytes, name: str = "") -> None:
    kernel, clean = machine
    kernel.restore(clean)
    before = traces(kernel, name)
    try:
        kernel.insmod(image)
    except (Killed, SleepsForever):
        return  # a task that an oops killed, or whose init never comes back, holds on to what it had
    except KernelError:
        assert traces(kernel, name) == before
    with suppress(Killed):  # a relocation may have hit the base kernel
        assert kernel.call(kernel.symbol("strlen"), kernel.heap.kmalloc(8)) == 0, "the machine lives on"


MUTATION = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12
)


@given(name=st.sampled_from(NAMES), mutation=MUTATION)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_modules(machine, name, mutation):
    image = bytearray(IMAGES[name])
    for place, value in mutation:
        image[int(place * len(image))] = value
    try_to_load(machine, bytes(image), name)


FIELDS = {name: Fields(image) for name, image in IMAGES.items()}
CHANGE = st.tuples(
    st.integers(0, 5),
    st.integers(0, 1 << 20),
    st.sampled_from(EDGES) | st.integers(0, (1 << 64) - 1),
    st.sampled_from(("set", "add", "sub", "flip")),
)


@given(name=st.sampled_from(NAMES), changes=st.lists(CHANGE, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wrong_fields(machine, name, changes):
    """Headers, symbols, relocations, parameters, the struct module: the numbers that the kernel believes."""
    image = IMAGES[name]
    for group, place, value, change in changes:
        image = patched(image, FIELDS[name].pick(group, place), value, change)
    try_to_load(machine, image, name)


def test_a_warning_with_a_wild_file_name_is_an_oops(machine):
    """The name in a __bug_table is believed, when the WARN comes."""
    kernel, clean = machine
    kernel.restore(clean)
    image = samples.path("warn").read_bytes()
    with samples.path("warn").open("rb") as file:
        elf = ELFFile(file)
        section = elf.get_section_by_name(".rela__bug_table")
        offsets = [section["sh_offset"] + 24 * i + 16 for i in range(section.num_relocations())]
    for offset in offsets[1::2]:  # of each record, the second pointer is the file's
        image = patched(image, (offset, 8), 1 << 30, "set")
    with pytest.raises(Killed):
        kernel.insmod(image)
    assert any("unable to handle page fault" in line for line in kernel.dmesg())


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("h_params", (12496, 8), 1 << 31)],
    ids=["parameter without a readable name"],
)
def test_fields_that_once_ended_in_a_traceback(machine, name, place, value):
    try_to_load(machine, patched(IMAGES[name], place, value, "set"), name)


@given(name=st.sampled_from(NAMES), share=st.floats(0, 1))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_truncated_modules(machine, name, share):
    try_to_load(machine, IMAGES[name][: int(share * len(IMAGES[name]))])


@pytest.fixture(scope="module", params=["5.10", "6.12", "7.2"])
def other(request):
    kernel = Kernel(request.param)
    kernel.cpu.watchdog.limit = 1.0
    return kernel, kernel.snapshot()


def built(kernel: Kernel, name: str) -> bytes:
    """A module that kbuild made for the machine's release."""
    return (MODULES / kernel.profile.release / f"{name}.ko").read_bytes()


BUILT = st.sampled_from(("machine", "exporter", "params"))


@given(name=BUILT, mutation=MUTATION)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_modules_of_other_releases(other, name, mutation):
    image = bytearray(built(other[0], name))
    for place, value in mutation:
        image[int(place * len(image))] = value
    try_to_load(other, bytes(image), name)


@given(name=BUILT, changes=st.lists(CHANGE, min_size=1, max_size=4))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wrong_fields_of_other_releases(other, name, changes):
    image = built(other[0], name)
    fields = Fields(image)
    for group, place, value, change in changes:
        image = patched(image, fields.pick(group, place), value, change)
    try_to_load(other, image, name)


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
