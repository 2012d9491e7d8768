"""What objects look like in a notebook."""

import pytest

from kmod_emu import Kernel, KernelError, samples
from tests.observe.test_report import Page


def text_of(thing):
    """The words of its HTML, whose tags are closed."""
    parsed = Page(thing._repr_html_())
    assert parsed.open == []
    return " ".join(parsed.text[""])


def test_kernel_shows_modules_and_log():
    k = Kernel()
    k.insmod(samples.path("hello"))
    text = text_of(k)
    assert text.startswith("Linux 6.1.0-56-amd64, 2.0")
    assert "hello 16384 0" in text
    assert text.endswith("Hello world!")


def test_module_shows_its_sections_until_it_is_freed():
    k = Kernel()
    m = k.insmod(samples.path("hello"))
    assert "state Live size 16384 reference count 0 used by nobody init returned 0" in text_of(m)
    assert f".gnu.linkonce.this_module {m.address:#x}" in text_of(m)
    k.rmmod("hello")
    assert repr(m) == f"<Module at {m.address:#x}, freed>"
    assert text_of(m) == repr(m)


def test_process_shows_what_it_has_open():
    k = Kernel()
    p = k.process(uid=1000, comm="demo")
    p.open("/proc/modules", 0)
    assert text_of(p) == f"Process {p.pid} (demo), uid 1000, lives descriptor file " + " ".join(
        ("0 /dev/null", "1 /dev/null", "2 /dev/null", "3 /proc/modules")
    )
    p.exit()
    assert "has ended" in text_of(p)


def test_symbol_and_structure():
    k = Kernel()
    assert "name register_chrdev_region" in text_of(k.symbols.find("register_chrdev_region"))
    m = k.insmod(samples.path("hello"))
    text = text_of(m.view)
    assert text.startswith(f"struct module at {m.address:#x} offset member bytes value 0x0 state 4 0x0")
    with pytest.raises(AttributeError):  # what notebooks ask first
        m.view._ipython_canary_method_should_not_exist_  # noqa: B018


def test_text_of_modules_is_no_markup():
    k = Kernel()
    k.printk.emit("<script>alert(1)</script>\x1b[31m &amp;\n", 6)
    html = k._repr_html_()
    assert "<script>" not in html
    assert "\x1b" not in html
    assert "<script>alert(1)</script>" in text_of(k)


def test_refused_module():
    k = Kernel()
    with pytest.raises(KernelError):
        k.insmod(samples.path("ret_enodev"))
    assert "init runs and returns -ENODEV" in text_of(k)
