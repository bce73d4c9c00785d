"""The operator's own figures: matched by id from its ledgers at the end, or so far. Nothing here asks kairos."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kairos.simulate import scenario
from kairos.simulate.eocn import Notification
from kairos.simulate.handsets import Answer, Handset, Offer
from kairos.simulate.ocs import KINDS, Ocs, Order, Recharge

PROMISE = "top_up"  # the kind that a recharge takes
RECHARGE = "recharge"  # where a promise is taken


@dataclass(slots=True)
class Figures:
    """What happened, counted from outside kairos. Times in milliseconds.

    accepted = fulfilled + refused_with_reason + unsettled; at the end what is unsettled or undelivered is `lost`.
    """

    events: int = 0  # chargeable events, and live events over HTTP
    notifications_submitted: int = 0
    notifications_delivered: int = 0
    offers_delivered: int = 0
    accepted: int = 0
    declined: int = 0
    fulfilled: int = 0
    refused_with_reason: int = 0
    charged_twice: int = 0
    lost: int = 0
    duplicates: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    by_kind: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS.values(), 0))
    by_channel: dict[str, int] = field(default_factory=dict)  # accepted, by where the yes was said
    # beyond what was asked for
    notifications_acknowledged: int = 0
    notifications_refused: int = 0
    duplicate_notifications: int = 0
    duplicate_offers: int = 0
    offers_riding: int = 0
    refusals: dict[str, int] = field(default_factory=dict)  # by reason
    unsettled: int = 0  # acceptances without an order or a refusal
    undelivered: int = 0  # acknowledged, and not at the handset
    unasked: int = 0  # orders that no acceptance accounts for
    replies: int = 0
    stops: int = 0
    receipts: int = 0
    relayed: int = 0
    dialogues: int = 0  # by USSD
    dialogues_repeated: int = 0  # steps that the gateway brought twice
    dialogues_alike: int = 0  # and that got the same screen
    history: int = 0
    events_rejected: int = 0
    gateway: dict[str, int] = field(default_factory=dict)  # messages of other systems


@dataclass(slots=True)
class Acceptance:
    """One yes: a reply, or the recharge that takes a promise; with what became of it."""

    msisdn: str
    at: int
    offer: Offer | None
    answer: Answer | None
    order: Order | None = None

    @property
    def reason(self) -> str:
        """Why it was refused, as the subscriber was told; "" where it was not."""
        told = [seen.text for seen in self.answer.answered] if self.answer else []
        if not told:
            return ""
        if self.order is not None:
            return "" if self.order.done else self.order.reason
        return next(filter(None, map(scenario.refusal_in, told)), "")

    def suits(self, order: Order) -> bool:
        """Whether it could be the cause: a promise's order comes from a recharge, any other from a reply."""
        return self.answer is None or (self.answer.meaning == "recharge") == (order.kind == PROMISE)

    def likeness(self, order: Order) -> tuple[bool, bool, bool]:
        """How much speaks for the order being this one's: what the answer said, the price that the offer named, and
        that the answer named it, too. A yes that crossed a no may have taken the no's answer for its own.
        """
        told = [seen.text for seen in self.answer.answered] if self.answer else []
        agrees = not told or order.done != any(map(scenario.refusal_in, told))
        priced = self.offer is not None and order.charged in scenario.amounts_in(self.offer.text)
        return agrees, priced, any(order.charged in scenario.amounts_in(text) for text in told)

    @property
    def fulfilled(self) -> bool:
        return self.order is not None and self.order.done


def settle(
    answers: Iterable[Answer], orders: Sequence[Order], recharges: Sequence[Recharge]
) -> tuple[list[Acceptance], list[Order]]:
    """One subscriber's acceptances, each with its order; and the orders that nobody asked for.

    An order belongs to the earliest acceptance before it that has none yet: of those that were answered as it came out
    and whose offer named its price, if there are any. A promise's order belongs to a recharge: one that took a promise
    seen on the handset, else any before it.
    """
    accepted = [Acceptance(one.msisdn, one.at, one.offer, one) for one in answers if one.accepts]
    spare = list(recharges)
    unasked = []
    for order in orders:
        waiting = [one for one in accepted if one.order is None and one.at <= order.at and one.suits(order)]
        chosen = max(waiting, key=lambda one: one.likeness(order), default=None)  # the earliest of equals
        if chosen is None and order.kind == PROMISE:
            chosen = _recharged(accepted, spare, order)
        if chosen is None:
            if not _tried_again(order, orders):
                unasked.append(order)
        else:
            chosen.order = order
    return accepted, unasked


def _tried_again(order: Order, orders: Sequence[Order]) -> bool:
    """Whether it is a yes of before, asked once more after a refusal (KEY~2), and refused again: it cost nobody.

    After a crash an SMSC may bring a yes again that it has brought already, after the refusal was told.
    """
    first, _, again = order.key.partition("~")
    return (
        bool(again)
        and not order.charged
        and any(one.key.partition("~")[0] == first for one in orders if one is not order)
    )


def _recharged(accepted: list[Acceptance], recharges: list[Recharge], order: Order) -> Acceptance | None:
    """A recharge that took a promise before the handset had seen it; not one that is counted already."""
    counted = {one.at for one in accepted}
    spare = next((one for one in recharges if one.at <= order.at and one.at not in counted), None)
    if spare is None:
        return None
    recharges.remove(spare)
    late = Acceptance(spare.msisdn, spare.at, None, None)
    accepted.append(late)
    return late


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of the values does not exceed; 0.0 of none.

    >>> percentile([3.0, 1.0, 2.0], 0.5), percentile([1.0] * 99 + [9.0], 0.99), percentile([], 0.5)
    (2.0, 1.0, 0.0)
    """
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)] if ordered else 0.0


def count(notifications: Iterable[Notification], handsets: Iterable[Handset], ocs: Ocs) -> Figures:
    """The figures of these three ledgers; `events` and what went over HTTP is the operator's to add."""
    figures = Figures()
    _count_notifications(figures, list(notifications))
    recharges: defaultdict[str, list[Recharge]] = defaultdict(list)
    for one in ocs.recharges:
        recharges[one.msisdn].append(one)
    figures.charged_twice = ocs.charges_repeated()
    for handset in handsets:
        _count_handset(figures, handset, ocs.orders_of.get(handset.msisdn, []), recharges.get(handset.msisdn, []))
    figures.duplicates = figures.duplicate_notifications + figures.duplicate_offers
    return figures


def _count_notifications(figures: Figures, notifications: Sequence[Notification]) -> None:
    delivered = [one for one in notifications if one.delivered]
    latencies = [one.seconds * 1000 for one in delivered]
    figures.notifications_submitted = len(notifications)
    figures.notifications_acknowledged = sum(one.acknowledged > 0 for one in notifications)
    figures.notifications_refused = sum(one.refused != "" for one in notifications)
    figures.notifications_delivered = len(delivered)
    figures.duplicate_notifications = sum(len(one.delivered) - 1 for one in delivered)
    figures.undelivered = sum(one.acknowledged > 0 and not one.delivered for one in notifications)
    figures.p50_ms = round(percentile(latencies, 0.5), 2)
    figures.p99_ms = round(percentile(latencies, 0.99), 2)


def _count_handset(figures: Figures, handset: Handset, orders: Sequence[Order], recharges: Sequence[Recharge]) -> None:
    accepted, unasked = settle(handset.answers, orders, recharges)
    meanings = Counter(one.meaning for one in handset.answers)
    figures.offers_delivered += len(handset.offers)
    figures.offers_riding += sum(one.ref != "" for one in handset.offers)
    figures.duplicate_offers += handset.repeated_offers
    figures.declined += sum(one.meaning == "decline" and one.offer is not None for one in handset.answers)
    figures.stops += meanings["stop"]
    figures.replies += sum(meanings.values()) - meanings["recharge"]
    figures.accepted += len(accepted)
    figures.unasked += len(unasked)
    figures.charged_twice += sum(order.charged > 0 for order in unasked)
    for one in accepted:
        channel = one.answer.channel if one.answer else RECHARGE
        figures.by_channel[channel] = figures.by_channel.get(channel, 0) + 1
        _count_acceptance(figures, one)


def _count_acceptance(figures: Figures, one: Acceptance) -> None:
    if one.fulfilled and one.order is not None:
        figures.fulfilled += 1
        figures.by_kind[one.order.kind] += 1
    elif one.reason:
        figures.refused_with_reason += 1
        figures.refusals[one.reason] = figures.refusals.get(one.reason, 0) + 1
    else:
        figures.unsettled += 1
