"""One clear text back to a subscriber."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos import enrich
from kairos.deliver import Row, values_of
from kairos.domain.message import Text
from kairos.domain.subscriber import OpenOffer, State
from kairos.engine.work import Work
from kairos.playbook.page_words import LINK

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

# What is said where a playbook has no such message: it need not, or an offer is older than it.
INSTEAD = {"refunded": "refused", "sim_changed": "refused", "confirm": "which_one"}


def answer(
    engine: Engine, work: Work, index: int, state: State, message: str, offer: OpenOffer | None, short_code: str
) -> None:
    """One clear text back, in the language of the offer or of the subscriber."""
    program = engine.program
    row = plain_row(engine, state, work.now)
    values = values_of(
        program.playbook,
        offer,
        (offer.expires if offer else work.now) + row[-1] - row[-2],
        Row(program.places, row),
        short_code,
    )
    if offer and offer.number and engine.link and message in program.linked:
        values[LINK] = engine.link(offer.key)
    language = program.messages.language_for(offer.language) if offer else program.language(row)
    said = message if message in program.messages.templates else INSTEAD[message]
    text = program.messages.text(said, language, values)
    if text and state.msisdn:  # their number may have become somebody else's
        id_ = program.messages.template_id(said, language, values, text)
        told = Text(short_code, state.msisdn, text, template_id=id_, entity_id=program.entity(short_code))
        work.send(index, state.id, "sms", told)


def is_test(engine: Engine, state: State, offer: OpenOffer | None) -> bool:
    """Whether an answer is a test subscriber's: one to an offer is what the offer is."""
    return offer.test if offer else state.msisdn in engine.program.decide.testers


def plain_row(engine: Engine, state: State, now: int) -> tuple[Any, ...]:
    """The row of a moment that no event made."""
    return enrich.row(engine.program.plan, state, "", {}, now, now)
