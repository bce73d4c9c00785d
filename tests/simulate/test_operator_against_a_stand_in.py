"""The whole operator against a stand-in for kairos, by single steps and for a busy while."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from kairos.simulate.figures import Figures
from kairos.simulate.operator import Operator, OperatorSettings, until
from kairos.smpp import TextError

SMALL = OperatorSettings(subscribers=30, seed=7, think=(0.01, 0.05))


def rich(operator: Operator, language: str = "en") -> str:
    """A subscriber with money who speaks this language."""
    return next(
        one.msisdn
        for one in operator.subscribers
        if one.language == language and one.opening.main > 300 and not one.opening.data_kb
    )


async def offered(operator: Operator, msisdn: str) -> None:
    notification = await operator.end_of_call(msisdn, "sms", 1)
    assert notification is not None
    async with asyncio.timeout(60):
        await operator.arrived(notification)


class TestSingleSteps:
    @pytest.mark.parametrize("language", ["en", "fr", "ar"])
    async def test_a_notification_arrives_with_its_line(self, start: Any, language: str) -> None:
        operator, _fake = await start(replace(SMALL, subscribers=200))
        msisdn = rich(operator, language)
        notification = await operator.end_of_call(msisdn, "voice", 5)
        async with asyncio.timeout(60):
            seen = await operator.arrived(notification)
            await until(lambda: bool(operator.charging.receipts))
        assert seen.text == notification.text + " Data 500MB T$1. Reply 1"
        assert seen.offer is not None
        assert (seen.offer.number, seen.offer.ref) == ("1", notification.ref)
        assert operator.charging.receipts[notification.message_id] == ["delivered"]
        figures = operator.figures()
        assert (figures.notifications_submitted, figures.notifications_delivered, figures.offers_delivered) == (1, 1, 1)
        assert figures.p50_ms > 0

    async def test_a_yes_is_ordered_once_and_answered(self, start: Any) -> None:
        operator, _fake = await start(SMALL)
        msisdn = rich(operator)
        await offered(operator, msisdn)
        before = operator.ocs.balances(msisdn)
        async with asyncio.timeout(60):
            seen = await operator.answered(operator.reply(msisdn, " 1 "))
        assert seen.text == "It is active. Enjoy!"
        after = operator.ocs.balances(msisdn)
        assert (before.main - after.main, after.data_kb) == (100, 500_000)
        figures = operator.figures(final=True)
        assert (figures.accepted, figures.fulfilled, figures.by_kind["bundle"], figures.lost) == (1, 1, 1, 0)
        assert figures.charged_twice == 0

    async def test_the_same_number_again_is_no_second_acceptance(self, start: Any) -> None:
        operator, _fake = await start(SMALL)
        msisdn = rich(operator)
        await offered(operator, msisdn)
        async with asyncio.timeout(60):
            await operator.answered(operator.reply(msisdn, "1"))
            again = operator.reply(msisdn, "1")
            await operator.answered(again)
        assert again.meaning == "repeat"
        assert operator.figures().accepted == 1

    async def test_a_yes_without_the_money_is_refused_with_its_reason(self, start: Any) -> None:
        operator, _fake = await start(SMALL)
        msisdn = rich(operator)
        await offered(operator, msisdn)
        operator.ocs.give_away(msisdn)
        async with asyncio.timeout(60):
            await operator.answered(operator.reply(msisdn, "1"))
        figures = operator.figures(final=True)
        assert figures.refusals == {"insufficient_funds": 1}
        assert (figures.accepted, figures.fulfilled, figures.refused_with_reason, figures.lost) == (1, 0, 1, 0)

    async def test_a_number_that_was_never_offered_is_not_an_acceptance(self, start: Any) -> None:
        operator, _fake = await start(SMALL)
        answer = operator.reply(rich(operator), "4")
        async with asyncio.timeout(60):
            await operator.answered(answer)
        assert answer.meaning == "unclear"
        assert operator.figures().accepted == 0

    async def test_a_promise_is_taken_by_the_recharge_that_qualifies(self, start: Any) -> None:
        operator, fake = await start(SMALL)
        fake.line = lambda *_: " Top up T$5 within 24 hours and get 15 min free."
        msisdn = rich(operator)
        await offered(operator, msisdn)
        _, too_small = operator.recharge(msisdn, 499)
        assert too_small is None
        fake._promised.clear()
        await offered(operator, msisdn)
        _, answer = operator.recharge(msisdn, 500)
        assert answer is not None
        async with asyncio.timeout(60):
            await operator.answered(answer)
        figures = operator.figures(final=True)
        assert (figures.accepted, figures.fulfilled, figures.by_kind["top_up"]) == (1, 1, 1)

    async def test_a_reply_for_another_service_comes_back_from_it(self, start: Any) -> None:
        operator, _fake = await start(SMALL)
        msisdn = rich(operator)
        answer = operator.reply(msisdn, "BAL")
        async with asyncio.timeout(60):
            seen = await operator.answered(answer)
        assert seen.text.startswith("T$")
        assert operator.figures().relayed == 1

    async def test_a_reply_longer_than_a_message_is_refused_here(self, start: Any) -> None:
        operator, _fake = await start(SMALL)
        with pytest.raises(TextError, match="longer than one message"):
            operator.reply(rich(operator), "x" * 161)


class TestItCountsWhatGoesWrong:
    async def test_a_notification_that_comes_twice_is_a_duplicate(self, start: Any) -> None:
        operator, fake = await start(SMALL)
        fake.repeat_notifications = 1
        await offered(operator, rich(operator))
        async with asyncio.timeout(60):
            await until(lambda: operator.figures().duplicates == 1)
        figures = operator.figures()
        assert (figures.notifications_delivered, figures.offers_delivered) == (1, 1)
        assert (figures.duplicate_notifications, figures.duplicate_offers) == (1, 0)

    async def test_an_offer_of_its_own_that_comes_twice_is_a_duplicate(self, start: Any) -> None:
        operator, fake = await start(SMALL)
        msisdn = rich(operator)
        for _ in range(2):
            await fake.say(msisdn, "Night 3GB T$1.20. Reply 9")
        async with asyncio.timeout(60):
            await until(lambda: operator.figures().duplicate_offers == 1)
        assert operator.figures().offers_delivered == 1

    async def test_an_acknowledged_notification_that_never_comes_is_lost(self, start: Any) -> None:
        operator, fake = await start(SMALL)
        fake.swallow_notifications = 1
        await operator.end_of_call(rich(operator), "sms", 1)
        assert not await operator.drain(0.2)
        assert operator.figures().lost == 0
        assert operator.figures(final=True).lost == 1

    async def test_a_yes_that_nobody_answers_is_lost(self, start: Any) -> None:
        operator, fake = await start(SMALL)
        msisdn = rich(operator)
        await offered(operator, msisdn)
        fake._open[msisdn, "1"] = "offer"
        operator.ocs.out_of_service = True
        operator.reply(msisdn, "1")
        assert not await operator.drain(0.2)
        figures = operator.figures(final=True)
        assert (figures.accepted, figures.fulfilled, figures.refused_with_reason, figures.lost) == (1, 0, 0, 1)
        operator.ocs.out_of_service = False
        assert await operator.drain(60)
        assert operator.figures(final=True).lost == 0

    async def test_an_order_that_nobody_asked_for_is_charged_twice(self, start: Any) -> None:
        operator, fake = await start(SMALL)
        msisdn = rich(operator)
        await offered(operator, msisdn)
        async with asyncio.timeout(60):
            await operator.answered(operator.reply(msisdn, "1"))
            await fake._order("another-key", msisdn, "1.00", "MARKET_DATA500_1D", charge=True)
        figures = operator.figures()
        assert (figures.charged_twice, figures.unasked, figures.fulfilled) == (1, 1, 1)


class TestItComesBack:
    async def test_what_was_not_taken_is_sent_again_with_the_same_ref(self, start: Any) -> None:
        operator, fake = await start(SMALL)
        fake.refuse_submissions = 2
        notification = await operator.end_of_call(rich(operator), "sms", 1)
        assert notification.attempts == 3
        fake.silent_replies = 2
        answer = operator.reply(notification.msisdn, "1")
        async with asyncio.timeout(60):
            await operator.answered(answer)
        assert answer.sent.attempts == 3
        assert operator.figures().accepted == 1

    async def test_it_finds_a_kairos_that_was_restarted(self, start: Any) -> None:
        operator, fake = await start(SMALL)
        port, http_port = fake.smpp[1], fake._socket.getsockname()[1]
        await fake.stop()
        msisdn = rich(operator)
        waiting = asyncio.create_task(operator.end_of_call(msisdn, "sms", 1))
        operator.tell("ticket", msisdn, {"open": 1})
        await asyncio.sleep(0.3)
        assert not waiting.done()
        fake.out = type(fake.out)(trust_env=False, timeout=60)
        await fake.start(port, http_port)
        async with asyncio.timeout(60):
            notification = await waiting
            assert notification is not None
            await operator.arrived(notification)
            await until(lambda: not operator.feed.under_way)
        assert [event["type"] for event in fake.events.values()] == ["example.synthetic.ticket"]
        assert operator.figures().notifications_delivered == 1


def busy(figures: Figures) -> bool:
    """Whether enough has happened that something could have gone wrong."""
    return figures.notifications_submitted > 200 and figures.fulfilled > 10 and figures.by_kind["top_up"] > 0


class TestABusyWhile:
    async def test_every_yes_is_settled_and_every_notification_arrives(self, start: Any) -> None:
        operator, fake = await start(replace(SMALL, subscribers=120, rate=150))
        fake.line = lambda text, number: (
            " Top up T$5 and get 15 min free" if "Balance T$0." in text else f" Data 500MB T$1. Reply {number}"
        )
        history = await operator.load_history()
        assert history == len(fake.events)
        living = asyncio.create_task(operator.run(3600))
        async with asyncio.timeout(60):
            await until(lambda: busy(operator.figures()))
        living.cancel()
        assert await operator.drain(60)
        figures = operator.figures(final=True)
        assert figures.notifications_submitted == figures.notifications_delivered
        assert figures.accepted == figures.fulfilled + figures.refused_with_reason
        assert (figures.charged_twice, figures.lost, figures.duplicates, figures.unasked) == (0, 0, 0, 0)
        assert figures.receipts == figures.notifications_submitted
        assert figures.events == figures.notifications_submitted + operator.feed.sent
        assert figures.events_rejected == 0
        assert 0 < figures.p50_ms <= figures.p99_ms
