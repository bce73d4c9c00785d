"""What a subscriber sees, in order, what it means to them, and what they do about it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kairos.simulate import scenario
from kairos.simulate.eocn import Notification, reference
from kairos.simulate.smsc import Arrival, Sent
from kairos.simulate.subscribers import Subscriber

# Of those who take no offer: say no, write nonsense, STOP, ask another service, say nothing.
TURN_DOWN = (35, 7, 3, 7, 48)
BROKE = 0.06  # have given their money away between the offer and the yes
TWICE = 0.1  # send the number once more after the answer
TAPS = 0.6  # open the link of an offer that has one, and tap, rather than reply
PATIENCE = 3_000  # ms that they wait for an answer to anything but a yes


@dataclass(slots=True)
class Offer:
    """An offer as the handset sees it: `number` to answer with, or the `recharge` (minor units) that takes it."""

    msisdn: str
    text: str
    number: str
    recharge: int
    theme: str
    ref: str  # of the notification that it rode on; "" for a message of its own
    at: float
    state: Literal["open", "set_aside", "taken"] = "open"  # set aside: declined, or its yes was refused


@dataclass(frozen=True, slots=True)
class Seen:
    """One message on the handset's screen. A repeated one shows again what was there before."""

    at: float
    text: str
    kind: Literal["notification", "offer", "answer", "other"]
    ref: str = ""
    offer: Offer | None = None
    repeated: bool = False


Meaning = Literal["accept", "decline", "stop", "balance", "unclear", "repeat", "recharge"]


@dataclass(slots=True)
class Answer:
    """What the subscriber did: a reply, or the recharge that takes a promise. `answered` is what came back."""

    msisdn: str
    meaning: Meaning
    at: int  # ms since the epoch
    offer: Offer | None
    sent: Sent | None  # None for a recharge, and where it was said otherwise than by SMS
    channel: str = "sms"  # where it was said
    answered: list[Seen] = field(default_factory=list)

    @property
    def accepts(self) -> bool:
        return self.meaning in ("accept", "recharge")


@dataclass(frozen=True, slots=True)
class Intention:
    """What a subscriber is about to do: send `text`, open a link, or recharge `amount`.

    `broke`: give all the money away first.
    """

    meaning: Meaning
    text: str = ""
    amount: int = 0
    broke: bool = False
    link: str = ""


class Handset:
    """One subscriber's phone. Says one thing at a time: nothing new while an acceptance waits for its answer."""

    def __init__(self, subscriber: Subscriber, rng: random.Random) -> None:
        self.subscriber = subscriber
        self.inbox: list[Seen] = []
        self.answers: list[Answer] = []
        self.offers: list[Offer] = []
        self.repeated_offers = 0
        self.waiting: Answer | None = None
        self.elsewhere = False  # busy with something that is no text: says nothing by SMS meanwhile
        self._rng = rng

    @property
    def msisdn(self) -> str:
        return self.subscriber.msisdn

    def give_up(self, now: int) -> None:
        """Wait no longer for an answer that seems not to come; whoever said yes waits on."""
        if self.waiting is not None and not self.waiting.accepts and now - self.waiting.at > PATIENCE:
            self.waiting = None

    def offer(self, number: str) -> Offer | None:
        """The offer with this number that was not taken yet. Who declined may think better of it."""
        return next((one for one in reversed(self.offers) if one.number == number and one.state != "taken"), None)

    def promise(self, amount: int) -> Offer | None:
        """The oldest open promise that a recharge of this amount takes."""
        return next((one for one in self._promises() if one.state == "open" and one.recharge <= amount), None)

    def _promises(self) -> Iterator[Offer]:
        return (one for one in self.offers if one.recharge)

    def receive(self, arrival: Arrival, notifications: Mapping[str, Notification]) -> Seen:
        """Show a message. `notifications`: the charging system's ledger by Ref, to tell its words from ours."""
        seen = self._read(arrival, notifications)
        self.inbox.append(seen)
        if self.waiting is not None and seen.kind == "answer":
            self.hear(self.waiting, seen)
        return seen

    def hear(self, answer: Answer, seen: Seen) -> None:
        """Take a message as what came back. What was refused may be tried again."""
        answer.answered.append(seen)
        self.waiting = None
        if answer.meaning == "accept" and answer.offer is not None and scenario.refusal_in(seen.text):
            answer.offer.state = "set_aside"

    def _read(self, arrival: Arrival, notifications: Mapping[str, Notification]) -> Seen:
        notification = notifications.get(reference(arrival.text))
        if notification is not None and notification.msisdn == self.msisdn:
            line = arrival.text.replace(notification.text, "", 1).strip()
            again = bool(notification.delivered)
            notification.delivered.append(arrival.at)
            offer = self._offered(line, notification.ref, arrival.at) if line else None
            return Seen(arrival.at, arrival.text, "notification", notification.ref, offer, again)
        if arrival.source in scenario.OTHERS:
            return Seen(arrival.at, arrival.text, "other")
        if scenario.number_in(arrival.text) or scenario.promised_in(arrival.text):
            before = self.repeated_offers
            offer = self._offered(arrival.text, "", arrival.at)
            return Seen(arrival.at, arrival.text, "offer", "", offer, self.repeated_offers > before)
        return Seen(arrival.at, arrival.text, "answer")

    def _offered(self, line: str, ref: str, at: float) -> Offer:
        """The offer in a text. The same text under the same number, or on the same notification, is the same offer."""
        number = scenario.number_in(line)
        known = next((one for one in self.offers if one.text == line and (number or one.ref == ref)), None)
        if known is not None:
            self.repeated_offers += not (ref and ref == known.ref)  # it goes again with its own notification
            return known
        recharge = 0 if number else scenario.promised_in(line)
        offer = Offer(self.msisdn, line, number, recharge, scenario.theme_of(line), ref, at)
        self.offers.append(offer)
        return offer

    def shown(self, text: str, at: float) -> Offer:
        """The offer on a screen that is no text message's: one that was seen before, else a new one."""
        alike = (one for one in self.offers if one.state == "open" and scenario.same_offer(one.text, text))
        known = next(alike, None)
        if known is None:
            known = Offer(self.msisdn, text, "", 0, scenario.theme_of(text), "", at)
            self.offers.append(known)
        return known

    def answer(self, meaning: Meaning, at: int, offer: Offer | None, sent: Sent | None, channel: str = "sms") -> Answer:
        """Note what was done. A no or a STOP ends promises too: whoever recharges later does not mean them."""
        done = Answer(self.msisdn, meaning, at, offer, sent, channel)
        self.answers.append(done)
        if offer is not None and done.accepts:
            offer.state = "taken"
        elif offer is not None and meaning == "decline":
            offer.state = "set_aside"
        if meaning in ("decline", "stop"):
            for one in self._promises():
                one.state = "set_aside" if one.state == "open" else one.state
        self.waiting = done
        return done

    def read_reply(self, text: str) -> tuple[Meaning, Offer | None]:
        """What a text of the subscriber's means, and the offer that it is about.

        A number counts as an acceptance only of an offer that was seen here under this number and was not taken yet; a
        word that says yes, only where one numbered offer is open.
        """
        word = scenario.plain(text)
        if word.isdecimal():
            offer = self.offer(word)
            known = any(one.number == word for one in self.offers)
            return ("accept", offer) if offer else ("repeat" if known else "unclear", None)
        numbered = [one for one in self.offers if one.state == "open" and one.number]
        language = self.subscriber.language
        if word in scenario.ACCEPT[language] and len(numbered) == 1:
            return "accept", numbered[0]
        if word in scenario.DECLINE[language]:
            return "decline", numbered[-1] if numbered else None
        if word in scenario.STOP[language]:
            return "stop", None
        return ("balance" if word.split(" ")[0] == scenario.BALANCE.casefold() else "unclear"), None

    def think(self, seen: Seen) -> Intention | None:
        """What the subscriber wants to do about a message, by taste; None: nothing."""
        offer = seen.offer
        if offer is None or seen.repeated or offer.state != "open" or self.waiting is not None:
            return self._afterthought(seen)
        if not offer.number and not offer.recharge:
            return None  # advice: nothing to take
        if self._rng.random() < self.subscriber.yes[offer.theme]:
            return self._take(offer)
        return self._turn_down()

    def _take(self, offer: Offer) -> Intention:
        if not offer.number:
            return Intention("recharge", amount=max(offer.recharge, self.subscriber.top_up))
        link = scenario.link_in(offer.text)
        if link and self._rng.random() < TAPS:
            return Intention("accept", offer.number, broke=self._rng.random() < BROKE, link=link)
        text = self._rng.choice(("{0}", "{0}", " {0}", "{0} ")).format(offer.number)
        return Intention("accept", text, broke=self._rng.random() < BROKE)

    def _turn_down(self) -> Intention | None:
        language = self.subscriber.language
        choices = (
            Intention("decline", scenario.DECLINE[language][0].upper()),
            Intention("unclear", self._rng.choice(scenario.GIBBERISH)),
            Intention("stop", scenario.STOP[language][0].upper()),
            Intention("balance", scenario.BALANCE),
            None,
        )
        return self._rng.choices(choices, TURN_DOWN)[0]

    def _afterthought(self, seen: Seen) -> Intention | None:
        """Some answer the same number once more, to be sure: it must not be charged again.

        Not after a refusal: that would be a yes, should there be money by then.
        """
        if scenario.refusal_in(seen.text):
            return None
        last = self.answers[-1] if self.answers else None
        number = last.offer.number if last and last.offer and last.meaning == "accept" else ""
        if seen.kind == "answer" and number and self._rng.random() < TWICE:
            return Intention("repeat", number)
        return None
