"""How a running kairos stands: binds, queues, lags, the store, switches; and in words what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import structlog
from msgspec import Struct

import kairos
from kairos.adapters.calls import CALLS
from kairos.adapters.ingress import store_trouble
from kairos.decide import figures as budget_figures
from kairos.decide import frozen
from kairos.domain.switch import CHARGING, MARKETING
from kairos.engine.dispatch import Dispatcher
from kairos.engine.explain import in_money, moment
from kairos.engine.loop import Loop
from kairos.engine.switchboard import Switchboard
from kairos.errors import KairosError
from kairos.ports import Clock, Figures, Store
from kairos.smpp import AccountStatistics, BindStatistics

log = structlog.get_logger("kairos")

OVERDUE = 60_000  # ms that a message, an order or a timer may be late before somebody is told
PASSED_ON = ("dead_letters.unread", "dead_letters.rejected", "dead_letters.unmapped")  # that tell of nothing lost
SMSC, USSD_GATEWAY = "SMSC", "USSD gateway"  # as we call them


class Link(Struct, frozen=True):
    """A bind as it stands. `name`: the SMSC's address or an account; `since`: ms."""

    name: str
    bound: bool
    since: int
    last_error: str = ""


class Links:
    """Binds, looked at every second: since when each stands as it does, said in the log when that changes."""

    def __init__(self, binds: Callable[[], Sequence[BindStatistics]], clock: Clock) -> None:
        self._binds, self.clock = binds, clock
        self.ussd: Callable[[], Sequence[BindStatistics]] = tuple
        self.accounts: Callable[[], Sequence[AccountStatistics]] = tuple
        self.smsc: dict[str, Link] = {}
        self.of_ussd: dict[str, Link] = {}
        self.of_accounts: dict[str, Link] = {}  # those that were ever bound

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(1)

    def look(self) -> None:
        now = self.clock()
        for end, binds, links in ((SMSC, self._binds(), self.smsc), (USSD_GATEWAY, self.ussd(), self.of_ussd)):
            for name, one in named(binds).items():
                before, bound, error = links.get(name), one.bound_for is not None, one.last_error
                if before is None or before.bound != bound or (not bound and before.last_error != error):
                    since = before.since if before and before.bound == bound else now
                    links[name] = Link(name, bound, since, error)
                    self._say(end, links[name], before)
        for account in self.accounts():
            before = self.of_accounts.get(account.account)
            if account.binds and (before is None or before.bound != (account.sessions > 0)):
                self.of_accounts[account.account] = Link(account.account, account.sessions > 0, now)

    def report_smsc(self) -> list[dict[str, Any]]:
        """Each bind to the SMSC with what went over it."""
        return _report(self.smsc, self._binds())

    def report_ussd(self) -> list[dict[str, Any]]:
        """The same of the USSD gateway."""
        return _report(self.of_ussd, self.ussd())

    def report_accounts(self) -> list[dict[str, Any]]:
        """Each account that was ever bound with what went over its sessions."""
        figures = {one.account: _of_account(one) for one in self.accounts()}
        return [msgspec.structs.asdict(link) | figures.get(link.name, {}) for link in self.of_accounts.values()]

    @staticmethod
    def _say(end: str, link: Link, before: Link | None) -> None:
        if link.bound:
            log.info(f"bound to the {end}", address=link.name)
        elif before or link.last_error:  # at the very start nobody knows yet
            log.warning(f"not bound to the {end}; trying again", address=link.name, reason=link.last_error)


def named(binds: Sequence[BindStatistics]) -> dict[str, BindStatistics]:
    """Binds by the address, or where there are several by their kind and place in the list, too."""
    names = [f"{one.address} {one.kind} {place}" for place, one in enumerate(binds, 1)]
    return dict(zip(names if len(binds) > 1 else [one.address for one in binds], binds, strict=True))


def _report(links: Mapping[str, Link], binds: Sequence[BindStatistics]) -> list[dict[str, Any]]:
    by_name = named(binds)
    return [msgspec.structs.asdict(link) | _of_bind(by_name[link.name]) for link in links.values()]


def _of_bind(one: BindStatistics) -> dict[str, Any]:
    counters = one.counters
    return {
        "standby": one.standby,
        "reconnects": max(0, one.binds - 1),
        "sent": counters.requests_sent,
        "throttled": counters.throttled_received,
        "timeouts": counters.timeouts,
        "outstanding": one.outstanding,
        "window": one.window,
    }


def _of_account(one: AccountStatistics) -> dict[str, Any]:
    counters = one.counters
    return {"sessions": one.sessions, "received": counters.requests_received, "throttled": counters.throttled_sent}


class PlaybookWatch(Struct):
    """The playbook in use, and why a newer one in its folder is not."""

    name: str
    revision: str
    since: int  # ms
    refused: str = ""
    refused_since: int = 0

    def taken(self, name: str, revision: str, at: int) -> None:
        self.name, self.revision, self.since = name, revision, at


class Status:
    """Gathers what `kairos status` shows and /health tells."""

    def __init__(
        self,
        loop: Loop,
        dispatcher: Dispatcher,
        switchboard: Switchboard,
        store: Store,
        links: Links,
        playbook: PlaybookWatch,
        path: str,
        letters: Callable[[], Mapping[str, float]] = dict,
        model: Callable[[], str] = str,
        trail: Callable[[], str] = str,
        untold: Callable[[], Iterable[tuple[str, int, str]]] = list,
    ) -> None:
        self.loop, self.dispatcher, self.switchboard, self.store = loop, dispatcher, switchboard, store
        self.links, self.playbook, self.path, self.letters = links, playbook, path, letters
        self.model = model  # why it gives no scores
        self.trail = trail  # what is wrong with the audit trail
        self.untold = untold  # who does not take their news, since when, and why
        self.started = loop.clock()

    async def report(self) -> dict[str, Any]:
        """All of it, as plain data. A store that cannot be read is one of the troubles."""
        now = self.loop.clock()
        figures, error = await self._figures(now)
        troubles = [*self.troubles(), *self._lags(figures, now), *([error] if error else [])]
        switches = self.switchboard
        return {
            "well": not troubles,
            "troubles": troubles,
            "version": kairos.__version__,
            "now": now,
            "started": self.started,
            "playbook": msgspec.structs.asdict(self.playbook),
            "model": self.loop.engine.scorer.version,
            "smsc": self.links.report_smsc(),
            "ussd": self.links.report_ussd(),
            "accounts": self.links.report_accounts(),
            "queues": {
                "waiting": self.loop.waiting,
                "room": self.loop.queue,
                "sending": self.dispatcher.under_way,
                "unsent": [msgspec.structs.asdict(one) for one in figures.unsent] if figures else [],
                "timers_overdue": figures.timers_due if figures else 0,
            },
            "timings_ms": self.loop.timings.figures(),
            "store": {
                "path": self.path,
                "epoch": self.store.epoch,
                "size": figures.size if figures else 0,
                "log_size": figures.log_size if figures else 0,
                "last_error": str(self.loop.failure or ""),
            },
            "switches": {
                "off": [msgspec.structs.asdict(one) for one in switches.engine.switches.off.values()],
                "trouble": switches.trouble,
            },
            "frozen": [
                {"why": window.freeze.why, "until": until}
                for window, until in frozen(switches.engine.program.decide, now)
            ],
            "budgets": await self._budgets(now),
            "dead_letters": {kind.removeprefix("dead_letters."): int(count) for kind, count in self.letters().items()},
            "counts": dict(self.loop.engine.statistics.counts),
        }

    def troubles(self) -> list[str]:
        """What is wrong, in words, the gravest first, as far as the process knows without asking the store."""
        self.links.look()  # a bind may have come since the last look
        return [*self._store_troubles(), *self._link_troubles(), *self._switched_off(), *self._other_troubles()]

    async def _figures(self, now: int) -> tuple[Figures | None, str]:
        try:
            async with asyncio.timeout(5):
                return await asyncio.to_thread(self.store.figures, now - OVERDUE), ""
        except (KairosError, TimeoutError) as error:
            return None, f"the store cannot be read: {error or 'no answer for 5 s'}"

    async def _budgets(self, now: int) -> list[dict[str, Any]]:
        """How each budget stands; none where the store cannot be read, which is told elsewhere."""
        program = self.loop.engine.program
        if not program.decide.budgets:
            return []
        try:
            async with asyncio.timeout(5):
                found = await asyncio.to_thread(budget_figures, program.decide, now, self.store.budgets)
        except (KairosError, TimeoutError):
            return []
        currency = program.playbook.currency
        return [asdict(one) | {"shown": in_money(one, currency)} for one in found]

    def _store_troubles(self) -> Iterator[str]:
        if trouble := store_trouble(self.loop):
            yield trouble
        if self.loop.waiting > self.loop.queue / 2:
            yield f"overloaded: {self.loop.waiting} inputs wait, of {self.loop.queue} that may"

    def _link_troubles(self) -> Iterator[str]:
        now = self.loop.clock()
        for end, links in ((SMSC, self.links.smsc), (USSD_GATEWAY, self.links.of_ussd)):
            for link in (one for one in links.values() if not one.bound):
                because = f": {link.last_error}" if link.last_error else ""
                yield f"not bound to the {end} {link.name} for {lasting(now - link.since)}{because}"
        for link in self.links.of_accounts.values():
            if not link.bound:
                yield f"account `{link.name}` is not bound for {lasting(now - link.since)}; it was before"

    def _switched_off(self) -> Iterator[str]:
        if trouble := self.switchboard.trouble:
            yield f"marketing is off, for the switches cannot be read: {trouble}"
        off = self.switchboard.engine.switches.off
        first = [name for name in (MARKETING, CHARGING) if name in off]
        for name in [*first, *(name for name in sorted(off) if name not in first)]:
            switch = off[name]
            yield f"{name} is off since {moment(switch.at)} UTC, by {switch.who}: {switch.reason}"

    def _other_troubles(self) -> Iterator[str]:
        if self.playbook.refused:
            since = moment(self.playbook.refused_since)
            yield f"the playbook in the folder is refused since {since} UTC; revision {self.playbook.revision} stays"
        if trouble := self.model():
            yield f"the model {self.loop.engine.scorer.version} gives no scores, and marketing is silent: {trouble}"
        if trouble := self.trail():
            yield trouble
        now = self.loop.clock()
        for name, began, why in self.untold():
            if now - began > OVERDUE:
                yield f"news.{name} takes no news for {lasting(now - began)}: {why}"
        letters = sum(count for kind, count in self.letters().items() if kind not in PASSED_ON)
        if letters:
            yield f"{letters:.0f} dead letters wait for somebody to look: `kairos dead-letters list`"

    def _lags(self, figures: Figures | None, now: int) -> Iterator[str]:
        words = {
            "notification": "a notification",
            "sms": "a message",
            "email": "an e-mail",
            "receipt": "a receipt",
            "ocs": "an order",
        }
        for one in figures.unsent if figures else ():
            if self.dispatcher.held_back[one.channel] or one.channel == CALLS:
                continue  # the oldest waits for the end of a freeze, or for an agent: that is planned
            if one.oldest and now - one.oldest > OVERDUE:
                what = words.get(one.channel, f"something for `{one.channel}`")
                yield f"{what} waits for {lasting(now - one.oldest)} to be sent, with {one.count - 1} others"
        if figures and figures.timers_due:
            yield f"{figures.timers_due} timers are overdue by more than a minute"


def lasting(ms: int) -> str:
    """How long something lasts, in words.

    >>> lasting(40_000), lasting(3 * 60_000), lasting(26 * 3_600_000)
    ('40 s', '3 min', '26 h')
    """
    seconds = max(0, ms) // 1000
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
