"""A purchase through another door: a yes to what was offered, no second sale by reply, undone where it is returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.conftest import MSISDN

from kairos.decide import explain
from kairos.domain.decision import Decision
from kairos.domain.inbound import Word
from kairos.domain.inputs import Delivery, Fulfilment, Response
from kairos.domain.subscriber import Bucket, OpenOffer
from kairos.engine.lessons import Lessons
from kairos.engine.work import Answer
from kairos.errors import PlaybookError

HOUR = 3_600_000
DAY = 24 * HOUR
EVENTS = "events:\n  app: {bought: text, refunded: text, has: products, note: number}\n"
POLICY = """
contact_only_when: {marketing consent: marketing_consent}
bought_by: [app.bought]
returned_by: [app.refunded]
"""


@pytest.fixture
def shop(bench_with: Callable[..., Any], texts: dict[str, str]) -> Callable[..., Any]:
    """A bench with an app through which they buy, too."""

    def build(**files: str) -> Any:
        vocabulary = texts["vocabulary.yaml"].replace("events:\n", EVENTS)
        bench = bench_with({"vocabulary.yaml": vocabulary, "contact_policy.yaml": POLICY} | files)
        bench.profile()
        return bench

    return build


def call(bench: Any) -> dict[str, tuple[str, str]]:
    """What became of each arm: its state and why."""
    balances = [Bucket("main", 9000), Bucket("data", 100_000, bench.now + DAY)]
    work = bench.apply(bench.event("end_of_call", notification="Ref 1", service="voice", cost=1, balances=balances))
    made = msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)
    return {verdict.arm: (verdict.state, verdict.reason) for verdict in explain(bench.program.decide, made)}


def offered(bench: Any) -> OpenOffer:
    """booster/large, which is worth more."""
    call(bench)
    (offer,) = bench.state().offers
    assert (offer.action, offer.variant, offer.status) == ("booster", "large", "open")
    return offer  # type: ignore[no-any-return]


def outcomes(bench: Any, offer: OpenOffer) -> list[tuple[str, str]]:
    return [(response.outcome, response.reason) for response in bench.store.responses(offer.key)]


@pytest.mark.parametrize("name", ["booster", "booster/large", "DATA2G"])
def test_what_is_open_is_closed_as_bought_and_no_reply_takes_it_again(shop: Callable[..., Any], name: str) -> None:
    bench = shop()
    offer = offered(bench)
    bench.now += HOUR
    bench.apply(bench.event("app", identity="app/7", bought=name))
    assert [one.status for one in bench.state().offers] == ["bought"]
    assert outcomes(bench, offer) == [("bought", "app/7")]
    work = bench.apply(bench.reply("1"))
    assert [row.channel for row in work.batch.outgoing] == ["sms"], "nothing is ordered"
    assert b"You have 2 GB for 7 days already." in work.batch.outgoing[0].payload
    assert call(bench)["booster/large"] == ("limit", "already taken")
    (answer,) = bench.apply(Word("w1", MSISDN, offer.key, "accept", "care", bench.now)).answers
    assert (answer.outcome, answer.reason.split(":")[0]) == ("fulfilled", "they bought it through another door")
    owned = bench.state().products[0]
    assert (owned.product, owned.until, owned.action) == ("DATA2G", bench.now + 7 * DAY, "booster")
    assert bench.engine.statistics.counts["bought_elsewhere"] == 1


def test_another_variant_is_no_yes(shop: Callable[..., Any]) -> None:
    bench = shop()
    offer = offered(bench)
    bench.apply(bench.event("app", bought="DATA500"))
    assert [one.status for one in bench.state().offers] == ["open"]
    assert outcomes(bench, offer) == []
    assert [(one.product, one.decision) for one in bench.state().products] == [("DATA500", 0)]


def test_an_event_told_twice_buys_once_and_another_is_another_purchase(shop: Callable[..., Any]) -> None:
    bench = shop()
    offer = offered(bench)
    for identity in ("app/1", "app/1", "app/2"):
        bench.now += HOUR
        bench.apply(bench.event("app", identity=identity, bought="booster/large"))
    assert outcomes(bench, offer) == [("bought", "app/1")]
    assert [one.decision for one in bench.state().products] == [offer.decision, 0]


def test_what_had_expired_or_was_declined_is_a_yes_all_the_same_and_what_came_later_is_none(
    shop: Callable[..., Any],
) -> None:
    bench = shop()
    offer = offered(bench)
    bench.apply(bench.reply("no"))
    bench.now += 2 * HOUR
    bench.apply(replace(bench.event("app", bought="DATA2G"), happened=offer.made - 1))
    assert outcomes(bench, offer) == [("declined", "")], "it was bought before it was offered"
    bench.apply(bench.event("app", identity="app/8", bought="DATA2G"))
    assert outcomes(bench, offer) == [("declined", ""), ("bought", "app/8")]
    assert [one.status for one in bench.state().offers] == ["bought"]


def test_days_later_when_the_offer_is_forgotten_the_contact_tells_of_it(shop: Callable[..., Any]) -> None:
    weekly = {"contact_policy.yaml": POLICY + "limits: [{at_most: 9, per: 7 days}]\n"}
    bench = shop(**weekly)
    offer = offered(bench)
    bench.now += DAY
    bench.apply(*bench.store.timers_due(bench.now, 10))
    bench.now += 3 * DAY
    bench.profile(language="fr")
    assert bench.state().offers == []
    bench.apply(bench.event("app", bought="DATA2G"))
    assert outcomes(bench, offer) == [("expired", "")], "the contact does not know which of them it was"
    bench.apply(bench.event("app", identity="app/9", bought="booster"))
    assert outcomes(bench, offer) == [("expired", ""), ("bought", "app/9")]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_days_after_a_yes_another_purchase_is_no_second_yes_to_it(
    shop: Callable[..., Any], texts: dict[str, str], elsewhere: bool
) -> None:
    twice = texts["offers/booster.yaml"] + "repurchase: at most 2 per 30 days\n"
    weekly = POLICY + "limits: [{at_most: 9, per: 7 days}]\n"
    bench = shop(**{"contact_policy.yaml": weekly, "offers/booster.yaml": twice})
    offer = offered(bench)
    if elsewhere:
        bench.apply(bench.event("app", identity="app/1", bought="booster"))
    else:
        order = bench.apply(bench.reply("1")).batch.outgoing[0]
        bench.apply(Fulfilment(order.id, bench.state().id, offer.key, "done", bench.now))
    said = outcomes(bench, offer)
    bench.now += 4 * DAY
    bench.profile(language="fr")
    assert bench.state().offers == []
    bench.apply(bench.event("app", identity="app/9", bought="booster"))
    assert outcomes(bench, offer) == said
    assert call(bench)["booster/large"] == ("limit", "bought often enough"), "they are two purchases"


def test_news_of_what_was_ordered_here_is_no_other_purchase(shop: Callable[..., Any]) -> None:
    bench = shop()
    offer = offered(bench)
    order = bench.apply(bench.reply("1")).batch.outgoing[0]
    bench.apply(bench.event("app", bought="DATA2G"))
    bench.now += 1000
    bench.apply(Fulfilment(order.id, bench.state().id, offer.key, "done", bench.now))
    bench.now += 1000
    bench.apply(bench.event("app", bought="DATA2G"))
    assert outcomes(bench, offer) == [("accepted", ""), ("fulfilled", "")]
    assert len(bench.state().products) == 1
    bench.now += 2 * HOUR
    bench.apply(bench.event("app", bought="DATA2G"))
    assert len(bench.state().products) == 2


def test_what_had_not_gone_out_when_it_was_bought_goes_out_no_more_and_was_never_offered(
    shop: Callable[..., Any],
) -> None:
    bench = shop()
    bench.apply(bench.event("recharge", amount=1))
    balances = [Bucket("main", 9000), Bucket("data", 100_000, bench.now + DAY)]
    message = bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=balances)).batch.outgoing[0]
    (offer,) = bench.state().offers
    bench.apply(bench.event("app", identity="app/1", bought="DATA2G"))
    about = {"offer": offer.key, "decision": offer.decision, "destination": MSISDN}
    mark = Delivery(message.id, bench.state().id, "sending", bench.now, action="booster", channel="sms", **about)
    assert bench.apply(mark).answers[0] == Answer("dropped", "withdrawn")
    assert outcomes(bench, offer) == [("bought", "app/1"), ("dropped", "withdrawn")]
    assert [one.status for one in bench.state().offers] == ["bought"]


def test_without_an_offer_it_is_theirs_and_counts_as_bought(shop: Callable[..., Any], texts: dict[str, str]) -> None:
    often = texts["offers/booster.yaml"] + "repurchase: at most 2 per 30 days\n"
    bench = shop(**{"offers/booster.yaml": often})
    for hours in (1, 1):
        bench.now += hours * HOUR
        bench.apply(bench.event("app", bought="DATA500"))
    assert call(bench)["booster/large"] == ("limit", "bought often enough")
    assert bench.engine.statistics.counts["bought_elsewhere.unasked"] == 2


def test_the_end_that_the_event_tells_itself_is_known_better(shop: Callable[..., Any]) -> None:
    from kairos.domain.subscriber import Owned

    bench = shop()
    offer = offered(bench)
    until = bench.now + 3 * DAY
    bench.apply(bench.event("app", bought="DATA2G", has=[Owned("DATA2G", until)]))
    assert [(one.product, one.until, one.decision) for one in bench.state().products] == [
        ("DATA2G", until, offer.decision)
    ]


def test_what_is_returned_is_undone(shop: Callable[..., Any]) -> None:
    bench = shop()
    offer = offered(bench)
    bench.apply(bench.event("app", identity="app/1", bought="DATA2G"))
    bench.now += HOUR
    bench.apply(bench.event("app", bought="DATA500"))
    bench.now += HOUR
    bench.apply(bench.event("app", identity="app/3", refunded="DATA2G"))
    assert outcomes(bench, offer) == [("bought", "app/1"), ("reversed", "app/3")]
    assert [one.status for one in bench.state().offers] == ["reversed"]
    assert [one.product for one in bench.state().products] == ["DATA500"]
    bench.apply(bench.event("app", refunded="booster"), bench.event("app", refunded="booster"))
    assert bench.state().products == []
    assert bench.engine.statistics.counts["returned_elsewhere.unknown"] == 1


def test_what_nobody_sells_here_is_counted(shop: Callable[..., Any]) -> None:
    bench = shop()
    bench.apply(bench.event("app", bought="RING_TONE"), bench.event("app", note=1.0))
    assert bench.state().products == []
    assert bench.engine.statistics.counts["bought_elsewhere.not_ours"] == 1


def test_the_parts_of_a_bundle_are_theirs_and_one_purchase(shop: Callable[..., Any], texts: dict[str, str]) -> None:
    both = texts["offers/booster.yaml"].replace("large: DATA2G", "large: [DATA2G, MUSIC]")
    bench = shop(**{"offers/booster.yaml": both})
    bench.apply(bench.event("app", bought="MUSIC"))
    assert bench.state().products == [], "a part of it is not the bundle"
    bench.apply(bench.event("app", bought="booster/large"))
    assert [(one.product, one.action) for one in bench.state().products] == [("DATA2G", "booster"), ("MUSIC", "")]
    bench.apply(bench.event("app", refunded="booster/large"))
    assert bench.state().products == []


@pytest.mark.parametrize(
    ("key", "why"), [("bought_by", "an event buys one offer"), ("returned_by", "an event returns one offer")]
)
def test_an_event_that_names_nothing_is_refused(shop: Callable[..., Any], key: str, why: str) -> None:
    for written, told in (("[app.note]", "`app.note` is no text"), ("[app.bought, app.refunded]", why)):
        with pytest.raises(PlaybookError) as raised:
            shop(**{"contact_policy.yaml": f"contact_only_when: {{consent: marketing_consent}}\n{key}: {written}"})
        (found,) = raised.value.diagnostics
        assert found.line == 2
        assert told in str(found)


def test_a_learner_takes_it_for_a_yes(shop: Callable[..., Any]) -> None:
    bench = shop()
    lessons = Lessons(bench.program, 7 * DAY, 60 * DAY)
    taken: list[tuple[int, int]] = []

    class Learner:
        class answers:  # noqa: N801
            @staticmethod
            def buy(decision: int, at: int) -> None:
                taken.append((decision, at))

    lessons.learner = Learner()  # type: ignore[assignment]
    lessons.answered(Response(1, 7, "k-7", "bought", "app/1", 99))
    assert taken == [(7, 99)]
