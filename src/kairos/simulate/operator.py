"""The synthetic operator as one object: start it, point it at kairos, let it live for a while or take single steps.

operator = Operator(OperatorSettings(subscribers=20))
await operator.start()                                  # its SMSC and its order door listen
... start kairos with operator.smsc_port and operator.ocs_url ...
await operator.connect(smpp=("127.0.0.1", 2775), http="http://127.0.0.1:8080")
notification = await operator.end_of_call("12025550100", "voice", 5)
await operator.arrived(notification)
operator.handsets["12025550100"].inbox[-1].text
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from kairos.simulate import eocn, scenario
from kairos.simulate.browser import Browser
from kairos.simulate.eocn import Notification
from kairos.simulate.esmes import Account, ChargingEsme, InfoEsme, Relayed
from kairos.simulate.events import EventFeed, app_start, app_stop, balances_field, vas_purchase
from kairos.simulate.figures import RECHARGE, Figures, count
from kairos.simulate.handsets import Answer, Handset, Intention, Seen
from kairos.simulate.history import history
from kairos.simulate.ocs import Ocs, Recharge, show
from kairos.simulate.ocs_door import Faults, OrderDoor
from kairos.simulate.others import OtherSystems
from kairos.simulate.serials import serials
from kairos.simulate.smsc import Arrival, Smsc
from kairos.simulate.subscribers import Subscriber, pick_app, pick_service, population
from kairos.simulate.telephone import PATH, Telephone
from kairos.simulate.ussd import Dialogue, Screen, UssdGateway

# What one use of a service takes: kB, minutes, or pieces.
QUANTITIES = {"voice": (2, 9), "data": (2, 30), "sms": (1, 1), "mms": (1, 1), "vas": (1, 1)}

GOES_AWAY, REPEATS = 0.1, 0.1  # of those who look at an offer by USSD; of the gateway's steps
COMPLAINS, MAY_LEAVE = 0.003, 0.02  # share of what subscribers do; of what the operator's own model of churn tells
AWAY = 0.1  # of those whose telephone rings
SPOKEN = {"ivr": "a voice calls", "calls": "an agent calls"}
SAYS_NO = "It cannot be taken now."  # the dialler, or the agent, where no text message follows

READS = (0.6, 1.2)  # seconds before a key is pressed
OVER = "over"  # how a page looks whose offer was declined, or has ended
NERVOUS = 0.2  # of those who tap do so twice

_AT_SMSC = Account("kairos", "kairos")  # that kairos binds with, here
_AS_OCS = Account("ocs", "ocs")  # that the charging system binds with, at kairos
_AS_INFO = Account("info", "info")


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """How big and busy the operator is. `rate`: chargeable events a second; `think`: seconds before a subscriber acts.

    `smsc_latency`: seconds from the SMSC to a handset; `receipt_after`: from there to its receipt. `parted`: long
    notifications in several parts, not in a payload. `window`: notifications submitted and not answered, at most.
    `sources`: the other systems that post JSON of their own: traffic detection (`dpi`), the platform for value-added
    services (`vas`); what they would tell goes as CloudEvents, or not at all, where they are not there.
    """

    subscribers: int = 400
    rate: float = 60.0
    seed: int = 1
    host: str = "127.0.0.1"
    smsc_port: int = 0
    ocs_port: int = 0
    smsc_account: Account = _AT_SMSC
    ocs_account: Account = _AS_OCS
    info_account: Account = _AS_INFO
    think: tuple[float, float] = (0.15, 0.8)
    smsc_latency: float = 0.0
    receipt_after: float = 0.05
    parted: bool = False
    window: int = 64
    others: float = 0.0  # messages a second of a content partner
    sources: tuple[str, ...] = ()
    ocs_faults: float = 0.0  # the share of calls at the charging system that go wrong
    ussd_port: int = 0
    dials: float = 0.06  # share of what subscribers do


class Operator:
    """An OCS, an SMSC and handsets, all synthetic, in this event loop. `now` gives ms since the epoch."""

    def __init__(self, settings: OperatorSettings | None = None, now: Callable[[], int] | None = None) -> None:
        self.settings = settings or OperatorSettings()
        self.now = now or (lambda: time.time_ns() // 1_000_000)
        self.subscribers: list[Subscriber] = population(self.settings.subscribers, self.settings.seed)
        self.ocs = Ocs(self.subscribers, self.now)
        self.ocs_faults = Faults(share=self.settings.ocs_faults, chance=self._chance("faults"))
        self.notifications: dict[str, Notification] = {}  # by Ref
        self.handsets = {one.msisdn: Handset(one, self._chance("handset", one.msisdn)) for one in self.subscribers}
        self.recent: deque[tuple[str, str, str]] = deque(maxlen=8)  # (MSISDN, "to" or "from" the handset, text)
        self.strangers: list[Arrival] = []  # messages to numbers that are not ours
        self._ids = serials(self.now())
        self.smsc = Smsc(
            self._on_arrival,
            clock=self.now,
            timer=time.perf_counter,
            ids=self._ids,
            account=self.settings.smsc_account.system_id,
            password=self.settings.smsc_account.password,
            short_code=scenario.SHORT_CODE,
            latency=self.settings.smsc_latency,
            receipt_after=self.settings.receipt_after,
            host=self.settings.host,
            port=self.settings.smsc_port,
        )
        self.ussd = UssdGateway(
            time.perf_counter, host=self.settings.host, port=self.settings.ussd_port, on_pushed=self._on_pushed
        )
        self.browser = Browser()
        self.telephone = Telephone(self._picks_up, self._hangs_up)
        self._may_leave: set[str] = set()  # by their score
        self._door: OrderDoor | None = None
        self.feed = EventFeed(ids=self._ids, clock=self.now)
        self.sources = {name: EventFeed(ids=self._ids, clock=self.now, source=name) for name in self.settings.sources}
        self.charging = ChargingEsme(
            self.settings.ocs_account,
            source=scenario.SHORT_CODE,
            timer=time.perf_counter,
            parted=self.settings.parted,
            window=self.settings.window,
        )
        self.info = InfoEsme(self.settings.info_account, self._on_relayed)
        self.others = OtherSystems(
            [one.msisdn for one in self.subscribers], self.settings.others, self._chance("others")
        )
        self._rng = self._chance("traffic")
        self._alive = False  # whether handsets act by themselves
        self._history = 0
        self._chargeable = 0
        self._in_flight: dict[str, int] = {}  # notifications under way, by MSISDN
        self._submitting = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen: SMSC and order door."""
        await self.smsc.start()
        await self.ussd.start()
        host, port = self.settings.host, self.settings.ocs_port
        self._door = OrderDoor(self.ocs, host, port, self.ocs_faults, self.telephone.routes)
        await self._door.start()
        for feed in self.feeds:
            await feed.start()

    @property
    def feeds(self) -> tuple[EventFeed, ...]:
        """All ways over HTTP."""
        return (self.feed, *self.sources.values())

    @property
    def smsc_port(self) -> int:
        return self.smsc.port

    @property
    def ocs_port(self) -> int:
        assert self._door is not None
        return self._door.port

    @property
    def ocs_url(self) -> str:
        """Where orders are posted."""
        return f"http://{self.settings.host}:{self.ocs_port}/v1/orders"

    @property
    def calls_url(self) -> str:
        """Where the dialler takes requests for calls."""
        return f"http://{self.settings.host}:{self.ocs_port}{PATH}"

    @property
    def ports(self) -> dict[str, object]:
        """Where everything listens, for whoever starts kairos."""
        ports = {"smsc_port": self.smsc_port, "ocs_port": self.ocs_port, "ussd_port": self.ussd.port}
        return {**ports, "ocs_url": self.ocs_url, "calls_url": self.calls_url}

    async def connect(self, smpp: tuple[str, int], http: str, key: str = "", partner: str = "") -> None:
        """Bind both ESMEs to kairos and begin to post events; called again, it moves to another address.

        Returns at once, and binding goes on until it succeeds: `await operator.bound()` to wait for it.
        """
        for feed in self.feeds:
            feed.url, feed.key = http.rstrip("/"), key
        self.browser.proxied = self.feed.url
        self.telephone.url, self.telephone.key = self.feed.url, key
        self.others.url, self.others.key = self.feed.url, partner
        await self.charging.connect(*smpp)
        await self.info.connect(*smpp)

    async def bound(self) -> None:
        """Wait until both ESMEs are bound to kairos, and kairos to our SMSC. Put a timeout around it."""
        await self.charging.bound()
        await self.info.bound()
        await until(lambda: self.smsc.bound)

    async def stop(self) -> None:
        """Leave kairos and stop listening."""
        self._alive = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self.charging.close(), self.info.close())
        await self.others.stop()
        await self.telephone.stop()
        for feed in self.feeds:
            await feed.stop()
        await self.browser.close()
        await self.smsc.close()
        await self.ussd.close()
        if self._door is not None:
            await self._door.stop()

    # --- single steps ---------------------------------------------------------------------------

    async def load_history(self) -> int:
        """Tell kairos who the subscribers are and what they did in the last 30 days; returns the number of events."""
        events = history(self.subscribers, self.feed, self.ocs, self.now(), self._chance("history"))
        for at in range(0, len(events), 500):
            await self.feed.post(events[at : at + 500])
        self._history += len(events)
        return len(events)

    async def end_of_call(self, msisdn: str, service: str, quantity: int) -> Notification | None:
        """Charge a use (kB, minutes or pieces) and submit its notification; returns when it was acknowledged.

        None where the subscriber could not pay for anything.
        """
        notification = self._charge(msisdn, service, quantity)
        if notification is not None:
            await self._submit(notification)
        return notification

    def submit_at(self, scheduled: float, msisdn: str, service: str, quantity: int) -> Notification | None:
        """As `end_of_call`, but returns at once; its latency counts from `scheduled` (seconds)."""
        notification = self._charge(msisdn, service, quantity)
        if notification is not None:
            notification.submitted = scheduled
            self._spawn(self._submit(notification))
        return notification

    async def arrived(self, notification: Notification) -> Seen:
        """Wait until the notification is on its handset. Put a timeout around it."""
        handset = self.handsets[notification.msisdn]
        await until(lambda: bool(notification.delivered))
        return next(seen for seen in handset.inbox if seen.ref == notification.ref)

    async def answered(self, answer: Answer) -> Seen:
        """Wait until an answer to the reply (or redeemed recharge) is on the handset. Put a timeout around it."""
        await until(lambda: bool(answer.answered))
        return answer.answered[-1]

    def reply(self, msisdn: str, text: str) -> Answer:
        """The subscriber sends a text to the short code."""
        handset = self.handsets[msisdn]
        meaning, offer = handset.read_reply(text)
        answer = handset.answer(meaning, self.now(), offer, None)
        answer.sent = self.smsc.send(msisdn, text)
        self.recent.append((msisdn, "from", text))
        return answer

    async def tap(self, msisdn: str, number: str, link: str, *, twice: bool = False) -> Answer:
        """The subscriber opens the link of the offer with that number, and takes it there."""
        handset = self.handsets[msisdn]
        answer = handset.answer("accept", self.now(), handset.offer(number), None, "page")
        self.recent.append((msisdn, "from", link))
        screen = await self.browser.take(link, msisdn, twice=twice)
        said_no = any(one.meaning in ("decline", "stop") for one in handset.answers)
        if screen and screen.looks == OVER and said_no:  # their no by SMS crossed it, and the page says so
            answer.meaning = "repeat"
        if screen and not screen.settled and handset.waiting is answer:  # no text message follows
            handset.hear(answer, Seen(time.perf_counter(), screen.news, "answer"))
        return answer

    def recharge(self, msisdn: str, amount: int) -> tuple[Recharge, Answer | None]:
        """The subscriber recharges (minor units), and kairos is told; an Answer where that takes a promise."""
        handset = self.handsets[msisdn]
        done = self.ocs.recharge(msisdn, amount)
        promise = handset.promise(amount)
        answer = handset.answer("recharge", done.at, promise, None, RECHARGE) if promise else None
        self.tell("recharge", msisdn, {"amount": show(amount), "balances": balances_field(done.balances)})
        return done, answer

    def tell(self, kind: str, msisdn: str, data: dict[str, object]) -> None:
        """An event over HTTP: recharge, data_session, profile, ticket, bill_shock, churn."""
        self.feed.add(self.feed.event(kind, msisdn, data))

    # --- a busy while ---------------------------------------------------------------------------

    async def run(self, seconds: float) -> None:
        """Subscribers live for that long: they call, surf, text, buy, recharge, and answer what they are offered."""
        self._alive = True
        self._spawn(self.telephone.work())
        began = time.perf_counter()
        done = 0
        while (passed := time.perf_counter() - began) < seconds:
            due = int(passed * self.settings.rate)
            for _ in range(due - done):
                self._something_happens()
            done = due
            self.others.tick(passed)
            await asyncio.sleep(0.005)

    async def drain(self, at_most: float = 10.0) -> bool:
        """Start nothing new, and wait for what is under way; True where nothing is left."""
        self._alive = False
        try:
            async with asyncio.timeout(at_most):
                await until(lambda: self.quiet, every=0.05)
        except TimeoutError:
            return False
        return True

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way: notifications, events, texts, receipts, and answers to a yes."""
        return not (
            self._in_flight
            or self._submitting
            or any(feed.under_way for feed in self.feeds)
            or self.smsc.under_way
            or self.others.under_way
            or any(one.elsewhere for one in self.handsets.values())
            or any(one.waiting is not None and one.waiting.accepts for one in self.handsets.values())
        )

    def figures(self, *, final: bool = False) -> Figures:
        """What happened so far, from the ledgers; `final`: nothing is under way, so what has no end yet is lost."""
        figures = count(self.notifications.values(), self.handsets.values(), self.ocs)
        if final:
            figures.lost = figures.undelivered + figures.unsettled
        figures.events = self._chargeable + sum(feed.sent for feed in self.feeds)
        figures.history = self._history
        figures.events_rejected = sum(feed.results["rejected"] for feed in self.feeds)
        figures.receipts = sum(map(len, self.charging.receipts.values()))
        figures.relayed = len(self.info.relayed)
        figures.gateway = self.others.figures()
        figures.dialogues = len(self.ussd.dialogues)
        figures.dialogues_repeated, figures.dialogues_alike = self.ussd.repeated, self.ussd.alike
        return figures

    # --- what subscribers do --------------------------------------------------------------------

    def _something_happens(self) -> None:
        subscriber = self._rng.choice(self.subscribers)
        if self._in_flight.get(subscriber.msisdn):
            return  # one thing at a time
        chance = self._rng.random()
        if chance < COMPLAINS:
            self._complain(subscriber)
        elif chance < COMPLAINS + MAY_LEAVE:
            self._score(subscriber)
        elif chance < COMPLAINS + MAY_LEAVE + self.settings.dials and self.ussd.bound:
            self._dial(subscriber)
        elif self.ocs.accounts[subscriber.msisdn].main < 50 and chance < 0.3:
            self._top_up(subscriber)
        else:
            self._use(subscriber)

    def _complain(self, subscriber: Subscriber) -> None:
        if self._rng.random() < 0.5:
            self.tell("ticket", subscriber.msisdn, {"open": 1})
        else:
            self.tell("bill_shock", subscriber.msisdn, {"amount": show(self._rng.randint(1500, 4000))})

    def _score(self, subscriber: Subscriber) -> None:
        """Whoever was about to leave thinks better of it the next time."""
        self._may_leave ^= {subscriber.msisdn}
        self.tell("churn", subscriber.msisdn, {"score": 0.8 if subscriber.msisdn in self._may_leave else 0.1})

    def _dial(self, subscriber: Subscriber) -> None:
        handset = self.handsets[subscriber.msisdn]
        if handset.waiting is None and not handset.elsewhere:
            handset.elsewhere = True
            self._spawn(self._by_ussd(handset))

    def _top_up(self, subscriber: Subscriber) -> None:
        handset = self.handsets[subscriber.msisdn]
        if handset.waiting is None and not handset.elsewhere:
            self.recharge(subscriber.msisdn, subscriber.top_up)

    def _use(self, subscriber: Subscriber) -> None:
        service = pick_service(subscriber, self._rng)
        quantity = self._rng.randint(*QUANTITIES[service]) * (1000 if service == "data" else 1)
        notification = self._charge(subscriber.msisdn, service, quantity)
        if notification is None:
            self._top_up(subscriber)
            return
        if service == "data":
            self._surf(subscriber, notification.usage.quantity * 1000)
        elif service == "vas" and "vas" in self.sources:
            item, minor = self._rng.randrange(3), notification.usage.cost
            self.sources["vas"].add(vas_purchase(next(self._ids), subscriber.msisdn, item, minor, self.now()))
        self._spawn(self._submit(notification))

    def _surf(self, subscriber: Subscriber, size: int) -> None:
        """A session with an app: traffic detection reports its start and its stop; where there is none, it is told."""
        app, msisdn, now = pick_app(subscriber, self._rng), subscriber.msisdn, self.now()
        if "dpi" not in self.sources:
            self.tell("data_session", msisdn, {"app": app, "bytes": size})
            return
        if app == "video":
            self.sources["dpi"].add(app_start(next(self._ids), msisdn, app, now))
        self.sources["dpi"].add(app_stop(next(self._ids), msisdn, app, now - 60_000, now, size))

    def _charge(self, msisdn: str, service: str, quantity: int) -> Notification | None:
        ref = next(self._ids)
        before = self.ocs.balances(msisdn)
        usage = self.ocs.use(msisdn, service, quantity, ref)
        if usage is None:
            return None
        language = self.handsets[msisdn].subscriber.language
        notification = Notification(ref, msisdn, usage, eocn.text(language, usage, ref, before))
        self.notifications[ref] = notification
        self._chargeable += 1
        self._in_flight[msisdn] = self._in_flight.get(msisdn, 0) + 1
        return notification

    async def _submit(self, notification: Notification) -> None:
        """Until acknowledged, over whatever bind there is."""
        self._submitting += 1
        try:
            await self.charging.submit(notification)
        finally:
            self._submitting -= 1
        if notification.refused:
            self._landed(notification.msisdn)

    def _landed(self, msisdn: str) -> None:
        left = self._in_flight.get(msisdn, 0) - 1
        if left > 0:
            self._in_flight[msisdn] = left
        else:
            self._in_flight.pop(msisdn, None)

    # --- what handsets do -----------------------------------------------------------------------

    def _on_arrival(self, arrival: Arrival) -> None:
        handset = self.handsets.get(arrival.destination)
        if handset is None:
            self.strangers.append(arrival)
            return
        handset.give_up(self.now())
        seen = handset.receive(arrival, self.notifications)
        self.others.arrived += seen.kind == "other"
        if seen.kind == "notification" and not seen.repeated:
            self._landed(handset.msisdn)
        if seen.offer is not None or seen.kind == "answer":
            self.recent.append((handset.msisdn, "to", seen.offer.text if seen.offer else seen.text))
        if self._alive and (intention := handset.think(seen)) is not None:
            self._spawn(self._act(handset, intention))

    async def _act(self, handset: Handset, intention: Intention) -> None:
        await asyncio.sleep(self._rng.uniform(*self.settings.think))
        if not self._alive or handset.waiting is not None or handset.elsewhere:
            return
        if intention.broke:
            self.ocs.give_away(handset.msisdn)
        if intention.link:
            await self.tap(handset.msisdn, intention.text, intention.link, twice=self._rng.random() < NERVOUS)
        elif intention.meaning == "recharge":
            self.recharge(handset.msisdn, intention.amount)
        else:
            self.reply(handset.msisdn, intention.text)

    def _on_relayed(self, told: Relayed) -> None:
        """The other service answers by itself, past kairos."""
        if told.msisdn not in self.handsets:
            return
        left = self.ocs.balances(told.msisdn)
        text = f"{eocn.SIGN}{show(left.main)}"
        self._on_arrival(Arrival((), scenario.INFO_CODE, told.msisdn, text, time.perf_counter()))

    # --- by USSD ---------------------------------------------------------------------------------

    def _on_pushed(self, dialogue: Dialogue) -> None:
        """A dialogue that kairos began is on the screen."""
        handset = self.handsets.get(dialogue.msisdn)
        if handset is None or not self._alive or handset.waiting is not None or handset.elsewhere:
            return  # they do not look
        handset.elsewhere = True
        self._spawn(self._by_ussd(handset, dialogue))

    async def _by_ussd(self, handset: Handset, dialogue: Dialogue | None = None) -> None:
        """Dial, look at the first offer, and take it, turn it down, or go away; or do so with one that was pushed."""
        try:
            async with asyncio.timeout(30):
                if dialogue is None:
                    dialogue = await self.ussd.dial(handset.msisdn, scenario.USSD_CODE)
                    await self._pressed(dialogue, "1")
                    await self._pressed(dialogue, "1")
                await self._decided(handset, dialogue, await dialogue.screen())
        except TimeoutError:
            return  # the handset shows an error
        finally:
            handset.elsewhere = False

    async def _pressed(self, dialogue: Dialogue, key: str) -> None:
        """Read the screen, and press a key where one is awaited."""
        screen = await dialogue.screen()
        await asyncio.sleep(self._rng.uniform(*READS))
        if screen.more:
            await self.ussd.press(dialogue, key)

    async def _decided(self, handset: Handset, dialogue: Dialogue, screen: Screen) -> None:
        language = handset.subscriber.language
        yes, no = screen.key(*scenario.ACCEPT[language]), screen.key(*scenario.DECLINE[language])
        if not (screen.more and yes and no):
            return  # there is nothing to take
        await asyncio.sleep(self._rng.uniform(*READS))
        offer = handset.shown(screen.text.split("\n")[0], screen.at)
        busy = handset.waiting is not None
        if busy or self._rng.random() < GOES_AWAY:
            await self.ussd.abort(dialogue)
            return
        taken = self._rng.random() < handset.subscriber.yes[offer.theme]
        self.recent.append((handset.msisdn, "from", f"{scenario.USSD_CODE} {'yes' if taken else 'no'}"))
        said = handset.answer("accept" if taken else "decline", self.now(), offer, None, "ussd")
        await self.ussd.press(dialogue, yes if taken else no)
        last = await dialogue.screen()
        if self._rng.random() < REPEATS:
            await self.ussd.again(dialogue, yes if taken else no)
        if handset.waiting is said and (not taken or scenario.refusal_in(last.text)):  # no text message follows
            handset.hear(said, Seen(last.at, last.text, "answer"))

    # --- by telephone -----------------------------------------------------------------------------

    async def _picks_up(self, msisdn: str, channel: str, text: str) -> Answer | None:
        """They listen to the offer, and say yes or no."""
        handset = self.handsets.get(msisdn)
        if handset is None or not self._alive or handset.waiting is not None or handset.elsewhere:
            return None
        if self._rng.random() < AWAY:
            return None
        handset.elsewhere = True
        await asyncio.sleep(self._rng.uniform(*READS))
        offer = handset.shown(text, time.perf_counter())
        taken = self._rng.random() < handset.subscriber.yes[offer.theme]
        self.recent.append((msisdn, "from", f"{SPOKEN[channel]}: {'yes' if taken else 'no'}"))
        return handset.answer("accept" if taken else "decline", self.now(), offer, None, channel)

    def _hangs_up(self, said: Answer, text_follows: bool) -> None:
        handset = self.handsets[said.msisdn]
        handset.elsewhere = False
        if handset.waiting is said and not text_follows:
            handset.hear(said, Seen(time.perf_counter(), SAYS_NO, "answer"))

    # --- small print ----------------------------------------------------------------------------

    def _chance(self, *what: str) -> random.Random:
        return random.Random("/".join((str(self.settings.seed), *what)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def until(holds: Callable[[], bool], every: float = 0.005) -> None:
    """Wait until a condition holds. Put a timeout around it."""
    while not holds():  # noqa: ASYNC110 (any condition: nobody announces it)
        await asyncio.sleep(every)
