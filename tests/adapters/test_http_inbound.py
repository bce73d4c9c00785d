"""Behind the HTTP door for those who ask: exact prices, names that ingest resolves, and an agent's screen."""

from __future__ import annotations

from typing import Any

import pytest

from kairos.adapters.inbound import HttpInbound
from kairos.domain.inputs import Fulfilment
from kairos.domain.switch import Switch, Switches
from kairos.errors import EventError

HOUR = 3_600_000
DAY = 24 * HOUR
NUMBER = "+12025550123"


async def test_prices_are_exact_and_any_name_will_do(counter: tuple[HttpInbound, Any]) -> None:
    inbound, _ = counter
    answers = [
        await inbound.decide("1", name, "care", "inbound", b"{}", 3) for name in (NUMBER, "imsi:001010000000001")
    ]
    assert answers[0] is not None
    (told,) = answers[0]["offers"]
    assert (told["price"], told["currency"], told["shown_price"]) == ("45.00", "XTS", "T$45")
    assert (told["text"], told["validity"], told["number"], told["reply_to"]) == (
        "2 GB for 7 days at T$45",
        "7 days",
        1,
        "5000",
    )
    assert answers[1] is not None
    assert answers[1]["offers"] == answers[0]["offers"]


@pytest.mark.parametrize(
    ("event", "data", "said", "field"),
    [
        ("inbond", b"{}", "no action answers `inbond`; did you mean `inbound`?", "event"),
        ("inbound", b'{"app": "video"}', "`app` is not a known field of `inbound`", "app"),
        ("recharge", b'{"amount": "ten"}', "`amount`: ", "amount"),
        ("recharge", b"[1]", "`data` must be an object", "data"),
        ("recharge", b"[" * 100_000, "nested too deeply", ""),
    ],
)
async def test_what_is_no_reason_is_refused(
    counter: tuple[HttpInbound, Any], event: str, data: bytes, said: str, field: str
) -> None:
    with pytest.raises(EventError) as error:
        await counter[0].decide("1", NUMBER, "care", event, data, 3)
    assert said in str(error.value)
    assert error.value.field == field


async def test_an_event_with_its_fields_may_be_the_reason(counter: tuple[HttpInbound, Any]) -> None:
    answer = await counter[0].decide("1", NUMBER, "care", "recharge", b'{"amount": "10.50"}', 3)
    assert answer is not None
    assert [told["variant"] for told in answer["offers"]] == ["large"]


async def test_nobody_is_told_nothing(counter: tuple[HttpInbound, Any]) -> None:
    inbound, _ = counter
    assert await inbound.decide("1", "+12025550199", "care", "inbound", b"{}", 3) is None
    assert await inbound.subscriber("+12025550199") is None
    assert await inbound.respond("2", NUMBER, "nobody-7", "accept", "care", "") == "there is no offer `nobody-7`"
    with pytest.raises(EventError, match="`subscriber`"):
        await inbound.subscriber("imei:1")


async def test_an_agent_sees_all_of_it_on_one_screen(counter: tuple[HttpInbound, Any]) -> None:
    inbound, bench = counter
    told = await inbound.decide("1", NUMBER, "app", "inbound", b"{}", 1)
    assert told is not None
    key = told["offers"][0]["offer"]
    said = await inbound.respond("2", NUMBER, key, "accept", "care", "agent 17")
    assert not isinstance(said, str)
    assert (said["status"], said["offer"]["status"]) == ("accepted", "accepted")
    shown = await inbound.subscriber("imsi:001010000000001")
    assert shown is not None
    assert (shown["msisdn"], shown["known_as"]["imsi"]["value"]) == ("12025550123", "001010000000001")
    assert shown["profile"]["balance"] == {"value": 5000, "shown": "T$50"}
    assert shown["profile"]["plan"] == {"value": "prepaid", "shown": "prepaid", "since": bench.now}
    assert shown["balances"][0] == {"wallet": "main", "unit": "money", "amount": "50.00", "expires": 0}
    assert shown["counters"]["recharges_30d"]["value"] == 0
    (offer,) = shown["offers"]
    assert (offer["status"], offer["channel"], offer["price"]) == ("accepted", "app", "45.00")
    assert [answer["outcome"] for answer in offer["answers"]] == ["accepted"]
    assert offer["said"][0]["text"] == "yes (care, agent 17)"
    decision, before = shown["decisions"]
    assert (decision["said"], decision["channel"], decision["asked_on"]) == ("booster/large", "app", "app")
    assert before["said"] == ""
    assert [one["status"] for one in shown["purchases"]] == ["under_way"]
    (consent,) = shown["consents"]
    assert (consent["consent"], consent["given"]) == ("marketing consent", True)
    assert consent["proof"]["marketing_consent"]["by"] == "test/1"
    row = bench.store.unsent(0, 10)[0]
    bench.apply(Fulfilment(row.id, row.subscriber, key, "done", bench.now, ""))
    shown = await inbound.subscriber(NUMBER)
    assert shown is not None
    assert [one["product"] for one in shown["products"]] == ["DATA2G"]
    assert [one["status"] for one in shown["purchases"]] == ["done"]
    assert [one["outcome"] for one in shown["answers"]] == ["fulfilled", "accepted"]
    assert {one["title"] for one in shown["answers"]} == {"2 GB for 7 days"}


async def test_pauses_have_their_own_names_and_their_end(counter: tuple[HttpInbound, Any]) -> None:
    inbound, bench = counter
    assert await pauses(inbound) == {}
    bench.profile(open_tickets=1.0, shock=bench.now - 10 * DAY)
    held = await pauses(inbound)
    assert held["open complaint"] == 0  # nobody knows
    ends = held["bill shock"]
    assert bench.now + 4 * DAY <= ends <= bench.now + 5 * DAY
    bench.now = ends - 60_000
    assert "bill shock" in await pauses(inbound)
    bench.now = ends
    assert "bill shock" not in await pauses(inbound)
    bench.now += 11 * HOUR - bench.now % DAY + DAY * 2 + 12 * HOUR  # 23:00
    assert (await pauses(inbound))["quiet hours"] == bench.now + 9 * HOUR
    bench.engine.turn(Switches({"marketing": Switch("marketing", False, "wrong prices", "ada", 0)}))
    assert "switch marketing" in await pauses(inbound)


async def pauses(inbound: HttpInbound) -> dict[str, int]:
    shown = await inbound.subscriber(NUMBER)
    assert shown is not None
    return {one["pause"]: one["until"] for one in shown["pauses"]}


async def test_what_was_declined_rests_until_it_says(counter: tuple[HttpInbound, Any]) -> None:
    inbound, bench = counter
    told = await inbound.decide("1", NUMBER, "shop", "inbound", b"{}", 1)
    assert told is not None
    await inbound.respond("2", NUMBER, told["offers"][0]["offer"], "decline", "shop", "")
    shown = await inbound.subscriber(NUMBER)
    assert shown is not None
    assert [(one["action"], one["until"]) for one in shown["rests"]] == [("booster", bench.now + 14 * DAY)]
    assert shown["offers"][0]["answers"] == [{"outcome": "declined", "reason": "shop", "at": bench.now}]


async def test_what_a_contact_was_for_is_said_though_most_are_marketing(counter: tuple[HttpInbound, Any]) -> None:
    inbound, bench = counter
    bench.apply(bench.event("recharge", amount=1))
    shown = await inbound.subscriber(NUMBER)
    assert shown is not None
    assert [one["purpose"] for one in shown["contacts"]] == ["marketing"]
