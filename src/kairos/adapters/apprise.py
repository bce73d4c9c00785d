"""Services that Apprise knows: push, WhatsApp and the long tail. docs/channels.md

Apprise tells no more than whether it worked. A no may be an answer that never came, so an offer whose message failed is
not sent again; nor is it taken back, for it may have been read.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from urllib.parse import quote

import apprise
import structlog

from kairos.domain.message import Text
from kairos.errors import Diagnostic, SettingsError
from kairos.ports import Outcome

log = structlog.get_logger("kairos.apprise")
logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its own log tells addresses, and tokens in URLs

ADDRESS, SECRET = "{address}", "{secret}"
EXAMPLE: Final = "12025550123"


class Apprise:
    """A Channel through one service. Its calls block, so each has a thread; one that hangs keeps no more.

    `url` has `{address}`, which is filled in quoted: it cannot become another host, path or option. Raises
    SettingsError where Apprise knows no such service.
    """

    def __init__(self, channel: str, url: str, secret: str, timeout_s: float, at_once: int) -> None:
        self.channel, self.url, self.secret, self.timeout_s = channel, url, secret, timeout_s
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=channel)
        known = self.service(EXAMPLE)
        if known is None:
            what = f"`channels.{channel}.url` is no address of a service that Apprise knows"
            raise SettingsError([Diagnostic("", 0, what, "see its list: https://github.com/caronc/apprise/wiki")])
        if getattr(known, "retry", 0):
            what = f"`channels.{channel}.url` has a `retry`, and an offer is sent at most once"
            raise SettingsError([Diagnostic("", 0, what, "leave it out")])

    def service(self, address: str) -> apprise.NotifyBase | None:
        """The service for one address; it gives up by itself a little before we do."""
        filled = self.url.replace(SECRET, self.secret).replace(ADDRESS, quote(address, safe=""))
        limit = f"{self.timeout_s / 2:g}"
        between = "&" if "?" in filled else "?"
        found = apprise.Apprise.instantiate(f"{filled}{between}cto={limit}&rto={limit}", suppress_exceptions=True)
        return found if isinstance(found, apprise.NotifyBase) else None

    async def send(self, text: Text) -> Outcome:
        """One attempt. Never raises for what the service does."""
        service = self.service(text.destination)
        if service is None:
            return Outcome("failed", reason="the service takes no such address")
        work = self._threads.submit(partial(service.notify, body=text.text, title=text.subject))
        try:
            sent = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(work)), self.timeout_s)
        except TimeoutError:
            if work.cancel():  # it had no thread yet: others hang
                return Outcome("retry", reason="the service does not answer")
            return Outcome("unknown", reason=f"no answer within {self.timeout_s:g} s")
        except Exception as error:
            log.exception("a service of Apprise broke", channel=self.channel)
            return Outcome("unknown", reason=repr(error))
        return Outcome("sent", text.offer) if sent else Outcome("unknown", reason="the service says no")

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
