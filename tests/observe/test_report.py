"""The page of a run: what it says, and that nothing in it can do harm."""

import re
from html.parser import HTMLParser

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.module.modules import Modules
from kmod_emu.observe.relocations import relocations
from kmod_emu.observe.report import model as model_module
from kmod_emu.observe.report.model import Collector, collect
from kmod_emu.observe.report.page import page


def model_of(name, params="", seconds=0):
    return collect(Kernel(), str(samples.path(name)), params, seconds=seconds)


class Page(HTMLParser):
    """Tags that are open, text by the id of its section, and every element's name."""

    VOID = ("meta", "br", "input", "rect")

    def __init__(self, text):
        super().__init__()
        self.open, self.section, self.text, self.tags = [], "", {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "section":
            self.section = dict(attributes)["id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag == "rect":
            return
        while self.open.pop() != tag:  # li, td and their like may be left open; the page leaves none
            pytest.fail(f"{tag} closes nothing")

    def handle_data(self, data):
        self.text.setdefault(self.section, []).extend(data.split())


def test_every_part_says_what_happened():
    shown = Page(page(model_of("echo")))
    assert shown.open == []
    text = {name: " ".join(words) for name, words in shown.text.items()}
    assert "ELF verification" in text["steps"]
    assert ".text 0xffffffffc0000000" in text["map"]
    assert "_copy_to_user" in text["symbols"]
    assert "__register_chrdev S + A - P = 0x" in text["relocations"]
    assert "with echo" in text["list"]
    assert 'name="echo", fops=echo_fops) = 246' in text["calls"]
    assert "echo: major 246" in text["log"]
    assert "read → echo_read+0x0/" in text["devices"]
    assert "module bytes" in text["memory"]


def test_refused_and_crashed_modules_have_a_page_too():
    assert "its init returned -1" in page(model_of("ret_minus1"))
    assert "crashed or never returned" in page(model_of("oops_null"))


def test_page_needs_nothing_from_outside():
    text = page(model_of("hello"))
    shown = Page(text)
    assert not [tag for tag, _ in shown.tags if tag in ("img", "link", "iframe", "object", "embed")]
    assert not [a for _, a in shown.tags if {"src", "onclick", "onload"} & set(a)]
    assert all(a["href"].startswith("#") for tag, a in shown.tags if tag == "a")
    assert not re.search(r"url\(|@import|https?:", text)


HOSTILE = "</code><script>alert(1)</script>&amp;\x1b[31m\ud800\x00'\""


@pytest.mark.parametrize("live", [None, {"role": "alone", "steps": 3}], ids=["file", "served"])
def test_hostile_text_stays_text(live):
    model = model_of("hello")
    for collection in ("steps", "lookups", "log", "devices", "memory", "regions"):
        for item in model[collection]:
            for key, value in item.items():
                if isinstance(value, str) and key != "perms":
                    item[key] = HOSTILE
    model["module"] = model["file"] = model["explanation"] = HOSTILE
    model["calls"][0]["text"] = model["calls"][0]["calls"][0]["result"] = HOSTILE
    text = page(model, live)
    assert text.count("<script>") == (2 if live else 1)
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "alert(1)" in " ".join(Page(text).text["steps"])
    text.encode("utf-8")  # no surrogates


def test_relocations_add_up():
    kernel, found = Kernel(), []

    def look(event):
        if event.name == "apply_relocations":
            (module,) = kernel[Modules]  # unformed as yet
            found.extend(relocations(kernel, module))
            assert len(found) == event.detail["count"]

    kernel.events.listen(look)
    kernel.insmod(samples.path("echo"))
    for one in found:
        value = one.value + one.addend - (one.place if "P" in one.formula else 0)
        assert value % (1 << 8 * len(one.after)) == int.from_bytes(one.after, "little")
    known = {one.symbol: one.value for one in found}
    assert known["__register_chrdev"] == kernel.symbol("__register_chrdev")
    assert known["_copy_to_user"] == kernel.symbol("_copy_to_user")


def test_many_calls_are_bounded():
    kernel, path = Kernel(), str(samples.path("spin"))
    kernel.cpu.watchdog.limit = 0.3
    collector = Collector(kernel, path)
    with pytest.raises(KernelError):
        kernel.insmod(path)
    collector.loaded()
    assert len(collector.calls) == 1


def test_many_steps_are_bounded(monkeypatch):
    monkeypatch.setattr(model_module, "MAX_STEPS", 5)
    model = model_of("hello")
    assert len(model["steps"]) == 5
    assert f"{model['step_count'] - 5} more are left out" in page(model)


def test_allocations_are_listed():
    model = model_of("memory")
    assert any("kmalloc" in item["call"] for item in model["memory"])
    assert any("free" in item["call"] for item in model["memory"])
