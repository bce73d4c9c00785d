"""The mail server (SMTP, RFC 5321): an offer by e-mail, at most once. docs/channels.md

no connection, no TLS, no login, 4xx        it surely did not go: come back
5xx to the recipient or to the message      it never will
what cannot be written as a message         it never will, either
no answer, or a lost one, after DATA began  it may have gone: it is not sent again
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime, parseaddr
from typing import Final

import structlog
from aiosmtplib import SMTP, SMTPDataError, SMTPException, SMTPRecipientRefused, SMTPResponseException

from kairos.adapters.trouble import Trouble
from kairos.domain.message import Text
from kairos.ports import Clock, Outcome

log = structlog.get_logger("kairos.mail")

GREYLISTED: Final = 60.0  # seconds until what was refused for now is tried again (RFC 6647: one to five minutes)
IDLE: Final = 30.0  # seconds for which a connection is kept: servers give up after one to five minutes
MAX_REASON: Final = 200  # characters that are kept
PERMANENT: Final = 500
BROKEN: Final = re.compile(rb"\r\n(?![ \t]|\Z)|\r(?!\n)|(?<!\r)\n")  # what ends a header before its end


class Mail:
    """A Channel over SMTP. It keeps connections for a while; how many there are at once is the dispatcher's room.

    `tls`: the context, or None for a connection that all can read; `from_the_start`: it speaks TLS from the first
    octet. `unsubscribe`: what makes the link that ends all offers, by an offer's key; it must take a POST (RFC 8058).
    """

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None,
        from_the_start: bool = False,
        user: str = "",
        password: str = "",
        timeout_s: float = 30.0,
        unsubscribe: Callable[[str], str] | None = None,
    ) -> None:
        self.host, self.port, self.sender, self.clock = host, port, sender, clock
        self.tls, self.from_the_start = tls, from_the_start
        self.user, self.password, self.timeout_s = user, password, timeout_s
        self.unsubscribe = unsubscribe
        self.address = parseaddr(sender)[1]
        self._idle: list[tuple[float, SMTP]] = []
        self._trouble = Trouble(log, "the mail server does not take all", "the mail server takes messages", host=host)

    async def send(self, text: Text) -> Outcome:
        """One attempt. Never raises for what the network or the server does."""
        return self._trouble.noted(await self._sent(text))

    async def _sent(self, text: Text) -> Outcome:
        try:
            message = written(text, self.sender, self.clock(), self.unsubscribe)
            octets = message.as_bytes(policy=POLICY)
        except Exception as error:  # whatever the email package makes of it: nothing went
            return Outcome("failed", reason=f"it cannot be written as an e-mail ({type(error).__name__})")
        attempt = _Attempt(self, text.destination, octets)
        try:
            async with asyncio.timeout(self.timeout_s):
                await attempt.run()
        except SMTPResponseException as error:
            return attempt.refused(error)
        except (SMTPException, OSError, ValueError) as error:  # ssl's errors and time-outs are OSErrors
            late = f"no answer within {self.timeout_s:g} s" if isinstance(error, TimeoutError) else ""
            reason = _words(late or str(error) or type(error).__name__)
            return Outcome("unknown" if attempt.begun else "retry", reason=reason)
        return Outcome("sent", str(message["Message-ID"]))

    async def close(self) -> None:
        """Say goodbye on every connection that is kept."""
        while self._idle:
            _, smtp = self._idle.pop()
            with suppress(SMTPException, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await smtp.quit()

    async def connection(self) -> SMTP:
        """One that was kept, or a new one. Raises what the network and the server do."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            since, smtp = self._idle.pop()
            if smtp.is_connected and now - since < IDLE:
                return smtp
            smtp.close()
        smtp = SMTP(
            hostname=self.host,
            port=self.port,
            timeout=self.timeout_s,
            use_tls=self.from_the_start,
            start_tls=bool(self.tls) and not self.from_the_start,
            tls_context=self.tls,
            username=self.user or None,
            password=self.password or None,
            local_hostname=self.address.partition("@")[2],
        )
        try:
            await smtp.connect()
        except BaseException:
            smtp.close()
            raise
        return smtp

    def keep(self, smtp: SMTP) -> None:
        if smtp.is_connected:
            self._idle.append((asyncio.get_running_loop().time(), smtp))


class _Attempt:
    """One message on its way. `begun`: DATA was said, so the server may have it."""

    def __init__(self, mail: Mail, recipient: str, message: bytes) -> None:
        self.mail, self.recipient, self.message = mail, recipient, message
        self.begun = False

    async def run(self) -> None:
        smtp = await self.mail.connection()
        try:
            await smtp.mail(self.mail.address)
            await smtp.rcpt(self.recipient)
            self.begun = True
            await smtp.data(self.message)
        except SMTPResponseException:
            await self._reset(smtp)
            raise
        except BaseException:
            smtp.close()
            raise
        self.mail.keep(smtp)

    async def _reset(self, smtp: SMTP) -> None:
        """What the server refused leaves a connection that can be used, once it has forgotten the message."""
        try:
            async with asyncio.timeout(1):
                await smtp.rset()
        except (SMTPException, OSError):
            smtp.close()
        else:
            self.mail.keep(smtp)

    def refused(self, error: SMTPResponseException) -> Outcome:
        """A no to us (hello, login, sender) is between us and the server; one to the message is about the message."""
        reason = _words(f"{error.code} {error.message}".replace(self.recipient, "…"))  # no log needs to know whom
        about_it = isinstance(error, SMTPRecipientRefused | SMTPDataError)
        if about_it and error.code >= PERMANENT:
            return Outcome("failed", reason=reason)
        return Outcome("retry", reason=reason, after=GREYLISTED if about_it else 0.0)


def written(text: Text, sender: str, now: int, unsubscribe: Callable[[str], str] | None = None) -> EmailMessage:
    """The message: a text, and HTML if there is any. Its Message-ID is the offer's, so a repeat would be the same.

    Raises ValueError for a header that would end before its end, and what the email package raises.
    """
    message = EmailMessage(policy=POLICY)
    message["From"] = sender
    message["To"] = Address(addr_spec=text.destination)
    message["Subject"] = _one_line(text.subject)
    message["Date"] = format_datetime(datetime.fromtimestamp(now / 1000, UTC))
    message["Message-ID"] = f"<{re.sub(r'[^A-Za-z0-9-]', '-', text.offer)}@{parseaddr(sender)[1].partition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no machine answers it
    if unsubscribe and text.purpose in ("", "third_party"):
        message["List-Unsubscribe"] = f"<{unsubscribe(text.offer)}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
    message.set_content(text.text, cte="quoted-printable")
    if text.html:
        message.add_alternative(text.html, subtype="html", cte="quoted-printable")
    for name, value in message.items():
        if BROKEN.search(POLICY.fold_binary(name, value)):
            raise ValueError(f"`{name}` has a line break in it")
    return message


def _one_line(text: str) -> str:
    """Without control characters, and without what the email package would decode to some (RFC 2047): nothing that is
    filled in can begin a header.

    >>> _one_line("Hi\\r\\nBcc: all@mail.example")
    'Hi Bcc: all@mail.example'
    >>> _one_line("=?utf-8?q?Hi=0D=0ABcc:_all@mail.example?=")
    '= ?utf-8?q?Hi=0D=0ABcc:_all@mail.example?='
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split()).replace("=?", "= ?")


def _words(text: str) -> str:
    return _one_line(text)[:MAX_REASON]
