"""An SMSC that answers wrongly, twice or never: every notification comes, no offer of its own comes twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tests.system.ledgers import KNOWN, applied, happened, told_two_ways, unsettled

from kairos.simulate import Operator, OperatorSettings
from kairos.simulate.smsc import Smsc
from kairos.smpp import GenericNack, Pdu, Session, Status, SubmitSm, SubmitSmResp

Odd = Callable[[Session, SubmitSm, Pdu], Pdu | None]  # what is answered to a message that was taken


def never(_session: Session, _asked: SubmitSm, _answer: Pdu) -> None:
    return None


def twice(session: Session, _asked: SubmitSm, answer: Pdu) -> Pdu:
    session.send(answer)
    return answer


def wrong_sequence(session: Session, asked: SubmitSm, _answer: Pdu) -> None:
    session.send(SubmitSmResp(sequence=asked.sequence + 7_000_000, message_id="odd"))


def unknown_status(_session: Session, asked: SubmitSm, _answer: Pdu) -> Pdu:
    return asked.response(0x4F3)


def without_id(_session: Session, asked: SubmitSm, _answer: Pdu) -> Pdu:
    return asked.response(message_id="")


def nack(_session: Session, asked: SubmitSm, _answer: Pdu) -> Pdu:
    """The only one that took nothing."""
    return GenericNack(sequence=asked.sequence, status=Status.ESME_RSYSERR)


def garbage(session: Session, _asked: SubmitSm, answer: Pdu) -> Pdu:
    session.wire.send(b"\x00\x00\x00\x10\x80\x00\x00\x04\xff\xff\xff\xff\x00\x00\x00\x01")
    session.wire.send(random.Random(1).randbytes(64))
    return answer


@pytest.mark.parametrize("odd", [never, twice, wrong_sequence, unknown_status, without_id, nack, garbage])
async def test_answers_that_are_odd_one_in_ten(launch: Any, a_free_port: Any, odd: Odd) -> None:
    around = OperatorSettings(subscribers=60, rate=60, seed=9, think=(0.02, 0.3), receipt_after=0.02)
    async with launch(operator=around, SMSC_RESPONSE_TIMEOUT_S=1) as system:
        operator: Operator = system.operator
        await system.all_known(streamed=True)
        await operator.smsc.stop()
        count = make_odd(operator.smsc, odd)
        await operator.smsc.start()
        living = asyncio.create_task(operator.run(3600))
        await system.until(
            lambda: count["odd"] >= (3 if odd is garbage else 15), "odd answers"
        )  # garbage ends the bind
        count["over"] = 1
        living.cancel()
        refused = count["odd"] if odd is unknown_status else 0  # a final no: the other parts are not sent any more
        await operator.drain(20 if refused else 90)
        await system.drained()
        status = (await system.http.get(f"{system.server.url}/v1/status")).json()
        too_late = sum(one["timeouts"] for one in status["smsc"])  # answers, odd or not, when kairos had given them up
        figures = operator.figures(final=True)
        assert figures.notifications_acknowledged == len(operator.notifications), system.still_open()
        assert figures.undelivered <= refused, system.still_open()
        assert (figures.charged_twice, figures.unasked, figures.duplicate_offers) == (0, 0, 0), figures
        # A promise that was refused for good and came all the same is none, as far as kairos can know.
        assert len(unsettled(operator)) <= refused, unsettled(operator)
        assert told_two_ways(operator) == {}
        oddly = 0 if odd in (never, wrong_sequence) else count["odd"] * (64 if odd is garbage else 1)
        assert figures.duplicate_notifications <= oddly + too_late
        assert await system.server.end() == 0
        assert applied(system) == happened(operator, KNOWN)


def make_odd(smsc: Smsc, odd: Odd) -> Counter[str]:
    """Each tenth message that it takes is answered oddly, until that is `over`; they are counted."""
    handle = smsc._handle
    count: Counter[str] = Counter()

    async def answer(session: Session, pdu: Pdu) -> Pdu | None:
        count["all"] += isinstance(pdu, SubmitSm)
        if not isinstance(pdu, SubmitSm) or count["all"] % 10 or count["over"]:
            return await handle(session, pdu)
        count["odd"] += 1
        count["offers"] += b"STOP" in pdu.short_message
        answered = pdu.response() if odd is nack else await handle(session, pdu)
        assert answered is not None
        return odd(session, pdu, answered)

    smsc._handle = answer  # type: ignore[method-assign, assignment]
    return count
