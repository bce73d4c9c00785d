"""The SMSC's side: listen, check binds, know the sessions of each account."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kairos.smpp.bucket import Bucket
from kairos.smpp.pdu import Bind, BindTransceiverResp, Pdu, encode
from kairos.smpp.session import Handler, Role, Session, SessionOptions
from kairos.smpp.statistics import AccountStatistics, Counters, total
from kairos.smpp.status import Status, status_name
from kairos.smpp.tlv import tlvs
from kairos.smpp.wire import Wire

log = logging.getLogger("kairos.smpp")

# (bind PDU, peer's address) -> the account's name, or the ESME_* code to refuse with
Authenticate = Callable[[Bind, str], Awaitable[str | int]]


SHARE = 4  # the part of all connections that one account may have: a quarter

_SALT = os.urandom(16)


def _digest(secret: str) -> bytes:
    """Digests have one length, so comparing them tells nothing of the secrets' lengths either."""
    return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), key=_SALT, digest_size=32).digest()


def passwords(by_system_id: Mapping[str, str]) -> Authenticate:
    """An `authenticate` for a fixed table; the account is the system_id. An unknown one hears no more than a wrong one.

    Checking takes as long for an unknown account as for a known one. The password arrives as Latin-1 text of any
    length; write a UTF-8 one in the table as its octets read in Latin-1.
    """
    expected = {system_id: _digest(password) for system_id, password in by_system_id.items()}
    nobody = os.urandom(32)

    async def authenticate(bind: Bind, _peer: str) -> str | int:
        matches = hmac.compare_digest(_digest(bind.password), expected.get(bind.system_id, nobody))
        return bind.system_id if matches else Status.ESME_RBINDFAIL

    return authenticate


class Server:
    """A listening SMSC; made by `serve`."""

    def __init__(
        self,
        authenticate: Authenticate,
        handle: Handler,
        options: SessionOptions,
        system_id: str,
        *,
        rates: Mapping[str, float] | None = None,
        connections: int = 1000,
    ) -> None:
        encode(BindTransceiverResp(system_id=system_id))  # refuse here what no bind could be answered with
        self._authenticate = authenticate
        self._handle = handle
        self._options = options
        self._system_id = system_id
        self._rates = rates or {}
        self._limits: dict[str, Bucket] = {}
        self._most = connections
        self._binds: dict[str, int] = {}  # accounts that were ever bound, and how often
        self._past: dict[str, Counters] = {}  # of their sessions that ended
        self._open: set[Session] = set()
        self._by_account: dict[str, list[Session]] = {}
        self._turn: dict[str, int] = {}
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._listener is not None
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts that have a bound session now."""
        return tuple(self._by_account)

    def sessions(self, account: str) -> tuple[Session, ...]:
        """The account's bound sessions, oldest first."""
        return tuple(session for session in self._by_account.get(account, ()) if session.is_bound)

    def receiver(self, account: str) -> Session | None:
        """The account's session with the most room that takes a deliver_sm, equals in turn; None if there is none."""
        able = [session for session in self._by_account.get(account, ()) if session.receives]
        if not able:
            return None
        turn = self._turn[account] = self._turn.get(account, -1) + 1
        at = turn % len(able)
        return min((*able[at:], *able[:at]), key=lambda session: session.window.load)

    async def close(self) -> None:
        """Stop listening; every session finishes what is under way and unbinds (see `Session.unbind`)."""
        assert self._listener is not None
        self._listener.close()
        sessions = list(self._open)
        await asyncio.gather(*(session.unbind() for session in sessions))
        await asyncio.gather(*(session.finish_handlers(self._options.grace) for session in sessions))
        await self._listener.wait_closed()

    def statistics(self) -> tuple[AccountStatistics, ...]:
        """How each account stands that was ever bound, and what went over all its sessions."""
        return tuple(self._account_statistics(account) for account in self._binds)

    def _account_statistics(self, account: str) -> AccountStatistics:
        sessions = self._by_account.get(account, ())
        return AccountStatistics(
            account=account,
            sessions=len(self.sessions(account)),
            binds=self._binds[account],
            bound_for=max((session.bound_for or 0.0 for session in self.sessions(account)), default=None),
            outstanding=sum(session.outstanding for session in sessions),
            waiting=sum(session.window.waiting for session in sessions),
            window=sum(session.window.size for session in sessions),
            rate=self._rates.get(account, 0.0),
            counters=total(self._past.get(account, Counters()), *(session.counters for session in sessions)),
        )

    def _wire(self) -> Wire:
        return Session(
            Role.SMSC,
            self._handle,
            self._options,
            accept=self._accept,
            on_open=self._admit,
            on_bound=self._enter,
            on_close=self._forget,
        ).wire

    def _admit(self, session: Session) -> None:
        """A connection stands (with TLS, its handshake too)."""
        self._open.add(session)
        if len(self._open) > self._most:
            log.warning("%s turned away: %d connections are open", session.peer, self._most)
            session.abort("too many connections")

    async def _accept(self, session: Session, bind: Bind) -> tuple[Pdu, str]:
        verdict = await self._authenticate(bind, session.peer)
        if isinstance(verdict, str) and len(self.sessions(verdict)) >= max(1, self._most // SHARE):
            log.warning("bind of `%s` from %s refused: it has %d", verdict, session.peer, self._most // SHARE)
            return bind.response(Status.ESME_RALYBND), ""
        if isinstance(verdict, str):
            version = tlvs(sc_interface_version=0x34)
            return bind.response(system_id=self._system_id, tlvs=version), verdict
        why = "no such account, or another password" if verdict == Status.ESME_RBINDFAIL else status_name(verdict)
        log.warning("bind of `%s` from %s refused: %s", bind.system_id, session.peer, why)
        return bind.response(int(verdict)), ""

    def _enter(self, session: Session) -> None:
        account = session.account
        self._by_account.setdefault(account, []).append(session)
        self._binds[account] = self._binds.get(account, 0) + 1
        if rate := self._rates.get(account):
            now = asyncio.get_running_loop().time()
            session.limit = self._limits.setdefault(account, Bucket(rate, max(1.0, rate), now))

    def _forget(self, session: Session) -> None:
        self._open.discard(session)
        sessions = self._by_account.get(session.account, [])
        if session in sessions:
            sessions.remove(session)
            self._past.setdefault(session.account, Counters()).add(session.counters)
            if not sessions:
                del self._by_account[session.account]


async def serve(
    host: str,
    port: int,
    authenticate: Authenticate,
    handle: Handler,
    options: SessionOptions | None = None,
    *,
    system_id: str = "kairos",
    tls: ssl.SSLContext | None = None,
    rates: Mapping[str, float] | None = None,
    connections: int = 1000,
) -> Server:
    """Listen as an SMSC; port 0 takes a free one (`server.port`). Raises OSError where the address cannot be had.

    `system_id` is our name in bind responses, up to 15 octets. `rates`: requests a second that an account may send over
    all its sessions, a second's worth at once; beyond it they are answered with ESME_RTHROTTLED. More connections than
    `connections` at a time are turned away, and an account's binds beyond a quarter of them are refused.
    """
    options = options or SessionOptions()
    server = Server(authenticate, handle, options, system_id, rates=rates, connections=connections)
    secure: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": options.bind_within} if tls else {}
    server._listener = await asyncio.get_running_loop().create_server(server._wire, host, port, **secure)
    return server
