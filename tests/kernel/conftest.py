"""A booted kernel for each test (two milliseconds), and guest code to call it with."""

import pytest

from kmod_emu import Kernel
from kmod_emu.kernel.symbols import Origin
from kmod_emu.machine.asm import assemble
from kmod_emu.machine.memory import EXEC, READ, WRITE

PAGE = 4096
USER = 0x40_0000


class Names(dict):
    """Addresses for `{name}` in assembly: of labels given, else of the base kernel's symbols."""

    def __init__(self, kernel, labels):
        super().__init__({name: hex(address) for name, address in labels.items()})
        self.kernel = kernel

    def __missing__(self, name):
        return hex(self.kernel.symbol(name))


class Guest:
    """Puts code and data into a machine, where a module's would be."""

    def __init__(self, kernel):
        self.kernel = kernel
        kernel.tasks.worker()  # calls from outside run on it; it stays

    def code(self, source, **labels):
        """Address of a function; `call {kfree}` calls an export, `{label}` what is given by name."""
        place = self.kernel.module_area.allocate(PAGE, READ | EXEC)
        self.kernel.memory.write(place, assemble(source.format_map(Names(self.kernel, labels)), place))
        return place

    def call(self, source, *arguments, **labels):
        """Run a function once; RAX."""
        return self.kernel.call(self.code(source, **labels), *arguments)

    def data(self, contents, size=0):
        """Address of writable memory, unmapped behind its page."""
        place = self.kernel.vmalloc.allocate(max(size, len(contents), 1), READ | WRITE)
        self.kernel.memory.write(place, contents)
        return place

    def near_data(self, contents, size=0):
        """As `data`, in the module area: in reach of code by 32-bit distances."""
        place = self.kernel.module_area.allocate(max(size, len(contents)), READ | WRITE)
        self.kernel.memory.write(place, contents)
        return place

    def text(self, string):
        """Address of a C string."""
        return self.data(string.encode() + b"\0")

    def export(self, name, *arguments):
        """Call an export; RAX."""
        return self.kernel.call(self.kernel.symbol(name), *arguments)

    def absent(self):
        """Name of an export that nobody serves."""
        return next(symbol.name for symbol in self.kernel.symbols if symbol.origin is Origin.ABSENT)

    def user_task(self, pages=2, perms=READ | WRITE, **options):
        """A process with memory at USER."""
        task = self.kernel.tasks.create("user", **options)
        for page in range(pages):
            frame = self.kernel.memory.translate(self.kernel.pages.allocate())
            task.space.map(USER + page * PAGE, frame, perms)
        return task

    def as_task(self, task, name, *arguments):
        """Call an export as a task; RAX."""
        work = self.kernel.call_guest(self.kernel.symbol(name), *arguments)
        return self.kernel.sched.run(task, work)


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def guest(kernel):
    return Guest(kernel)
