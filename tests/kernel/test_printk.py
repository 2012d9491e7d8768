"""printk, the ring buffer and what readers see of it."""

import json

import pytest

from kmod_emu.kernel.clock import BOOT_NS
from kmod_emu.kernel.logbuffer import BUFFER_BYTES
from kmod_emu.kernel.printk import RECORD_MAX
from kmod_emu.text import escape


@pytest.fixture
def printk(guest):
    """Call _printk with a format and integers, as a module does."""

    def call(fmt, *arguments):
        text = fmt if isinstance(fmt, bytes) else fmt.encode()
        return guest.export("_printk", guest.data(text + b"\0"), *arguments)

    return call


def records(kernel):
    return [(record.level, record.text.decode()) for record in kernel.printk.records]


@pytest.mark.parametrize(
    ("text", "level", "stored"),
    [
        ("hello\n", 4, "hello"),
        ("\x016info\n", 6, "info"),
        ("\x010emergency\n", 0, "emergency"),
        ("\x016\x013first wins\n", 6, "first wins"),
        ("two lines\nin one\n", 4, "two lines\nin one"),
        ("only the last newline goes\n\n", 4, "only the last newline goes\n"),
        ("\n", 4, ""),
        ("\x018no level\n", 4, "\x018no level"),
    ],
)
def test_one_message(kernel, printk, text, level, stored):
    assert printk(text) == len(stored)
    assert records(kernel) == [(level, stored)]


def test_the_prefix_may_come_from_an_argument(kernel, guest, printk):
    printk("%s\n", guest.text("\x013from a string"))
    assert records(kernel) == [(3, "from a string")]


def test_numbers_and_strings(kernel, guest, printk):
    printk("%d %s %x %lu\n", -5 & 0xFFFF_FFFF, guest.text("abc"), 255, (1 << 64) - 1)
    assert kernel.dmesg() == ["-5 abc ff 18446744073709551615"]


def test_a_long_text_is_cut_with_its_newline(kernel, guest, printk):
    printk("\x016%s\n", guest.text("x" * 2000))
    assert records(kernel) == [(6, "x" * (RECORD_MAX - 1 - 2))]
    assert kernel.dmesg() == []  # still open
    printk("next\n")
    assert [len(line) for line in kernel.dmesg()] == [989, 4]


# --- KERN_CONT ------------------------------------------------------------------------------------------


def test_continuation(kernel, printk):
    printk("\x016one")
    printk("\x01c two")
    printk("\x01c three\n")
    assert records(kernel) == [(6, "one two three")]
    assert kernel.printk.records[0].continued


def test_continuation_after_a_closed_record(kernel, printk):
    printk("\x016one\n")
    printk("\x01ctwo\n")
    assert records(kernel) == [(6, "one"), (4, "two")]


def test_a_message_closes_the_one_before(kernel, printk):
    printk("\x016one")
    printk("\x016two\n")
    printk("\x01cthree\n")
    assert records(kernel) == [(6, "one"), (6, "two"), (4, "three")]


def test_continuation_by_another_task(kernel, guest):
    texts = [guest.text("\x016mine"), guest.text("\x01cyours\n")]
    for text, task in zip(texts, (kernel.tasks.create("a"), kernel.tasks.create("b")), strict=True):
        guest.as_task(task, "_printk", text)
    assert records(kernel) == [(6, "mine"), (4, "yours")]


def test_continuation_that_does_not_fit_begins_a_record(kernel, guest, printk):
    printk("\x016%s", guest.text("x" * 900))
    printk("\x01c%s\n", guest.text("y" * 89))
    printk("\x016%s", guest.text("x" * 900))
    printk("\x01c%s\n", guest.text("y" * 88))
    assert [(level, len(text)) for level, text in records(kernel)] == [(6, 900), (4, 89), (6, 988)]


def test_open_record_is_not_readable_before_it_is_closed(kernel, printk):
    printk("\x016open")
    assert kernel.dmesg() == []
    printk("\x01c\n")
    assert kernel.dmesg() == ["open"]


# --- reading --------------------------------------------------------------------------------------------


def test_each_line_of_a_record_is_a_line(kernel, printk):
    printk("a\nb\n")
    stamp = "[    2.000001]"
    assert kernel.printk.dmesg() == f"{stamp} a\n{stamp} b\n"
    assert kernel.dmesg() == ["a", "b"]


def test_time_stamps(kernel, printk):
    kernel.clock.jump(BOOT_NS + 12_345_678_000)
    printk("later\n")
    assert kernel.printk.dmesg() == "[   14.345679] later\n"


def test_clear_hides_what_was_before(kernel, printk):
    printk("before\n")
    kernel.printk.clear()
    assert kernel.dmesg() == []
    printk("after\n")
    assert kernel.dmesg() == ["after"]
    assert len(kernel.printk.records) == 2


def test_buffer_is_bounded_and_keeps_the_newest(kernel):
    for number in range(5000):
        kernel.printk.emit(f"{number:100d}\n")
    kept = kernel.printk.records
    assert 500 < len(kept) < BUFFER_BYTES // 100
    assert kept[-1].text.strip() == b"4999"
    assert [record.sequence for record in kept] == list(range(5000 - len(kept), 5000))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain", "plain"),
        (b"tab\there", "tab\there"),
        (b"\x1b[31m", "\\x1b[31m"),
        (b"\x07\r\x00\x7f", "\\x07\\x0d\\x00\\x7f"),
        ("grüß".encode(), "grüß"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("\u009b31m".encode(), "\\x9b31m"),
        ("\u202eright to left".encode(), "\\u202eright to left"),
    ],
)
def test_escape(raw, shown):
    assert escape(raw) == shown


def test_escapes_in_dmesg(kernel, printk):
    printk(b"\x1b]0;title\x07\n")
    assert kernel.dmesg() == ["\\x1b]0;title\\x07"]


def test_control_characters_survive_in_the_record(kernel, printk):
    printk(b"\x1b\xff\n")
    assert kernel.printk.records[0].text == b"\x1b\xff"


# --- formatting into memory -----------------------------------------------------------------------------


def test_sprintf_family(kernel, guest):
    buf, fmt = guest.data(b"\xff" * 32), guest.text("%d-%d")
    assert guest.export("sprintf", buf, fmt, 12, 34) == 5
    assert kernel.memory.read(buf, 7) == b"12-34\0\xff"
    for name, returned in (("snprintf", 5), ("scnprintf", 3)):
        kernel.memory.write(buf, b"\xff" * 32)
        assert guest.export(name, buf, 4, fmt, 12, 34) == returned
        assert kernel.memory.read(buf, 5) == b"12-\0\xff"
    assert guest.export("snprintf", 0, 0, fmt, 12, 34) == 5
    assert guest.export("scnprintf", buf, 0, fmt, 12, 34) == 0


def test_kasprintf(kernel, guest):
    address = guest.export("kasprintf", 0, guest.text("%s!"), guest.text("text"))
    assert kernel.memory.read_cstring(address) == b"text!"
    assert address in kernel.heap.live


def test_events(kernel, printk):
    seen = []
    stop = kernel.events.listen(seen.append)
    printk("\x016heard\n")
    stop()
    printk("\x016unheard\n")
    printed = [event.detail for event in seen if event.name == "printk"]
    assert [(detail["level"], detail["text"]) for detail in printed] == [(6, b"heard")]


def test_state_survives_json(kernel, printk):
    printk("\x016kept")
    state = json.loads(json.dumps(kernel.printk.save()))
    before = kernel.printk.dmesg()
    printk(b"\xff lost\n")
    kernel.printk.load(state)
    assert kernel.printk.dmesg() == before
    printk("\x01c and goes on\n")
    assert records(kernel) == [(6, "kept and goes on")]
