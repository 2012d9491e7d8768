"""The page in a real browser: what is drawn, in light and dark, printed, and by keyboard."""

import os
import shutil

import pytest

from kmod_emu.observe.report.page import page
from tests.observe.test_report import model_of

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing")


@pytest.fixture(scope="module")
def browser():
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "echo.html"
    model = model_of("echo")
    model["file"] = "/home/a-long-name/" * 20 + "echo.ko"  # as wide as such a path may be
    path.write_text(page(model), encoding="utf-8")
    return f"file://{path}"


@pytest.fixture
def opened(browser, file):
    """The page, 1200 pixels wide; complaints and requests of the browser fail the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, offline=True)
    tab, wrong = context.new_page(), []
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: request.url == file or wrong.append(request.url))
    tab.goto(file)
    yield tab
    context.close()
    assert wrong == []


def test_everything_is_on_the_page_and_nothing_sticks_out(opened):
    width = opened.evaluate("document.documentElement.scrollWidth")
    assert width <= 1200
    for part in ("steps", "map", "symbols", "relocations", "list", "calls", "log", "devices", "memory"):
        box = opened.locator(f"#{part}").bounding_box()
        assert box["height"] > 50
        assert opened.locator(f"#{part} h2").is_visible()


def test_map_is_to_scale(opened):
    sizes = {}
    for rect in opened.locator("svg.pages rect").all():
        size = int(rect.locator("title").text_content().split(", ")[1].split()[0])
        sizes[size] = rect.bounding_box()["height"]
    (small, low), (large, high) = min(sizes.items()), max(sizes.items())
    assert high / low == pytest.approx(large / small, rel=0.02)


def test_code_data_and_constants_have_colours_of_their_own(opened):
    colours = {
        name: opened.locator(f"svg.pages rect.{name}").first.evaluate("e => getComputedStyle(e).fill")
        for name in ("rx", "rw", "ro")
    }
    assert len(set(colours.values())) == 3


def luminance(tab, selector, what):
    red, green, blue = tab.locator(selector).first.evaluate(
        f"e => getComputedStyle(e).{what}.match(/\\d+/g).slice(0, 3).map(Number)"
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_mode(opened, scheme):
    opened.emulate_media(color_scheme=scheme)
    paper, ink = luminance(opened, "body", "backgroundColor"), luminance(opened, "body", "color")
    assert (paper < 60 and ink > 180) if scheme == "dark" else (paper > 220 and ink < 90)


def test_keyboard(opened):
    opened.keyboard.press("j")
    opened.keyboard.press("j")
    assert opened.evaluate("document.activeElement.id") == "map"
    assert abs(opened.locator("#map").bounding_box()["y"]) < 100
    opened.keyboard.press("k")
    assert opened.evaluate("document.activeElement.id") == "steps"
    opened.keyboard.press("o")
    assert opened.locator("#calls details[open]").count() == 0
    opened.keyboard.press("o")
    assert opened.locator("#calls details:not([open])").count() == 0


def test_printed(opened):
    opened.emulate_media(media="print")
    assert not opened.locator("nav").is_visible()
    assert opened.locator("#relocations").is_visible()


def test_small_screen(opened):
    opened.set_viewport_size({"width": 400, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("name", ["kthread", "oops_null"])
def test_other_pages_fit_too(opened, name):
    opened.set_content(page(model_of(name, seconds=1)))
    assert opened.locator("h1").text_content() == name
    assert opened.evaluate("document.documentElement.scrollWidth") <= 1200
