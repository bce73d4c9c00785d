"""Whatever channel an offer was made on, any other takes it, once; and what was declined on one comes back on none.

The table is of every pair, from the channels that playbooks have words for: a new one is in it without being named.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.conftest import TEXTS, Bench, compiled

from kairos.domain.channel import ADDRESSED, CHANNELS, NOTIFICATION, OWN, PULLED
from kairos.domain.inbound import Visit, Word
from kairos.domain.inputs import Fulfilment
from kairos.domain.message import Order, Text
from kairos.domain.subscriber import Bucket, OpenOffer
from kairos.engine.program import Program

NUMBER = "12025550123"
DAY = 86_400_000
REPLY = "sms reply"
ANSWERING = (REPLY, "care", "app", "page", "ussd")  # `POST /v1/responses` at an agent, the app, and kairos' own doors
TOLD = 'booster_told: {en: {subject: "{title}", text: "{title} for {price}: reply {number}"}}\n'
MAIL = TEXTS["vocabulary.yaml"].replace("{plan: text,", "{plan: text, mail: text,")
REACHED = {  # on every channel, also where that takes an address
    "messages.yaml": TEXTS["messages.yaml"] + TOLD,
    "vocabulary.yaml": MAIL.replace("attributes:", "attributes:\n  mail: {type: text, from: [profile.mail]}"),
    "contact_policy.yaml": TEXTS["contact_policy.yaml"]
    + f"addresses: {{{', '.join(f'{channel}: mail' for channel in ADDRESSED)}}}\n",
}
serial = itertools.count()


@pytest.fixture(scope="module")
def speaking() -> Callable[[str], Program]:
    """The small playbook with one offer, told on that channel alone."""
    programs: dict[str, Program] = {}

    def on(channel: str) -> Program:
        if channel not in programs:
            offer = TEXTS["offers/booster.yaml"]
            before, _, rest = offer.partition("treatments:")
            message = "booster_told" if channel in OWN else "booster_line"
            told = f"treatments:\n  one: {{channel: {channel}, message: {message}}}\n"
            booster = before + told + rest[rest.index("accept_within") :]
            booster = booster.replace("data_session: 5 minutes}", "inbound: always}")
            alone = {name: text for name, text in TEXTS.items() if not name.startswith("offers/")}
            programs[channel] = compiled(alone | REACHED | {"offers/booster.yaml": booster})
        return programs[channel]

    return on


class Phone:
    """A subscriber with T$50 and little data, who is told of something on one channel and answers on another."""

    def __init__(self, bench: Bench, speaking: Callable[[str], Program]) -> None:
        self.bench, self.speaking = bench, speaking
        bench.profile(mail="ada@example.com")

    def told(self, channel: str) -> OpenOffer | None:
        """What is open after they could be told something on that channel."""
        self.bench.engine.use(self.speaking(channel))
        balances = [Bucket("main", 5000), Bucket("data", 100_000, self.bench.now + DAY)]
        text = "Your call cost T$0.35." if channel == NOTIFICATION else ""
        event = self.bench.event("end_of_call", notification=text, service="voice", cost=35, balances=balances)
        if channel in PULLED:  # the balance is told, too late to be answered; then they ask
            self.bench.apply(msgspec.structs.replace(event, happened=self.bench.now - DAY // 24))
            self.bench.apply(Visit(f"v{next(serial)}", NUMBER, channel, self.bench.now))
        else:
            self.bench.apply(event)
        return next((offer for offer in self.bench.state().offers if offer.status == "open"), None)

    def say(self, channel: str, offer: OpenOffer, *, yes: bool = True) -> str:
        """What came back: in a text, or to whoever asked for them."""
        if channel == REPLY:
            work = self.bench.apply(self.bench.reply(str(offer.number) if yes else "NO"))
            texts = [row for row in work.batch.outgoing if row.channel == "sms"]
            return msgspec.msgpack.decode(texts[-1].payload, type=Text).text if texts else ""
        said: Any = "accept" if yes else "decline"
        word = Word(f"w{next(serial)}", NUMBER, offer.key, said, channel, self.bench.now)
        (answer,) = self.bench.apply(word).answers
        assert (answer.status, [told.key for told in answer.offers]) == ("applied", [offer.key])
        return str(answer.outcome)

    def orders(self) -> list[Order]:
        store = self.bench.store
        rows = store.outgoing(range(1, store.next_ids().outgoing))
        return [msgspec.msgpack.decode(row.payload, type=Order) for row in rows if row.channel == "ocs"]

    def fulfilled(self) -> None:
        store = self.bench.store
        row = [row for row in store.outgoing(range(1, store.next_ids().outgoing)) if row.channel == "ocs"][-1]
        key = msgspec.msgpack.decode(row.payload, type=Order).key
        self.bench.apply(Fulfilment(row.id, row.subscriber, key, "done", self.bench.now))


@pytest.fixture
def phone(speaking: Callable[[str], Program]) -> Phone:
    return Phone(Bench(speaking(NOTIFICATION)), speaking)


@pytest.mark.parametrize("takes", ANSWERING)
@pytest.mark.parametrize("speaks", CHANNELS)
def test_what_one_channel_said_another_takes_and_every_third_is_told_that_they_have_it(
    phone: Phone, speaks: str, takes: str
) -> None:
    offer = phone.told(speaks)
    assert offer
    assert offer.channel == speaks
    assert phone.say(takes, offer) in ("accepted", "")  # a reply is answered when it is fulfilled
    already = f"You have {offer.title} already."
    assert [phone.say(third, offer) for third in ANSWERING] == [already, *["accepted"] * 4]
    phone.fulfilled()
    assert [phone.say(third, offer) for third in ANSWERING] == [already, *["fulfilled"] * 4]
    assert [order.price for order in phone.orders()] == [offer.price]


@pytest.mark.parametrize("declines", ANSWERING)
@pytest.mark.parametrize("speaks", CHANNELS)
def test_what_was_declined_on_one_channel_comes_back_on_none(phone: Phone, speaks: str, declines: str) -> None:
    offer = phone.told(speaks)
    assert offer
    assert phone.say(declines, offer, yes=False) == ("All right." if declines == REPLY else "declined")
    for days in (2, 13):  # past every limit of messages, and within its cool-down
        phone.bench.now = offer.made + days * DAY
        assert [phone.told(channel) for channel in CHANNELS] == [None] * len(CHANNELS)
    phone.bench.now = offer.made + 15 * DAY
    assert phone.told(speaks)
    assert phone.orders() == []


@pytest.mark.parametrize("asks", PULLED)
@pytest.mark.parametrize("speaks", CHANNELS)
def test_what_one_channel_said_another_says_unchanged_and_without_a_write(phone: Phone, speaks: str, asks: str) -> None:
    offer = phone.told(speaks)
    assert offer
    phone.bench.engine.use(phone.speaking(asks))
    work = phone.bench.apply(Visit(f"v{next(serial)}", NUMBER, asks, phone.bench.now))
    (told,) = work.answers[0].offers
    assert (told.key, told.price, told.until, told.number) == (offer.key, offer.price, offer.expires, offer.number)
    assert not work.batch
