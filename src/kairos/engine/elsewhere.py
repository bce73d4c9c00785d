"""A purchase through another door (the app, the shop, the USSD menu), or its end; an event tells it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from kairos import enrich, respond
from kairos.decide import Arm
from kairos.domain.event import Event
from kairos.domain.subscriber import OpenOffer, State
from kairos.engine.answers import is_test
from kairos.engine.habits import note_answer
from kairos.engine.work import Work

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

OURS: Final = 3_600_000  # ms around a fulfilment in which news of such a purchase is taken for news of that one


def take_purchase(engine: Engine, work: Work, state: State, event: Event) -> None:
    """What the event names is theirs now; the offer of it that they had before closes as bought, which is a yes to it.

    What was just ordered here is no other purchase: whoever announces all sales announces ours, too.
    """
    arms = _named(engine, event, engine.program.buys)
    if not arms:
        return
    offers = [one for one in state.offers if one.kind != "promise" and _is_of(one, arms)]
    if any(one.status == "accepted" or _just_fulfilled(one, event.happened) for one in offers):
        return
    made = [one for one in offers if one.made <= event.happened and "bought" in respond.TRANSITIONS.get(one.status, ())]
    offer = max(made, key=lambda one: one.made, default=None)
    decision = offer.decision if offer else _contacted(state, arms, event.happened)
    if offer:
        respond.set_status(state, offer.key, "bought", work.now)
        note_answer(engine, work, state, event.happened, offer)
    if decision:
        respond.answered(state)
        key = offer.key if offer else f"{engine.epoch}-{decision}"
        work.log(state.id, decision, key, "bought", event.identity)
    engine.statistics.count(
        "bought_elsewhere" if decision else "bought_elsewhere.unasked", is_test(engine, state, offer)
    )
    named = [arm for arm in arms if offer and _is_of(offer, [arm])] or arms
    enrich.bought_elsewhere(
        state, _products(named), named[0].variant.lasts, named[0].action.name, decision, event.happened
    )


def take_return(engine: Engine, work: Work, state: State, event: Event) -> None:
    """A purchase that was made elsewhere was taken back there: it was none."""
    arms = _named(engine, event, engine.program.returns)
    if not arms:
        return
    given = {product for arm in arms for product in (arm.variant.product, *arm.variant.products)}
    bought = enrich.returned_elsewhere(state, {arm.action.name for arm in arms}, given)
    if bought is None:
        engine.statistics.counts["returned_elsewhere.unknown"] += 1
        return
    if bought.decision:
        key = f"{engine.epoch}-{bought.decision}"
        offer = next((one for one in state.offers if one.decision == bought.decision), None)
        if offer:
            key = offer.key
            respond.set_status(state, key, "reversed", work.now)
        work.log(state.id, bought.decision, key, "reversed", event.identity)
    engine.statistics.count("returned_elsewhere", state.msisdn in engine.program.decide.testers)


def _named(engine: Engine, event: Event, fields: Mapping[str, str]) -> Sequence[Arm]:
    """The arms that sell what the event names: an offer, one of its variants, or a product."""
    name = event.data.get(fields[event.kind])
    arms = engine.program.sold.get(name, ()) if name is not None else ()
    if name is not None and not arms:
        engine.statistics.counts["bought_elsewhere.not_ours"] += 1
    return arms


def _is_of(offer: OpenOffer, arms: Sequence[Arm]) -> bool:
    return any(arm.action.name == offer.action and arm.variant.name == offer.variant for arm in arms)


def _just_fulfilled(offer: OpenOffer, happened: int) -> bool:
    return offer.status == "fulfilled" and abs(offer.changed - happened) < OURS


def _contacted(state: State, arms: Sequence[Arm], happened: int) -> int:
    """The latest decision that spoke of it without an offer that is still known: 0 where there is none.

    A contact knows no variant, so it counts only where any variant of its action was bought.
    """
    whole = {arm.action.name for arm in arms if len(arm.action.variants) == sum(a.action is arm.action for a in arms)}
    known = {offer.decision for offer in state.offers}
    spoke = (c for c in state.contacts if c.action in whole and c.at <= happened and c.decision not in known)
    return max((contact.decision for contact in spoke), default=0)


def _products(arms: Collection[Arm]) -> tuple[str, ...]:
    """What all of them give: nothing where they give different things."""
    given = {arm.variant.products or (arm.variant.product,) for arm in arms}
    return given.pop() if len(given) == 1 else ("",)
