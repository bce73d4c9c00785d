"""A telephone's browser, over the operator's own network: it opens the link of a message, and taps.

The operator's proxy leads every address to kairos, and says whose telephone it is.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from html import unescape
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

NUMBER_HEADER: Final = "x-msisdn"
TRIES: Final = 20  # of whoever sees that the page is busy, or nothing at all
PAUSE: Final = 0.5  # seconds

_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_LOOKS = re.compile(r'<article class="(\w+)">')
_NEWS = re.compile(r'<p class="news"[^>]*>(.*?)</p>')
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class Screen:
    """What the page shows: how it `looks` (open, under_way, done, ...), what it says, and the fields of its form."""

    looks: str
    news: str
    form: dict[str, str]

    @property
    def settled(self) -> bool:
        """Whether it was taken: its end comes as a text message."""
        return self.looks in ("under_way", "done")


class Browser:
    """`proxied`: where kairos listens."""

    def __init__(self) -> None:
        self.proxied = ""
        self.opened = 0
        self.tapped = 0
        self._http = httpx.AsyncClient(timeout=10.0, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def take(self, link: str, msisdn: str, *, twice: bool = False) -> Screen | None:
        """Open it and tap; `twice`: with a nervous finger. What the page shows then; None where it never answers."""
        shown = await self._until_shown("GET", link, msisdn)
        self.opened += 1
        if shown is None or "seal" not in shown.form:
            return shown
        fields = shown.form | {"answer": "accept"}
        self.tapped += 1
        taps = [self._until_shown("POST", link, msisdn, fields) for _ in range(1 + twice)]
        return (await asyncio.gather(*taps))[-1]

    async def _until_shown(
        self, method: str, link: str, msisdn: str, fields: dict[str, str] | None = None
    ) -> Screen | None:
        for _ in range(TRIES):
            try:
                answer = await self._request(method, link, msisdn, fields)
                if answer.status_code == 303:
                    link, method, fields = urljoin(link, answer.headers["location"]), "GET", None
                    answer = await self._request(method, link, msisdn, None)
                if answer.status_code not in (429, 503):
                    return read(answer.text)
            except httpx.HTTPError:
                pass
            await asyncio.sleep(PAUSE)
        return None

    async def _request(self, method: str, link: str, msisdn: str, fields: dict[str, str] | None) -> httpx.Response:
        split = urlsplit(link)
        path = f"{split.path}?{split.query}" if split.query else split.path
        headers = {NUMBER_HEADER: msisdn}
        return await self._http.request(method, f"{self.proxied}{path}", data=fields, headers=headers)


def read(page: str) -> Screen:
    """What somebody sees of a page.

    >>> read('<article class="done"><p class="news" role="status"><bdi>It&#x27;s active.</bdi></p></article>')
    Screen(looks='done', news="It's active.", form={})
    """
    looks, news = _LOOKS.search(page), _NEWS.search(page)
    form = {name: unescape(value) for name, value in _HIDDEN.findall(page)}
    return Screen(looks[1] if looks else "", unescape(_TAG.sub("", news[1])) if news else "", form)
