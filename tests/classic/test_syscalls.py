"""The five system calls on modules of Linux 2.4.32 (SPEC B2)."""

import errno
import struct

import pytest

from kmod_emu import Kernel
from kmod_emu.classic import ClassicKernel
from kmod_emu.classic.modules import ModuleList
from kmod_emu.classic.structs import INFO, MODULE
from tests.classic.image import CODE_AT, RET_5, RET_MINUS_1, SIZE, TABLE_AT, Loader

RUNNING, AUTOCLEAN, VISITED, USED_ONCE = 1, 4, 8, 16


@pytest.fixture
def kernel():
    return ClassicKernel()


@pytest.fixture
def loader(kernel):
    return Loader(kernel)


def names(kernel):
    return [kernel[ModuleList].name(module) for module in kernel.modules]


def test_only_root_and_before_anything_is_looked_at(kernel):
    nobody = Loader(kernel, uid=1000).process
    for call in ("create_module", "init_module", "delete_module"):
        assert nobody.syscall(call, 0xDEAD0000, 0) == -errno.EPERM


def test_anybody_may_ask(kernel):
    nobody = Loader(kernel, uid=1000)
    assert nobody.query(None, 1)[0] == 0
    assert nobody.process.syscall("get_kernel_syms", 0) > 0


@pytest.mark.parametrize(
    ("name", "error"),
    [(b"", errno.EINVAL), (b"x" * 4096, errno.ENAMETOOLONG), (b"x" * 5000, errno.ENAMETOOLONG)],
)
def test_names(loader, name, error):
    process = loader.process
    place = process.put(name + b"\0")
    assert process.syscall("create_module", place, 8192) == -error
    assert process.syscall("init_module", place, place) == -error
    assert process.syscall("delete_module", place) == -error
    assert process.syscall("query_module", place, 5, 0, 0, 0) == -error


def test_a_name_that_cannot_be_read(loader):
    for call in ("create_module", "init_module", "delete_module", "query_module"):
        assert loader.process.syscall(call, 0xDEAD0000, 4096, 0, 0, 0) == -errno.EFAULT


def test_create_module(kernel, loader):
    least = MODULE.size + len("one") + 1
    assert loader.create("one", least - 1) == -errno.EINVAL
    first = loader.create("one", least)
    second = loader.create("two", 5000)
    assert (first, second) == (0xFFFFFFFFA0000000, 0xFFFFFFFFA0002000)
    assert loader.create("one", 4096) == -errno.EEXIST
    assert loader.create("big", 1 << 40) == -errno.ENOMEM
    assert names(kernel) == ["two", "one"]
    view = kernel[ModuleList].view(first)
    assert (view.size_of_struct, view.name, view.size, view.flags) == (184, first + 184, least, 0)
    assert kernel.cat("/proc/modules") == (
        b"two                     5000 (uninitialized)\none                      188 (uninitialized)\n"
    )
    assert loader.query("one", 4) == (0, bytes(4096), 0)  # nothing can be asked of it yet


def test_the_list_is_singly_linked_and_ends_at_the_kernel(kernel, loader):
    loader.load("a")
    loader.load("b")
    modules = kernel[ModuleList]
    newest = kernel.memory.read_u64(modules.head)
    second = kernel.memory.read_u64(newest + 8)
    last = kernel.memory.read_u64(second + 8)
    assert [modules.name(modules.view(m)) for m in (newest, second, last)] == ["b", "a", ""]
    end = modules.view(last)
    assert (end.next, end.usecount, end.flags, end.address) == (0, 1, RUNNING, modules.kernel_module.address)


def test_init_module(kernel, loader):
    assert loader.init(bytes(SIZE), "nobody") == -errno.ENOENT
    assert loader.load() == 0
    assert (loader.flags(), kernel.cat("/proc/modules")) == (
        RUNNING,
        b"m                        512   0 (unused)\n",
    )


@pytest.mark.parametrize("size", [0, 111, MODULE.size + 129])
def test_a_header_of_another_time(kernel, loader, size):
    assert loader.load(size_of_struct=size) == -errno.EINVAL
    assert kernel.dmesg() == [
        "init_module: Invalid module header size.",
        "A new version of the modutils is likely needed.",
    ]


def test_an_old_header_is_taken(loader):
    assert loader.load(size_of_struct=MODULE.offset("persist_start")) == 0


A = 0xFFFFFFFFA0000000  # where the only module lies


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"size": SIZE + 1}, "Size of initialized module exceeds size of created module."),
        ({"name": A + 8}, "mod->name out of bounds."),
        ({"name": A + SIZE}, "mod->name out of bounds."),
        ({"nsyms": 1, "syms": A + SIZE - 15}, "mod->syms out of bounds."),
        ({"ndeps": 1, "deps": A}, "mod->deps out of bounds."),
        ({"init": 0xFFFFFFFF80000000}, "mod->init out of bounds."),
        ({"cleanup": A + SIZE + 1}, "mod->cleanup out of bounds."),
        ({"ex_table_start": A + 256, "ex_table_end": A + 255}, "mod->ex_table_* invalid."),
        ({"ex_table_start": A + 256, "ex_table_end": A + SIZE}, "mod->ex_table_* invalid."),
        ({"ex_table_start": A + 256, "ex_table_end": A + 264}, "mod->ex_table_* invalid."),
        ({"flags": RUNNING}, "mod->flags invalid."),
        ({"flags": 1 << 40}, "mod->flags invalid."),
        ({"can_unload": A}, "mod->can_unload out of bounds."),
        ({"kallsyms_start": A, "kallsyms_end": A + 256}, "mod->kallsyms out of bounds."),
        ({"kallsyms_start": A + 300, "kallsyms_end": A + 256}, "mod->kallsyms invalid."),
        ({"archdata_start": A, "archdata_end": A + SIZE + 1}, "mod->archdata out of bounds."),
        ({"kernel_data": 1}, "mod->kernel_data must be zero."),
    ],
)
def test_an_image_that_lies(kernel, loader, changes, complaint):
    address = loader.create()
    before = kernel.memory.read(address, SIZE)
    assert loader.init(loader.image(address, **changes)) == -errno.EINVAL
    assert kernel.dmesg() == [f"init_module: {complaint}"]
    assert kernel.memory.read(address, MODULE.size + 2) == before[: MODULE.size + 2]
    assert loader.init(loader.image(address)) == 0, "what was created is as it was"


def test_members_behind_a_short_header_are_not_looked_at(loader):
    assert loader.load(size_of_struct=MODULE.offset("can_unload"), can_unload=A) == 0


def test_the_name_in_the_image(kernel, loader):
    address = loader.create()
    assert loader.init(loader.image(address, "n")) == -errno.EINVAL
    assert kernel.dmesg()[-1] == "init_module: changed module name to `n' from `m'"
    assert loader.init(loader.image(address, "")) == -errno.EINVAL
    assert kernel.dmesg()[-1] == "init_module: get_mod_name failure."
    assert kernel[ModuleList].name(kernel[ModuleList].view(address)) == "m"


def test_an_image_that_ends_too_soon(loader):
    address = loader.create(size=1 << 20)
    image = loader.image(address, size=1 << 20)
    assert loader.init(image[:100]) in (-errno.EFAULT, -errno.EINVAL)
    assert loader.init(image) == -errno.EFAULT
    assert loader.init(loader.image(address, size=100)) == -errno.EINVAL  # the name lies behind that


def test_dependencies(kernel, loader):
    loader.load("base")
    base = kernel[ModuleList].find("base").address
    address = loader.create()

    def dep(target):
        return loader.image(
            address, ndeps=1, deps=address + TABLE_AT, table=struct.pack("<QQQ", target, 0, 0)
        )

    assert loader.init(dep(address)) == -errno.EINVAL
    assert kernel.dmesg()[-1] == "init_module: self-referential dependency in mod->deps."
    assert loader.init(dep(base + 16)) == -errno.EINVAL
    assert kernel.dmesg()[-1] == "init_module: found dependency that is (no longer?) a module."
    assert loader.init(dep(base)) == 0
    assert loader.flags("base") == RUNNING | USED_ONCE
    assert loader.query("m", 2)[1:][0][:5] == b"base\0"
    assert loader.query("base", 3)[1:][0][:2] == b"m\0"
    assert loader.delete("base") == -errno.EBUSY
    assert b"base                     512   0 [m]\n" in kernel.cat("/proc/modules")
    assert (loader.delete("m"), loader.delete("base"), names(kernel)) == (0, 0, [])


@pytest.mark.parametrize(("code", "error"), [(RET_MINUS_1, errno.EPERM), (RET_5, errno.EBUSY)])
def test_an_init_that_fails_leaves_the_module_uninitialised(kernel, loader, code, error):
    before = kernel.held()
    assert loader.load(code=code) == -error
    assert kernel.cat("/proc/modules") == b"m                        512 (uninitialized)\n"
    assert loader.create() == -errno.EEXIST
    assert loader.delete("m") == 0
    assert kernel.held()["module bytes"] == before["module bytes"]


def test_delete_module(kernel, loader):
    assert loader.delete("m") == -errno.ENOENT
    loader.load()
    kernel[ModuleList].find("m").usecount = 1
    assert loader.delete("m") == -errno.EBUSY
    kernel[ModuleList].find("m").usecount = 0
    assert (loader.delete("m"), loader.delete("m")) == (0, -errno.ENOENT)


def test_can_unload_decides_for_itself(kernel, loader):
    """A module with can_unload() shows -1 users, and goes when the function returns 0."""
    address = A + CODE_AT + 16
    loader.load(code=b"\x31\xc0\xc3".ljust(16, b"\x90") + RET_5, can_unload=address)
    assert kernel.cat("/proc/modules") == b"m                        512  -1 (unused)\n"
    assert INFO.unpack(loader.query("m", 5, 32)[1])[3] == -1
    assert loader.delete("m") == -errno.EBUSY
    kernel.memory.write(address, b"\x31\xc0\xc3")
    assert loader.delete("m") == 0


def test_the_sweep_gives_a_second_chance(kernel, loader):
    modules = kernel[ModuleList]
    for name in ("kept", "unused", "swept", "visited"):
        loader.load(name, flags=0 if name == "kept" else AUTOCLEAN)
    for name in ("kept", "swept", "visited"):
        modules.find(name).flags |= USED_ONCE
    modules.find("visited").flags |= VISITED
    modules.find("swept").usecount = 1
    assert loader.delete() == 0
    assert names(kernel) == ["visited", "swept", "unused", "kept"]
    assert not modules.find("visited").flags & VISITED
    modules.find("visited").flags |= VISITED
    modules.find("swept").usecount = 0
    assert loader.delete() == 0  # a pass that freed something is followed by another
    assert names(kernel) == ["unused", "kept"]


def test_the_sweep_frees_what_only_the_swept_used(kernel, loader):
    loader.load("base", flags=AUTOCLEAN)
    base = kernel[ModuleList].find("base")
    address = loader.create("top")
    table = struct.pack("<QQQ", base.address, 0, 0)
    image = loader.image(address, "top", ndeps=1, deps=address + TABLE_AT, table=table, flags=AUTOCLEAN)
    assert loader.init(image, "top") == 0
    kernel[ModuleList].find("top").flags |= USED_ONCE
    base.flags |= VISITED  # just freed counts for more
    assert loader.delete() == 0
    assert names(kernel) == []


def test_query_names(loader):
    for name in ("a", "bc"):
        loader.load(name)
    assert loader.query(None, 0) == (0, bytes(4096), 0)
    assert loader.query(None, 1, 5) == (0, b"bc\0a\0", 2)
    assert loader.query(None, 1, 4) == (-errno.ENOSPC, b"bc\0\0", 5)
    assert loader.query(None, 1, 0)[::2] == (-errno.ENOSPC, 5)
    assert loader.query("a", 1, 5)[0] == 0  # whom it is asked about does not matter here
    assert loader.query("nobody", 1)[0] == -errno.ENOENT


def test_query_symbols(kernel, loader):
    address = A
    table = struct.pack("<QQQQ", 0x1234, address + TABLE_AT + 32, 5, address + TABLE_AT + 36) + b"one\0two\0"
    assert loader.load(nsyms=2, syms=address + TABLE_AT, table=table) == 0
    answer = struct.pack("<QQQQ", 0x1234, 32, 5, 36) + b"one\0two\0"
    assert loader.query("m", 4, 40) == (0, answer, 2)
    assert loader.query("m", 4, 39)[::2] == (-errno.ENOSPC, 40)
    assert kernel.cat("/proc/ksyms").startswith(b"0000000000001234 one\t[m]\n0000000000000005 two\t[m]\n")
    result, answer, count = loader.query(None, 4, 1 << 16)
    assert (result, count) == (0, kernel[ModuleList].kernel_module.nsyms)
    assert b"\0register_chrdev\0" in answer


def test_query_info(loader):
    loader.load()
    assert INFO.unpack(loader.query("m", 5, 32)[1]) == (A, SIZE, RUNNING, 0)
    assert loader.query("m", 5, 31)[::2] == (-errno.ENOSPC, 32)
    for which in (2, 3, 5):
        assert loader.query(None, which)[0] == -errno.EINVAL
    assert loader.query("m", 6)[0] == loader.query("m", 99)[0] == -errno.EINVAL


def test_query_into_nowhere(loader):
    loader.load()
    process = loader.process
    name, ret = process.put(b"m\0"), process.put(bytes(8))
    for which in (1, 4, 5):
        who = name if which == 5 else 0
        assert process.syscall("query_module", who, which, 0xDEAD0000, 1 << 16, ret) == -errno.EFAULT
    assert process.syscall("query_module", name, 5, ret, 0, 0xDEAD0000) == -errno.EFAULT


def test_get_kernel_syms(kernel, loader):
    loader.create("new")
    process = loader.process
    count = process.syscall("get_kernel_syms", 0)
    assert count == kernel[ModuleList].kernel_module.nsyms + 2
    table = process.put(bytes(72 * count))
    assert process.syscall("get_kernel_syms", table) == count
    entries = list(struct.iter_unpack("<Q60s4x", process.get(table, 72 * count)))
    titles = [text.rstrip(b"\0") for _, text in entries]
    assert titles[:2] == [b"#new", b"#"]
    assert (entries[0][0], entries[1][0]) == (A, kernel[ModuleList].kernel_module.address)
    assert b"printk" in titles


def test_modern_kernels_have_these_calls_no_more():
    process = Kernel().process()
    for number in (174, 177, 178):
        assert process.syscall(number, 0, 0, 0, 0, 0) == -errno.ENOSYS


def test_an_oops_in_init(kernel, loader):
    """The caller dies; its module stays as it was then."""
    assert "kernel NULL pointer" in str(_oops(kernel, loader))
    assert kernel.cat("/proc/modules") == b"m                        512 (initializing)\n"
    assert Loader(kernel).delete("m") == -errno.EBUSY


def _oops(kernel, loader):
    from kmod_emu import Killed

    with pytest.raises(Killed):
        loader.load(code=b"\x31\xc0\x8b\x00\xc3")  # reads address 0
    return kernel.dmesg()


def test_state_survives_in_a_file(kernel, loader, tmp_path):
    loader.load("a")
    kernel.save(tmp_path / "x.classic")
    again = ClassicKernel.load(tmp_path / "x.classic")
    assert again.cat("/proc/modules") == kernel.cat("/proc/modules")
    assert Loader(again).delete("a") == 0


def test_a_list_that_leads_astray_is_followed_as_far_as_it_goes(kernel, loader):
    loader.load("a")
    loader.load("b")
    newest = kernel[ModuleList].find("b")
    below, newest.next = newest.next, 0x1234
    assert names(kernel) == ["b"]
    assert loader.query(None, 1)[1][:3] == b"b\0\0"
    newest.next, newest.name = below, 8
    assert names(kernel) == ["", "a"]
    newest.next = newest.address
    assert 4000 < len(kernel.cat("/proc/modules")) <= 4096


def test_programs_of_the_machine_may_ask_too(kernel, loader, compile_c):
    loader.load("m")
    source = """
    #include <stdio.h>
    #include <unistd.h>
    #include <sys/syscall.h>
    int main(void)
    {
        char names[64] = "";
        unsigned long count = 0;
        long result = syscall(178, NULL, 1, names, sizeof(names), &count);
        printf("%ld %lu %s", result, count, names);
    }
    """
    assert kernel.exec(compile_c(source, "-static"), []).stdout == b"0 1 m"
