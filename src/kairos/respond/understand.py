"""What a reply means.

The grammar is small, because a yes costs money:

- A reply begins with keywords and offer numbers (1 to 99), in any order: `yes`, `1`, `YES 1`, `1 oui`.
- STOP among them is a stop, whatever else is said; then HELP is help.
- NO is a no: to the number given, else to the offer made last. Anything may follow it. A promise is kept.
- YES, a number or both is a yes: to the number given, else to the only open offer that was said by text. What was told
  elsewhere, or waits to be, nobody has read there. At most POLITE more words may follow ("yes please", "1 thank you"),
  and none of them may be a keyword; a longer text is unclear ("2 days without network").
- YES and NO together are unclear; a yes with two different numbers gets the question which one.
- What begins with another service's word goes to that service, unchanged.
- A text of at most SHORT words with STOP anywhere in it is a stop: "please stop".
- All else is unclear: help.

A promise is taken by its event, never by reply: a yes to one gets help, with the promise as its offer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from kairos.domain.channel import NOTIFICATION, SMS
from kairos.domain.inputs import Reply
from kairos.domain.subscriber import OpenOffer, State
from kairos.playbook.keywords import tokens
from kairos.respond.confirmation import waits
from kairos.respond.numbers import HIGHEST
from kairos.respond.offers import is_open
from kairos.respond.replies import Replies
from kairos.respond.words import MAX_LETTERS, Table, Tokens, match

Meaning = Literal[
    "accept",  # take `offer`
    "decline",  # `offer` is not wanted, or was declined before: then only say so again
    "stop",  # set the attributes in `withdraws` to false
    "help",  # asked for, or unclear; with an `offer`: one (a promise) that is not taken by reply
    "relay",  # hand on unchanged to `account`
    "expired",  # `offer` has ended
    "taken",  # `offer` was taken before
    "which_one",
    "nothing_open",
    "refused_before",  # `offer` was taken, and the charging system refused it
]

ANSWER: Final[dict[Meaning, str]] = {
    "decline": "declined",
    "stop": "stopped",
    "help": "help",
    "expired": "expired",
    "taken": "already_taken",
    "which_one": "which_one",
    "nothing_open": "nothing_open",
    "refused_before": "refused",
}
"""The message that answers each meaning at once (an accept is answered by its fulfilment, a relay by its service)."""

POLITE: Final = 2
SHORT: Final = 3
TEXTED: Final = (NOTIFICATION, SMS)  # where an offer is read that a bare yes answers

# What a closed offer answers to whoever takes it. After a decline or a STOP it is simply over.
_CLOSED: Final[dict[str, Meaning]] = {
    "accepted": "taken",
    "fulfilled": "taken",
    "bought": "taken",
    "refused": "refused_before",
    "unpaid": "expired",
    "declined": "expired",
    "expired": "expired",
    "withdrawn": "expired",
}


@dataclass(frozen=True, slots=True)
class Understood:
    """What a reply means; `offer` is the one concerned, if it is one."""

    meaning: Meaning
    offer: OpenOffer | None = None
    account: str = ""
    withdraws: tuple[str, ...] = ()


HELP: Final = Understood("help")


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What a reply begins with: its keywords' meanings, its numbers, and the words after them."""

    said: frozenset[str]
    numbers: frozenset[int]
    rest: Tokens


def understand(replies: Replies, reply: Reply, state: State, language: str, now: int) -> Understood:
    """What a reply means for a subscriber of that language; the words of every other language count too. Never raises.

    Changes nothing. An unknown short code has no words: help.
    """
    code = replies.short_codes.get(reply.short_code)
    words = tokens(reply.text[:MAX_LETTERS])
    if code is None or not words:
        return HELP
    table = code.table(language)
    begins = _beginning(table, words)
    if "stop" in begins.said:
        return Understood("stop", withdraws=code.withdraws)
    if begins.said or begins.numbers:
        offers = [offer for offer in state.offers if offer.short_code == reply.short_code]
        return _answer(begins, table, offers, state, now)
    if service := match(code.services, words, 0):
        return Understood("relay", account=service[1])
    if len(words) <= SHORT and "stop" in _keywords(table, words):
        return Understood("stop", withdraws=code.withdraws)
    return HELP


def _beginning(table: Table, words: Tokens) -> _Beginning:
    said, numbers, at = set(), set(), 0
    while at < len(words):
        if found := match(table, words, at):
            said.add(found[1])
            at += len(found[0])
        elif number := _offer_number(words[at]):
            numbers.add(number)
            at += 1
        else:
            break
    return _Beginning(frozenset(said), frozenset(numbers), words[at:])


def _offer_number(word: str) -> int:
    """1..HIGHEST, or 0 for a word that is no offer's number."""
    digits = word.lstrip("0")
    return int(digits) if digits.isdecimal() and len(digits) <= len(str(HIGHEST)) else 0


def _keywords(table: Table, words: Tokens) -> set[str]:
    return {found[1] for at in range(len(words)) if (found := match(table, words, at))}


def _answer(begins: _Beginning, table: Table, offers: list[OpenOffer], state: State, now: int) -> Understood:
    """A reply that begins with help, a no, a yes or a number."""
    declines = "decline" in begins.said
    if "help" in begins.said or (declines and "accept" in begins.said):
        return HELP
    if not declines and (len(begins.rest) > POLITE or _keywords(table, begins.rest)):
        return HELP
    if len(begins.numbers) > 1:
        return Understood("which_one")
    if begins.numbers:
        (number,) = begins.numbers
        return _by_number(number, declines, offers, now)
    return _decline_latest(offers, now) if declines else _accept_only(offers, state, now)


def _by_number(number: int, declines: bool, offers: list[OpenOffer], now: int) -> Understood:
    offer = next((offer for offer in offers if offer.number == number), None)
    if offer is None:
        return Understood("which_one" if any(is_open(o, now) for o in offers) else "nothing_open")
    if not is_open(offer, now):
        again = declines and offer.status == "declined"
        return Understood("decline" if again else _CLOSED.get(offer.status, "expired"), offer)
    if declines:
        return Understood("decline", offer)
    return Understood("help" if offer.kind == "promise" else "accept", offer)


def _accept_only(offers: list[OpenOffer], state: State, now: int) -> Understood:
    """A yes without a number: to the only offer that was texted and can be taken, else explained by what was said last.

    Where only what was not texted is open, it takes the number to tell that they know of it.
    """
    untexted = [offer for offer in offers if is_open(offer, now) and not _texted(offer, state, now)]
    offers = [offer for offer in offers if offer not in untexted]
    open_ones = [offer for offer in offers if offer.status == "open" and is_open(offer, now)]
    open_ones = open_ones or [offer for offer in offers if is_open(offer, now)]
    takeable = [offer for offer in open_ones if _by_reply(offer)]
    if len(takeable) == 1:
        return Understood("accept", takeable[0])
    if takeable:
        return Understood("which_one")
    if open_ones:
        return Understood("help", _latest(open_ones))
    last = _latest(offers)
    explained = Understood(_CLOSED.get(last.status, "expired"), last) if last else Understood("nothing_open")
    return Understood("which_one") if untexted and explained.meaning in ("expired", "nothing_open") else explained


def _by_reply(offer: OpenOffer) -> bool:
    return bool(offer.number) and offer.kind != "promise"


def _texted(offer: OpenOffer, state: State, now: int) -> bool:
    """Whether a text spoke of it: the first, one in the place of another message, or the answer to a yes of theirs.

    What no reply takes needs none.
    """
    if not _by_reply(offer) or offer.channel in TEXTED or offer.status == "unpaid" or waits(offer, now):
        return True
    return any(one.decision == offer.decision and one.channel in TEXTED for one in state.contacts)


def _decline_latest(offers: list[OpenOffer], now: int) -> Understood:
    """A no without a number: to the open offer made last; none open: a no to nothing is acknowledged as such."""
    last = _latest(offer for offer in offers if is_open(offer, now))
    if last:
        return Understood("decline", last)
    last = _latest(offers)
    if last and last.status in ("declined", "accepted", "fulfilled", "bought"):
        return Understood("decline" if last.status == "declined" else "taken", last)
    return Understood("nothing_open")


def _latest(offers: Iterable[OpenOffer]) -> OpenOffer | None:
    return max(offers, key=lambda offer: (offer.made, offer.changed), default=None)
