"""Each sample of `samples/bugs`: what is found in it, and that nothing is where it is right."""

import pytest

from kmod_emu import Kernel, KernelError, Killed, samples
from tests.sanitize.test_leaks import FAULTY

# The beginnings of sentences, which name the place; "SRC" stands for the sample's source file.
EXPECTED = {
    "order": [
        "mutex_lock() at SRC:42 is given a mutex that nobody prepared: call mutex_init() before",
        "cdev_add() at SRC:43 is given a cdev that nobody prepared: call cdev_init() or cdev_alloc() before",
        "timer_delete_sync() at SRC:52 is given a timer that nobody prepared: call timer_setup() before",
        "kobject: '(null)' (",
        "refcount_t: underflow; use-after-free.",
    ],
    "twice": [
        "unregister_chrdev_region() at SRC:44 ends a range of device numbers that is not there: it was"
        " ended at SRC:41; do that once",
        "free_irq() at SRC:40 ends an interrupt handler that is not there: request_threaded_irq() was not",
        "Trying to free already-free IRQ 5",
    ],
    "callback": [
        "callback leaves a heap object of 40 bytes behind, from SRC:21: exit must call kfree()",
        "callback leaves an armed timer behind, from SRC:25: exit must call del_timer_sync()",
        "the code jumps to 0xffffffffc0000000, which was on_timer+0x0 of the module callback, which was"
        " unloaded, but is used by the armed timer from SRC:25 that it left behind",
        "kernel panic: Fatal exception in interrupt",
    ],
    "edges": [
        "1 byte behind the end of a heap object of 64 bytes was overwritten, at offset 64; SRC:20",
        "1 byte in front of a heap object of 64 bytes was overwritten, at offset -1; SRC:20",
    ],
    "deepstack": [
        "the kernel stack of 16 KiB is used up at sum+0x",
        "kernel panic: Fatal exception in interrupt",
    ],
    "sysfsleft": [
        "sysfsleft leaves a file in /sys behind, from SRC:37: exit must call sysfs_remove_file()",
        "sysfsleft leaves a group of files in /sys behind, from SRC:41: exit must call sysfs_remove_group()",
        "sysfsleft leaves a kobject in /sys behind, from SRC:44: exit must call kobject_put()",
        "sysfsleft leaves a callback of call_rcu() behind, from SRC:59: exit must call rcu_barrier()",
    ],
}


def texts(name, params=""):
    kernel = Kernel()
    try:
        kernel.insmod(samples.path(name), params)
        kernel.rmmod(name)
        kernel.advance(2)
    except KernelError:
        pass
    return [
        report["text"].replace(f"samples/bugs/{name}/{name}.c", "SRC") for report in kernel.findings.reports
    ]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_bug_is_told(name):
    found = texts(name)
    assert [text[: len(start)] for text, start in zip(found, EXPECTED[name], strict=True)] == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(FAULTY))
def test_the_correct_twin_draws_no_report(name):
    assert texts(name, "fixed=1") == []


@pytest.mark.parametrize("params", ["", "fixed=1"])
def test_a_user_pointer_that_is_followed_is_told(params):
    kernel = Kernel()
    kernel.insmod(samples.path("userptr"), params)
    with kernel.process() as process:
        fd = process.open("/proc/userptr", 1)
        if params:
            assert process.write(fd, b"hello") == 5
            assert kernel.findings.reports == []
        else:
            with pytest.raises(Killed):
                process.write(fd, b"hello")
            (report,) = kernel.findings.reports
            place = "samples/bugs/userptr/userptr.c:17"
            sentence = f"the code dereferences a user pointer at {place}; use copy_from_user()"
            assert report["text"].startswith(sentence)
            assert report["stacks"]["access"][0].endswith(f"({place})")


@pytest.mark.parametrize("level", ["default", "all"])
def test_memory_that_nobody_wrote_is_told_where_all_is_checked(level):
    for params in ("", "fixed=1"):
        kernel = Kernel(sanitize=level)
        kernel.insmod(samples.path("uninit"), params)
        with kernel.process() as process:
            bytes_ = process.read(process.open("/proc/uninit"), 100)
        reports = kernel.findings.reports
        if params or level == "default":
            assert (reports, bytes_[1:4], bytes_[8:]) == ([], bytes(3), bytes(8))
        else:
            assert [report["kind"] for report in reports] == ["uninitialised memory"]
            assert "offset 1 of a heap object of 16 bytes that" in reports[0]["text"]
            assert list(reports[0]["stacks"]) == ["access", "allocation"]
