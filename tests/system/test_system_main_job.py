"""The main job through the real server, each step once, as the operator sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")

# A call of 6 minutes costs T$0.30; then, at any hour, the offer for missed calls outweighs all others.
LINES = {
    "en": "With Talk 60 this call would have cost nothing. T$0.70, this hour only: reply 1",
    "fr": "Avec Talk 60 cet appel ne vous aurait rien pris. T$0.70, cette heure seulement : répondez 1",
    "ar": "مع 60min كانت هذه المكالمة مجانية. T$0.70 خلال ساعة: أرسل 1",
}
TAKEN = "Talk 60 is active. Price: T$0.70. Enjoy!"
HELP = "Reply with an offer's number to take it, NO to decline, STOP for no more offers."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(launch_in: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    async with launch_in(tmp_path_factory.mktemp("main"), LEARNING_ON="true") as system:
        yield system


async def offered(system: Any) -> tuple[str, Any]:
    """A subscriber to whom a call brought an offer, and what was seen of it."""
    msisdn = system.with_language("en")
    await system.known(msisdn)
    seen = await system.call(msisdn)
    assert seen.offer is not None, seen.text
    return msisdn, seen


@pytest.mark.parametrize("language", list(LINES))
async def test_an_offer_rides_on_the_notification_in_the_subscribers_language(system: Any, language: str) -> None:
    msisdn = system.with_language(language)
    await system.known(msisdn)
    seen = await system.call(msisdn)
    assert seen.text == f"{system.operator.notifications[seen.ref].text}\n{LINES[language]}"


async def test_one_reply_takes_it_under_the_offers_key_and_is_confirmed(system: Any) -> None:
    msisdn, _ = await offered(system)
    told = await system.reply(msisdn, " 1 ")
    assert told.text == TAKEN
    (order,) = system.orders(msisdn)
    assert (order.request.product, order.request.price, order.request.charge) == ("MISSED_TALK60_1D", "0.70", True)
    assert (order.request.action, order.request.variant) == ("missed_talk", "hour")
    assert order.charged == 70
    assert system.operator.ocs.balances(msisdn).voice_min == 60
    (decision,) = await system.decisions(msisdn)
    assert {response["offer"] for response in decision["responses"]} == {order.key}
    assert order.key.endswith(f"-{decision['decision']}")
    assert [response["outcome"] for response in decision["responses"]] == ["accepted", "fulfilled"]


async def test_a_second_yes_is_told_so_and_charges_nothing(system: Any) -> None:
    msisdn, _ = await offered(system)
    await system.reply(msisdn, "1")
    left = system.operator.ocs.balances(msisdn).main
    told = await system.reply(msisdn, "1")
    assert told.text == "You have Talk 60 already. It was charged only once."
    (order,) = system.orders(msisdn)
    assert order.asked == 1
    assert system.operator.ocs.balances(msisdn).main == left


async def test_two_at_once_charge_once(system: Any) -> None:
    msisdn, _ = await offered(system)
    for text in ("1", "yes", "1"):
        system.operator.reply(msisdn, text)
    await system.until(lambda: len(system.inbox(msisdn)) == 4, "an answer to each")
    assert sorted(system.inbox(msisdn)[1:]) == sorted(
        [TAKEN, *["You have Talk 60 already. It was charged only once."] * 2]
    )
    assert len(system.orders(msisdn)) == 1


async def test_no_is_remembered(system: Any) -> None:
    msisdn, _ = await offered(system)
    told = await system.reply(msisdn, "no")
    assert told.text == "All right, no Talk 60 for now. Thank you for telling us."
    again = await system.call(msisdn)
    assert "Talk 60" not in again.text
    assert system.orders(msisdn) == []


async def test_after_stop_notifications_go_on_without_offers(system: Any) -> None:
    msisdn, _ = await offered(system)
    told = await system.reply(msisdn, "Stop!")
    assert told.text == "You will get no more offers from us. Notices about your account still come."
    for _ in range(2):
        again = await system.call(msisdn)
        assert again.text == system.operator.notifications[again.ref].text
    (decision, *_) = await system.decisions(msisdn)
    assert decision["known"]["marketing_consent"] is False
    assert "Nothing was charged" in (await system.reply(msisdn, "1")).text
    assert system.orders(msisdn) == []


async def test_what_is_for_another_service_reaches_it_unchanged(system: Any) -> None:
    msisdn, _ = await offered(system)
    said = "bal  ñ €?"
    system.operator.reply(msisdn, said)
    await system.until(lambda: any(one.msisdn == msisdn for one in system.operator.info.relayed), "the relayed reply")
    (relayed,) = [one for one in system.operator.info.relayed if one.msisdn == msisdn]
    assert (relayed.short_code, relayed.text) == ("5000", said)


async def test_what_is_unclear_gets_one_help(system: Any) -> None:
    msisdn, _ = await offered(system)
    assert (await system.reply(msisdn, "who is this")).text == HELP
    system.operator.reply(msisdn, "asdf")
    assert (await system.reply(msisdn, "1")).text == TAKEN
    assert system.inbox(msisdn).count(HELP) == 1


async def test_too_little_money_is_told_and_nothing_is_charged(system: Any) -> None:
    msisdn, _ = await offered(system)
    system.operator.ocs.give_away(msisdn)
    told = await system.reply(msisdn, "yes")
    assert told.text == "Talk 60 costs T$0.70, and your balance is too low. Nothing was charged. Please top up first."
    (order,) = system.orders(msisdn)
    assert (order.status, order.charged) == (402, 0)
    assert system.operator.ocs.balances(msisdn).main == 0


async def test_an_unknown_product_is_a_clear_no(system: Any) -> None:
    msisdn, _ = await offered(system)
    del system.operator.ocs.accounts[msisdn]  # the charging system knows the number no more
    told = await system.reply(msisdn, "1")
    assert told.text == "Sorry, Talk 60 could not be activated. Nothing was charged."


async def test_a_promise_is_kept_once(system: Any) -> None:
    msisdn = system.with_language("en")
    await system.known(msisdn, main=200, top_up=500)
    seen = await system.text_charged(msisdn)
    assert seen.offer is not None, seen.text
    assert seen.offer.recharge == 1000, seen.text
    assert system.operator.recharge(msisdn, 500)[1] is None  # too small to take it
    _, answer = system.operator.recharge(msisdn, 1000)
    told = await system.said_to(answer)
    assert told.text.startswith("Bonus 30min is active.")
    (order,) = system.orders(msisdn)
    assert (order.request.product, order.request.charge, order.charged) == ("TOPUP_BONUS_30MIN", False, 0)
    system.operator.recharge(msisdn, 2000)
    await system.until(lambda: not system.operator.feed.under_way, "the second recharge to be taken")
    assert (await system.reply(msisdn, "help")).text == HELP
    assert len(system.orders(msisdn)) == 1


async def test_the_charging_system_gets_one_receipt_under_the_id_it_was_answered_with(system: Any) -> None:
    _, seen = await offered(system)
    notification = system.operator.notifications[seen.ref]
    receipts = system.operator.charging.receipts
    assert notification.message_id not in system.operator.smsc.accepted  # an id of our own
    await system.until(lambda: receipts[notification.message_id], "the receipt")
    assert receipts[notification.message_id] == ["delivered"]


async def test_what_no_pattern_reads_goes_on_untouched_and_its_receipt_comes_back(system: Any) -> None:
    msisdn = system.with_language("en")
    await system.known(msisdn)
    text = "Your parcel {x} costs T$1. Ref 12 [at the shop]"
    said = await system.submit(msisdn, text)
    await system.until(lambda: system.inbox(msisdn) == [text], "the text")
    assert said.message_id in system.operator.smsc.accepted
    receipts = system.operator.charging.receipts
    await system.until(lambda: receipts[said.message_id], "the receipt")
    assert receipts[said.message_id] == ["delivered"]


async def test_a_notification_that_is_submitted_again_is_one(system: Any) -> None:
    msisdn, seen = await offered(system)
    notification = system.operator.notifications[seen.ref]
    first = notification.message_id
    async with asyncio.timeout(60):
        await system.operator.charging.submit(notification)
    assert notification.message_id == first
    assert (await system.reply(msisdn, "1")).text == TAKEN
    assert len(notification.delivered) == 1
    (decision,) = await system.decisions(msisdn)
    assert decision["known"]["spend_7d"] == 30


async def test_without_riding_the_notification_is_plain_and_the_offer_follows(launch: Any) -> None:
    async with launch(ACCOUNTS_OCS_RIDES="false") as system:
        msisdn = system.with_language("en")
        await system.known(msisdn)
        seen = await system.call(msisdn)
        assert seen.text == system.operator.notifications[seen.ref].text
        await system.until(lambda: system.operator.handsets[msisdn].offers, "the offer")
        (offer,) = system.operator.handsets[msisdn].offers
        assert offer.text == (
            "With Talk 60 your last call would have cost nothing. "
            "Take it within the hour for T$0.70: reply 1. STOP ends offers."
        )
        assert (await system.reply(msisdn, "1")).text == TAKEN
        assert len(system.orders(msisdn)) == 1
        assert await system.server.end() == 0
