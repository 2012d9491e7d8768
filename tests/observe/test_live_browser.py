"""The served page in a real browser: going through the steps, looking at memory, and a class that follows."""

import threading

import pytest
import uvicorn

from kmod_emu.observe.live.app import Site
from kmod_emu.observe.live.server import listen
from tests.observe.test_live import run, step_named
from tests.observe.test_report_browser import CHROMIUM, browser, sync_api

__all__ = ["browser"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing")


@pytest.fixture(scope="module")
def echo():
    return run("echo", "size=64")


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def site(request, echo):
    """A site that is served, and where."""
    site = Site(*echo, shared=request.param)
    listener, host = listen(0, shared=False)
    config = uvicorn.Config(site.app, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield site, f"http://{host}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def tab(browser):
    """Opens pages; a complaint of the browser, or a request to another server, fails the test."""
    context, wrong = browser.new_context(viewport={"width": 1500, "height": 900}), []

    def opened(url):
        page, own = context.new_page(), url.rsplit("/", 2)[0]
        page.on("console", lambda message: wrong.append(f"{message.location['url']}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(own) or wrong.append(request.url))
        page.goto(url)
        return page

    yield opened
    context.close()
    refused = ("favicon.ico", "no_such_thing")  # which the browser tells of
    assert [text for text in wrong if not any(name in text for name in refused)] == []


def hexadecimal(page):
    return page.locator("#memory-lines td:nth-child(2)").all_inner_texts()


@pytest.mark.parametrize("site", [False], indirect=True)
def test_steps_and_memory(site, tab, echo):
    expect = sync_api.expect
    page = tab(site[1] + site[0].presenter)
    expect(page.locator("#where")).to_have_text(f"Step 1 of {len(echo[1])}")
    page.keyboard.press("f")
    expect(page.locator("#title")).to_have_text("permission check")
    assert page.locator("ol.steps > li[aria-current]").count() == 1
    page.keyboard.press("b")
    expect(page.locator("#title")).to_have_text("system call")

    # A relocation: the bytes of the file before, the sum behind.
    model = echo[0]
    applied = step_named(model, "apply_relocations")
    one = next(r for r in model["relocations"] if r["symbol"] == "__register_chrdev")
    page.locator("ol.steps > li").nth(applied - 2).click()
    page.locator("#relocations tr", has_text="__register_chrdev").first.get_by_role("button").first.click()
    expect(page.locator("#memory-lines .focus")).to_have_count(4)
    focus = page.locator("#memory-lines .focus")
    assert bytes.fromhex("".join(focus.all_inner_texts())) == one["before"]
    page.get_by_role("button", name="Forward").click()
    expect(focus.first).to_have_class("changed focus")
    assert bytes.fromhex("".join(focus.all_inner_texts())) == one["after"]

    # A symbol by name, and from there by a pointer; then something that is not there.
    page.locator("ol.steps > li").nth(step_named(model, "module_live") - 1).click()
    page.locator("#place").fill("echo_fops")
    page.keyboard.press("Enter")
    expect(page.locator("#memory-lines")).to_contain_text("→ echo_read+0x0/")
    page.locator("#memory-lines").get_by_role("button", name="echo_read").click()
    expect(page.locator("#memory-lines tr").first).to_contain_text("echo_read+0x0/")
    page.locator("#place").fill("no_such_thing")
    page.keyboard.press("Enter")
    expect(page.locator("#trouble")).to_have_text("there is no symbol of that name at this step")
    assert page.locator("#modules-now").inner_text().startswith("echo")
    page.locator("ol.steps > li").nth(step_named(model, "register_chrdev") - 1).click()
    expect(page.locator("#registers")).to_contain_text("0x100")
    expect(page.locator("#callers")).to_contain_text("echo_init")

    # It fits, also in the dark, on a small screen and on paper.
    for width in (1500, 1000, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(color_scheme="dark")
    assert page.locator("#live").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(20, 24, 31)"
    page.emulate_media(media="print")
    assert not page.locator("#live").is_visible()


@pytest.mark.parametrize("site", [True], indirect=True)
def test_class_follows(site, tab):
    expect = sync_api.expect
    presenter, viewer = tab(site[1] + site[0].presenter), tab(site[1] + site[0].viewer)
    expect(viewer.locator("#where")).to_contain_text("Step 1 of")
    assert viewer.get_by_role("button", name="Forward").count() == 0
    presenter.locator("ol.steps > li").nth(8).click()
    presenter.locator("#place").fill("modules")
    presenter.keyboard.press("Enter")
    expect(viewer.locator("#where")).to_contain_text("Step 9 of")
    expect(viewer.locator("#memory-lines tr").first).to_contain_text("modules+0x0")
    assert hexadecimal(viewer) == hexadecimal(presenter)
    viewer.keyboard.press("f")
    viewer.locator("ol.steps > li").nth(3).click()
    presenter.keyboard.press("f")
    expect(viewer.locator("#where")).to_contain_text("Step 10 of")
    presenter.reload()
    expect(presenter.locator("#where")).to_contain_text("Step 10 of")
