"""The landing page in Chromium, on a telephone's screen, before the real server; the operator's ledger counts charges.

`LANDING_PAGE_PICTURE=docs/landing-page.png` makes the picture of the documentation anew.
"""

from __future__ import annotations

import os
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.system.conftest import launched

from kairos.simulate.scenario import link_in

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
pytestmark = [pytest.mark.peers, pytest.mark.skipif(not CHROMIUM, reason="chromium is not on the PATH")]

URL = "https://offers.example"
PICTURE = os.environ.get("LANDING_PAGE_PICTURE", "")


@dataclass
class Phone:
    """A subscriber's browser: the network leads the page's address to kairos."""

    system: Any
    browser: Browser
    msisdn: str
    said: list[str] = field(default_factory=list)  # by the browser's console, and what it could not load

    async def window(self, link: str, **more: Any) -> Page:
        context: BrowserContext = await self.browser.new_context(
            viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2, **more
        )
        page = await context.new_page()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("requestfailed", lambda request: self.said.append(f"failed: {request.url}"))
        page.on("request", lambda request: self.said.append(request.url) if self._abroad(request.url) else None)
        answer = await page.goto(link.replace(URL, self.system.server.url))
        assert answer
        assert answer.status == 200
        return page

    def _abroad(self, url: str) -> bool:
        return not url.startswith((self.system.server.url, "data:"))

    @property
    def charged(self) -> list[int]:
        charges = self.system.operator.ocs.charges()
        return [charges[order.key] for order in self.system.orders(self.msisdn)]


@pytest.fixture
async def phones(tmp_path: Path) -> AsyncIterator[Any]:
    """Subscribers who were sent an offer with its link, and their browsers."""
    playwright = pytest.importorskip("playwright.async_api")
    async with AsyncExitStack() as stack:
        driver = await stack.enter_async_context(playwright.async_playwright())
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        stack.push_async_callback(browser.close)
        system = await stack.enter_async_context(
            launched(tmp_path, PAGE_URL=URL, PAGE_SECRET="s" * 32, PAGE_TAP_UP_TO=5)
        )

        async def offered(language: str = "en") -> tuple[Phone, str]:
            msisdn = system.with_language("en")
            await system.known(msisdn, language=language)
            link = await sent(system, msisdn)
            return Phone(system, browser, msisdn), link

        yield offered


async def sent(system: Any, msisdn: str) -> str:
    """They use much data and have none left, and are sent an offer with a link."""
    system.operator.tell("data_session", msisdn, {"app": "web", "bytes": 2_000_000_000})
    await system.until(lambda: any(map(link_in, system.inbox(msisdn))), "the message with its link")
    return next(filter(None, map(link_in, system.inbox(msisdn))))


async def test_one_tap_takes_it_and_is_charged_once(phones: Any) -> None:
    phone, link = await phones()
    page = await phone.window(link)
    assert await page.locator("article.open h1").inner_text() != ""
    assert await page.get_by_role("button").count() == 2
    take = page.locator("button.go")
    box = await take.bounding_box()
    assert box
    assert box["height"] >= 48  # a finger's width
    await take.tap()
    await page.wait_for_selector("article.under_way, article.done")
    await phone.system.drained()
    await page.reload()
    await page.wait_for_selector("article.done")
    assert await page.get_by_role("button").count() == 0
    await page.go_back()
    assert phone.charged == [1]
    assert phone.said == []  # no violation of the page's policy, and nothing from anywhere else


async def test_a_double_tap_and_another_window_charge_once(phones: Any) -> None:
    phone, link = await phones()
    first, second = await phone.window(link), await phone.window(link)
    await first.locator("button.go").dblclick(no_wait_after=True)
    await second.locator("button.go").tap()
    for page in (first, second):
        await page.wait_for_selector("article.under_way, article.done")
    await phone.system.drained()
    assert phone.charged == [1]
    assert [one for one in phone.said if not one.startswith("failed: ")] == []  # the first tap's answer was overtaken


async def test_without_script_it_does_all_of_that(phones: Any) -> None:
    phone, link = await phones()
    page = await phone.window(link, java_script_enabled=False)
    await page.locator("button.go").tap()
    await page.wait_for_selector("article.under_way, article.done")
    await phone.system.drained()
    assert phone.charged == [1]


async def test_a_keyboard_reaches_both_buttons_and_says_no(phones: Any) -> None:
    phone, link = await phones()
    page = await phone.window(link)
    for _ in range(2):
        await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.value") == "decline"
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await page.keyboard.press("Enter")
    await page.wait_for_selector("article.over")
    assert phone.charged == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_is_readable_by_day_and_by_night(phones: Any, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for every text."""
    phone, link = await phones()
    page = await phone.window(link, color_scheme=scheme)
    for contrast in await page.evaluate(CONTRASTS):
        assert contrast >= 4.5


async def test_no_text_is_wider_than_the_screen(phones: Any) -> None:
    phone, link = await phones()
    page = await phone.window(link)
    await page.set_viewport_size({"width": 280, "height": 600})
    await page.evaluate("document.querySelector('h1').textContent = 'Unbegrenztes'.repeat(9)")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 280


@pytest.mark.skipif(not PICTURE, reason="LANDING_PAGE_PICTURE names no file")
async def test_the_picture_of_the_documentation(phones: Any) -> None:
    shots = []
    phone, link = await phones()
    for scheme in ("light", "dark"):
        page = await phone.window(link, color_scheme=scheme, reduced_motion="reduce")
        shots.append(await page.screenshot())
    await page.locator("button.go").tap()
    await phone.system.drained()
    page = await phone.window(link, reduced_motion="reduce")
    await page.wait_for_selector("article.done")
    shots.append(await page.screenshot())
    phone, link = await phones("ar")
    shots.append(await (await phone.window(link, color_scheme="dark")).screenshot())
    images = "".join(f'<img src="data:image/png;base64,{b64encode(shot).decode()}">' for shot in shots)
    board = await phone.browser.new_page(viewport={"width": 1000, "height": 480}, device_scale_factor=1)
    await board.set_content(f"<style>{BOARD}</style><main>{images}</main>")
    await board.locator("main").screenshot(path=PICTURE)


BOARD = """
body{margin:0;background:#fff}
main{display:flex;gap:16px;padding:12px;width:976px;background:#cfd6e2}
img{width:232px;height:502px;border-radius:16px}
"""

CONTRASTS = """() => {
  const rgb = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(x => (x /= 255) <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [.2126, .7152, .0722][i], 0);
  const behind = node => { for (; node; node = node.parentElement) {
    const found = rgb(getComputedStyle(node).backgroundColor); if (found[3] !== 0) return found; } };
  return [...document.querySelectorAll('p, h1, li, button, a')].map(node => {
    const [x, y] = [light(rgb(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    return (x + .05) / (y + .05); });
}"""
