"""The SMSC's side: listen, check binds, know the sessions of each account."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping

from kairos.smpp.pdu import Bind, BindTransceiverResp, Pdu, encode
from kairos.smpp.session import Handler, Role, Session, SessionOptions
from kairos.smpp.status import Status
from kairos.smpp.tlv import tlvs
from kairos.smpp.wire import Wire

log = logging.getLogger("kairos.smpp")

# (bind PDU, peer's address) -> the account's name, or the ESME_* code to refuse with
Authenticate = Callable[[Bind, str], Awaitable[str | int]]


def same_secret(given: str, expected: str) -> bool:
    """Compare two secrets of any length in a time that tells nothing of where they differ.

    >>> same_secret("öpen", "öpen"), same_secret("open", "opened")
    (True, False)
    """
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def passwords(by_system_id: Mapping[str, str]) -> Authenticate:
    """An `authenticate` for a fixed table; the account is the system_id. An unknown one hears no more than a wrong one.

    The password arrives as Latin-1 text; write a UTF-8 one in the table as its octets read in Latin-1.
    """

    async def authenticate(bind: Bind, _peer: str) -> str | int:
        expected = by_system_id.get(bind.system_id)
        matches = same_secret(bind.password, expected if expected is not None else "no such account")
        return bind.system_id if matches and expected is not None else Status.ESME_RBINDFAIL

    return authenticate


class Server:
    """A listening SMSC; made by `serve`."""

    def __init__(self, authenticate: Authenticate, handle: Handler, options: SessionOptions, system_id: str) -> None:
        encode(BindTransceiverResp(system_id=system_id))  # refuse here what no bind could be answered with
        self._authenticate = authenticate
        self._handle = handle
        self._options = options
        self._system_id = system_id
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
        """The account's next session that takes a deliver_sm, in turn; None while there is none."""
        able = [session for session in self._by_account.get(account, ()) if session.receives]
        if not able:
            return None
        turn = self._turn[account] = self._turn.get(account, -1) + 1
        return able[turn % len(able)]

    async def close(self) -> None:
        """Stop listening, unbind every session, let handlers finish within the options' `grace`."""
        assert self._listener is not None
        self._listener.close()
        sessions = list(self._open)
        await asyncio.gather(*(session.unbind() for session in sessions))
        await asyncio.gather(*(session.finish_handlers(self._options.grace) for session in sessions))
        await self._listener.wait_closed()

    def _wire(self) -> Wire:
        session = Session(
            Role.SMSC, self._handle, self._options, accept=self._accept, on_bound=self._enter, on_close=self._forget
        )
        self._open.add(session)
        return session.wire

    async def _accept(self, session: Session, bind: Bind) -> tuple[Pdu, str]:
        verdict = await self._authenticate(bind, session.peer)
        if isinstance(verdict, str):
            version = tlvs(sc_interface_version=0x34)
            return bind.response(system_id=self._system_id, tlvs=version), verdict
        log.warning("bind of `%s` from %s refused: %s", bind.system_id, session.peer, verdict)
        return bind.response(int(verdict)), ""

    def _enter(self, session: Session) -> None:
        self._by_account.setdefault(session.account, []).append(session)

    def _forget(self, session: Session) -> None:
        self._open.discard(session)
        sessions = self._by_account.get(session.account, [])
        if session in sessions:
            sessions.remove(session)
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
) -> Server:
    """Listen as an SMSC; port 0 takes a free one (`server.port`). Raises OSError where the address cannot be had.

    `system_id` is our name in bind responses, up to 15 octets.
    """
    server = Server(authenticate, handle, options or SessionOptions(), system_id)
    server._listener = await asyncio.get_running_loop().create_server(server._wire, host, port)
    return server
