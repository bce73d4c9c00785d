"""The landing page: a link opens one offer, and a tap takes it. Public: the link's signature is what lets one in.

A GET changes nothing, whoever fetches it: a person, a preview, a crawler. Links that none of our secrets signed are
answered without a look at anything.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Protocol
from urllib.parse import parse_qs

import structlog
from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from kairos.api.body import TooLargeError, body_of
from kairos.api.landing import HEADERS, Form, html
from kairos.deliver.links import Opened, Purpose
from kairos.deliver.page import NOT_NOW, Shown
from kairos.domain.inbound import Verb
from kairos.errors import KairosError
from kairos.smpp.bucket import Bucket

log = structlog.get_logger("kairos.api")

BODY_LIMIT: Final = 2_000  # bytes
BURST: Final = 20.0  # requests to one link that may come at once
RATE: Final = 0.5  # and so many a second
REMEMBERED: Final = 10_000  # links
ANSWERS: Final[dict[str, Verb]] = {"accept": "accept", "decline": "decline"}
ONE_CLICK: Final = ("List-Unsubscribe", "One-Click")  # RFC 8058, section 3.1
Network = IPv4Network | IPv6Network
Answer = Callable[[Request, str, Opened], Awaitable[Response]]


class Pages(Protocol):
    """The offers behind links. What is `async` raises KairosError where that cannot be now."""

    def opened(self, purpose: Purpose, token: str) -> Opened | None:
        """What a link names; None for one that we did not sign."""
        ...

    def seal(self, *about: str) -> str: ...

    def sealed(self, seal: str, *about: str) -> bool: ...

    def alone(self, message: str, language: str) -> Shown:
        """A page that is about no offer."""
        ...

    def stopping(self, language: str, *, done: bool = False) -> Shown:
        """Whether to send no more offers; or that none are sent any more."""
        ...

    async def look(self, opened: Opened, number: str, now: str) -> Shown | None:
        """The offer as whoever has `number` (empty: nobody knows) may see it; None where nothing is known of it."""
        ...

    async def answer(self, opened: Opened, number: str, said: Verb, identity: str) -> str:
        """Take it or decline it, once for each identity; why not now, as a message of the page, or an empty text."""
        ...

    async def stop(self, opened: Opened) -> None:
        """Send no more offers to whoever got this one."""
        ...


def add_page(
    app: FastAPI,
    pages: Pages,
    header: str = "",
    proxies: Sequence[Network] = (),
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """The routes. `header`: where `proxies`, and nobody else, say which number the network knows the visitor by."""
    door = _Door(pages, header, proxies, clock)
    for path, methods, answer in (
        ("/o/{token}", ["GET", "HEAD"], door.to("o", door.looked, "page not shown")),
        ("/o/{token}", ["POST"], door.to("o", door.tapped, "tap not taken")),
        ("/u/{token}", ["GET", "HEAD"], door.asked_to_stop),
        ("/u/{token}", ["POST"], door.to("u", door.stopped, "unsubscribing not taken")),
    ):
        app.add_api_route(path, answer, methods=methods, response_model=None, include_in_schema=False)


class _Door:
    def __init__(self, pages: Pages, header: str, proxies: Sequence[Network], clock: Callable[[], float]) -> None:
        self.pages, self.header, self.proxies, self.clock = pages, header, proxies, clock
        self.buckets: OrderedDict[Opened, Bucket] = OrderedDict()

    def to(self, purpose: Purpose, answer: Answer, trouble: str) -> Callable[[Request, str], Awaitable[Response]]:
        """The route of links that we signed for this, each not too often. `trouble`: that nobody can answer now."""

        async def route(request: Request, token: str) -> Response:
            opened = self.pages.opened(purpose, token)
            if opened is None:
                return self._unknown(request)
            if self._hurries(opened):
                return self._busy(request, 429)
            try:
                return await answer(request, token, opened)
            except KairosError as error:
                log.warning(trouble, reason=str(error))
                return self._busy(request, 503)

        return route

    async def looked(self, request: Request, token: str, opened: Opened) -> Response:
        """The offer of a link. Changes nothing."""
        number, said = self._number(request), request.query_params.get("now", "")
        shown = await self.pages.look(opened, number, said if said in NOT_NOW else "")
        if shown is None:
            return _page(self.pages.alone("page_ended", _language(request)), 410)
        nonce = secrets.token_urlsafe(12)
        return _page(shown, form=Form(token, nonce, self.pages.seal(token, number, nonce)))

    async def tapped(self, request: Request, token: str, opened: Opened) -> Response:
        """Take it, or decline it; answered after the commit, with the way back to the page."""
        form, number = await _form(request), self._number(request)
        said, nonce, seal = ANSWERS.get(form.get("answer", "")), form.get("nonce", ""), form.get("seal", "")
        if said is None or not _own(request) or not self.pages.sealed(seal, token, number, nonce):
            return _see(token)  # no form of ours: they see how it stands, and may tap again
        why = await self.pages.answer(opened, number, said, nonce)
        return _see(f"{token}?now={why}" if why else token)

    async def asked_to_stop(self, request: Request, token: str) -> Response:
        """Whether to send no more offers. Changes nothing."""
        if self.pages.opened("u", token) is None:
            return self._unknown(request)
        return _page(self.pages.stopping(_language(request)), form=Form(token))

    async def stopped(self, request: Request, token: str, opened: Opened) -> Response:
        """No more offers, in one click from a mail program, too (RFC 8058); a STOP by reply is the same."""
        name, value = ONE_CLICK
        if (await _form(request)).get(name) != value:
            return _page(self.pages.stopping(_language(request)), form=Form(token))
        await self.pages.stop(opened)
        return _page(self.pages.stopping(_language(request), done=True))

    def _number(self, request: Request) -> str:
        """Whom the subscriber's own network says that this is; empty where it says nothing, or anybody could say it."""
        lines = request.headers.getlist(self.header) if self.header else []
        said = lines[0].strip() if len(lines) == 1 else ""  # of two, one is perhaps the visitor's own
        peer = request.client.host if said and request.client else ""
        try:
            trusted = bool(peer) and any(ip_address(peer) in network for network in self.proxies)
        except ValueError:
            return ""
        return said if trusted else ""

    def _hurries(self, opened: Opened) -> bool:
        now = self.clock()
        bucket = self.buckets.setdefault(opened, Bucket(RATE, BURST, now))
        self.buckets.move_to_end(opened)
        if len(self.buckets) > REMEMBERED:
            self.buckets.popitem(last=False)
        return bucket.take(now) > 0

    def _unknown(self, request: Request) -> Response:
        return _page(self.pages.alone("page_unknown", _language(request)), 404)

    def _busy(self, request: Request, status: int) -> Response:
        return _page(self.pages.alone("page_busy", _language(request)), status, {"retry-after": "5"})


def _page(shown: Shown, status: int = 200, headers: dict[str, str] | None = None, form: Form | None = None) -> Response:
    language = {"content-language": shown.language}
    return Response(html(shown, form), status, HEADERS | language | (headers or {}), "text/html; charset=utf-8")


def _see(where: str) -> Response:
    """Back to the page with a GET, so that reloading it taps nothing."""
    return Response(b"", 303, HEADERS | {"location": where})


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form; none where it is none."""
    try:
        body = await body_of(request, BODY_LIMIT)
        fields = parse_qs(body.decode(), max_num_fields=10, keep_blank_values=True)
    except (TooLargeError, ClientDisconnect, ValueError):
        return {}
    return {name: values[-1] for name, values in fields.items()}


def _own(request: Request) -> bool:
    """Whether a page of ours sent the form, as far as the browser says."""
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _language(request: Request) -> str:
    """The first that the browser asks for."""
    first = request.headers.get("accept-language", "").partition(",")[0]
    return first.partition(";")[0].strip()
