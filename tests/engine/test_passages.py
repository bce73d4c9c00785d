"""Messages of other systems: one contact policy for all who send."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.conftest import HOUR, MSISDN, NOON

from kairos.cli.explain import find
from kairos.domain.inputs import Delivery, Reply
from kairos.domain.message import Carried, Text
from kairos.domain.passage import CANCELLED, EXPIRED, TOO_MANY, UNKNOWN, Handed, Hub, Withdrawal
from kairos.domain.subscriber import Bucket
from kairos.domain.switch import Switch, Switches
from kairos.engine.explain import Explainer
from kairos.engine.passages import FIRST, URGENT, WAIT_AT_MOST, WAITING
from kairos.engine.work import Answer
from kairos.errors import KairosError
from kairos.smpp import MessageState, SubmitSm, decode_pdu, encode_pdu, parse_receipt

serial = itertools.count()
text_of = msgspec.msgpack.Decoder(Text).decode
NIGHT = NOON + 10 * HOUR  # 22:00
MORNING = NOON + 20 * HOUR
ALWAYS = ["emergency", "government"]
MINDS_ALL = ["marketing", "third_party"]


def handed(sends: str = "third_party", text: str = "", at: int = NOON, **changes: Any) -> Handed:
    number = next(serial)
    made = Handed(f"{number:016x}", "vas", MSISDN, "1234", text or f"Text {number}", sends, at, at + 24 * HOUR)
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def town(bench_with: Callable[..., Any], texts: dict[str, str]) -> Callable[..., Any]:
    """A bench whose subscriber has agreed to marketing, with a policy."""

    def build(policy: str = "", **profile: Any) -> Any:
        bench = bench_with({"contact_policy.yaml": policy or texts["contact_policy.yaml"]})
        bench.profile(**profile)
        return bench

    return build


def session(bench: Any) -> Any:
    """What the subscriber does where an own offer is made by SMS."""
    buckets = [Bucket("main", 5000), Bucket("data", 100_000, NOON + 90 * HOUR)]
    return bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=buckets))


def stand(bench: Any, one: Handed) -> tuple[str, str, int]:
    record = bench.store.passage(one.key)
    return record.stand, record.why, record.until


def take(bench: Any, one: Any) -> Answer:
    return bench.apply(one).answers[0]  # type: ignore[no-any-return]


def sent(bench: Any) -> list[tuple[str, str]]:
    return [(row.channel, text_of(row.payload).text) for row in rows(bench, "sms", *FIRST.values())]


def rows(bench: Any, *channels: str) -> list[Any]:
    return [row for row in bench.store.unsent(0, 1000) if row.channel in channels]


def test_what_nothing_refuses_is_accepted_and_counts_as_a_contact(town: Any) -> None:
    bench = town()
    one = handed()
    assert take(bench, one) == Answer("accepted")
    (row,) = [row for row in bench.store.unsent(0, 1000) if row.channel == "sms"]
    text = text_of(row.payload)
    assert (text.source, text.destination, text.marketing, text.passage) == ("1234", MSISDN, True, one.key)
    (contact,) = bench.state().contacts
    assert (contact.channel, contact.action, contact.purpose, contact.riding) == (
        "sms",
        "sender:vas",
        "third_party",
        False,
    )
    assert (contact.decision, bench.store.passage(one.key).outgoing) == (-row.id, row.id)


def test_limits_hold_for_all_who_send_together(town: Any) -> None:
    bench = town()
    assert take(bench, handed()).status == "accepted"
    other = handed(sender="bank")
    refused = take(bench, other)
    assert (refused.status, refused.reason, refused.until) == ("refused", "1 own message per 1 day", NOON + 24 * HOUR)
    assert stand(bench, other) == ("refused", "1 own message per 1 day", NOON + 24 * HOUR)
    work = session(bench)
    assert not [row for row in work.batch.outgoing if row.channel == "sms"], "an own offer came on top"


def test_an_own_message_leaves_nothing_for_others(town: Any) -> None:
    bench = town()
    work = session(bench)
    assert [row.channel for row in work.batch.outgoing] == ["sms"]
    assert take(bench, handed()).reason == "1 own message per 1 day"


@pytest.mark.parametrize(
    ("profile", "policy", "why"),
    [
        ({"marketing_consent": False}, "", "marketing consent"),
        ({"marketing_consent": None}, "", "marketing consent"),
        ({"open_tickets": 1}, "", "open complaint"),
        ({}, "holdout: 99%", "holdout"),
        ({}, "contact_only_when: {partners: {when: 'open_tickets > 5', for: {purposes: [third_party]}}}", "partners"),
        ({}, "registers: {do not disturb: {when: \"plan = 'prepaid'\"}}", "do not disturb"),
        ({}, "registers: {by file: {file: blocked}}", "by file"),
        ({}, "registers: {credit: {when: \"plan = 'prepaid'\", stops: {issues: [upsell]}}}", "credit"),
    ],
)
def test_marketing_of_others_minds_all_of_the_policy(town: Any, profile: Any, policy: str, why: str) -> None:
    bench = town(policy, **profile)
    one = handed()
    assert take(bench, one) == Answer("refused", why)
    assert stand(bench, one) == ("refused", why, 0)
    assert not sent(bench)
    assert not bench.state().contacts
    for sends in (*ALWAYS, "service"):
        assert take(bench, handed(sends)).status == "accepted"


def test_the_holdout_of_marketing_can_be_left_to_our_own(town: Any) -> None:
    bench = town("holdout: {share: 99%, purposes: [marketing]}")
    assert take(bench, handed("third_party")).status == "accepted"
    assert take(bench, handed("marketing")).reason == "holdout"


def test_a_rule_that_reads_an_event_says_nothing_of_messages(town: Any) -> None:
    bench = town("pause_while: {dear call: end_of_call.cost >= 3}")
    assert take(bench, handed()).status == "accepted"


@pytest.mark.parametrize("sends", [*MINDS_ALL, "care"])
def test_in_quiet_hours_it_waits_for_their_end_and_is_decided_anew(town: Any, sends: str) -> None:
    bench = town()
    bench.now = NIGHT
    one = handed(sends, at=NIGHT)
    assert take(bench, one) == Answer("delayed", "quiet hours", until=MORNING)
    assert stand(bench, one) == ("delayed", "quiet hours", MORNING)
    assert not sent(bench)
    (timer,) = [timer for timer in bench.store.timers_due(2**62, 100) if timer.payload.startswith(WAITING)]
    assert timer.due == MORNING
    bench.now = MORNING
    bench.apply(timer)
    assert stand(bench, one)[0] == "accepted"
    assert sent(bench) == [("sms", one.text)]
    assert bench.state().passing.waiting == []


def test_of_several_that_wait_the_limit_lets_one_go(town: Any) -> None:
    bench = town()
    bench.now = NIGHT
    several = [handed(at=NIGHT) for _ in range(3)]
    assert {take(bench, one).status for one in several} == {"delayed"}
    bench.now = MORNING
    bench.apply(*bench.store.timers_due(MORNING, 100))
    assert [stand(bench, one)[0] for one in several] == ["accepted", "refused", "refused"]
    assert stand(bench, several[1])[1] == "1 own message per 1 day"


def test_what_would_end_before_the_night_does_is_refused_at_once(town: Any) -> None:
    bench = town()
    bench.now = NIGHT
    one = handed(at=NIGHT, until=NIGHT + HOUR)
    assert take(bench, one) == Answer("refused", "quiet hours", until=MORNING)
    assert take(bench, handed(at=NIGHT, until=NIGHT)).reason == EXPIRED


@pytest.mark.parametrize("sends", [*ALWAYS, "service"])
def test_government_emergency_and_service_do_not_wait_for_the_morning(town: Any, sends: str) -> None:
    bench = town(
        "quiet_hours: 21:00-08:00\npause_while: {open complaint: open_tickets > 0}\nholdout: 99%", open_tickets=1
    )
    bench.now = NIGHT
    for _ in range(5):
        assert take(bench, handed(sends, at=NIGHT)).status == "accepted"
    assert not bench.state().contacts


def test_what_is_urgent_has_a_way_of_its_own(town: Any) -> None:
    bench = town()
    for sends in ("emergency", "government", "service", "third_party"):
        take(bench, handed(sends))
    assert [channel for channel, _ in sent(bench)] == ["emergency", URGENT, "sms", "sms"]
    assert [text_of(row.payload).marketing for row in bench.store.unsent(0, 1000)][-4:] == [False, False, False, True]


@pytest.mark.parametrize("off", ["marketing", "channel:sms"])
def test_switches_stop_all_but_what_regulation_asks_for(town: Any, off: str) -> None:
    bench = town()
    bench.engine.turn(Switches({off: Switch(off, False, "test", "ada", 0)}))
    for sends in ("service", "care", *MINDS_ALL):
        assert take(bench, handed(sends)).reason == f"switch {off}"
    for sends in ALWAYS:
        assert take(bench, handed(sends)).status == "accepted"


def test_a_freeze_window_is_waited_for(town: Any) -> None:
    bench = town("freeze: [{from: 2026-03-04 10:00, to: 2026-03-04 15:00, why: network freeze}]")
    for sends in ("service", *MINDS_ALL):
        assert take(bench, handed(sends)) == Answer("delayed", "network freeze", until=NOON + 3 * HOUR)
    assert take(bench, handed("emergency")).status == "accepted"


# -- the same text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sends", ["service", "care", *MINDS_ALL])
def test_the_same_text_of_the_same_sender_is_merged(town: Any, sends: str) -> None:
    bench = town()
    first = handed(sends, "Your parcel is here.")
    assert take(bench, first).status == "accepted"
    again = handed(sends, "Your  parcel is here. ")
    assert take(bench, again) == Answer("merged", first.key), "and not refused for the first one's own contact"
    assert stand(bench, again)[:2] == ("merged", first.key)
    bench.now += 600_001
    bench.state().contacts.clear()
    assert take(bench, handed(sends, "Your parcel is here.", at=bench.now)).status != "merged"


def test_a_sender_cannot_find_out_what_another_has_sent(town: Any) -> None:
    bench = town(marketing_consent=False)
    assert take(bench, handed("service", "Bank: your code is 4711", sender="bank")).status == "accepted"
    guesses = [handed(text=f"Bank: your code is {code}", sender="games") for code in (4710, 4711)]
    assert [take(bench, one) for one in guesses] == [Answer("refused", "marketing consent")] * 2


def test_a_sender_cannot_stop_what_another_sends(town: Any) -> None:
    bench = town()
    take(bench, handed(text="Bank: your card was used.", sender="games", not_before=NOON + HOUR))
    assert take(bench, handed("service", "Bank: your card was used.", sender="bank")).status == "accepted"


@pytest.mark.parametrize(
    ("status", "reason"),
    [("failed", "undeliverable"), ("dropped", "too late"), ("dropped", "taken back"), ("dropped", "network freeze")],
)
def test_what_did_not_go_out_swallows_nothing(town: Any, status: str, reason: str) -> None:
    bench = town()
    one = handed("service", "Hello")
    take(bench, one)
    bench.apply(news(one, bench, "sent"))
    assert take(bench, handed("service", "Hello")).status == "merged"
    bench.apply(news(one, bench, status, reason=reason))
    assert take(bench, handed("service", "Hello")).status == "accepted"


def test_what_was_taken_back_while_it_waited_swallows_nothing(town: Any) -> None:
    bench = town()
    one = handed("service", "Hello", not_before=NOON + HOUR)
    take(bench, one)
    assert take(bench, Withdrawal(one.key, "vas", bench.state().id, NOON)).status == "applied"
    assert take(bench, handed("service", "Hello")).status == "accepted"


def test_what_was_refused_when_its_waiting_ended_swallows_nothing(town: Any) -> None:
    bench = town()
    take(bench, handed(text="Hello", not_before=NOON + 60_000))
    bench.profile(marketing_consent=False)
    bench.now += 60_000
    bench.apply(*bench.store.timers_due(bench.now, 10))
    bench.profile(marketing_consent=True)
    assert take(bench, handed(text="Hello", at=bench.now)).status == "accepted"


def test_what_was_refused_swallows_nothing(town: Any) -> None:
    bench = town(marketing_consent=False)
    assert take(bench, handed(text="Hello")).status == "refused"
    bench.profile(marketing_consent=True)
    assert take(bench, handed(text="Hello")).status == "accepted"


def test_an_alarm_is_never_merged(town: Any) -> None:
    bench = town()
    for _ in range(2):
        assert take(bench, handed("emergency", "Leave the building.")).status == "accepted"


def test_a_message_that_comes_again_changes_nothing(town: Any) -> None:
    bench = town()
    one = handed()
    take(bench, one)
    assert take(bench, one) == Answer("duplicate")
    assert len(sent(bench)) == 1
    assert len(bench.state().contacts) == 1


# -- who is not known --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sends", "answer"), [("third_party", Answer("refused", UNKNOWN)), ("service", Answer("accepted"))]
)
def test_whoever_is_not_known_is_no_new_subscriber(town: Any, sends: str, answer: Answer) -> None:
    bench = town()
    one = handed(sends, msisdn="12025550199")
    assert take(bench, one) == answer
    assert bench.store.load(["12025550199"], []).subscribers == {}
    assert bench.store.passage(one.key).subscriber == 0


# -- scheduled, taken back, bounded ------------------------------------------------------------------------------------


def test_a_message_for_later_waits_for_its_time(town: Any) -> None:
    bench = town()
    one = handed(not_before=NOON + HOUR)
    assert take(bench, one) == Answer("delayed", "scheduled", until=NOON + HOUR)
    bench.now = NOON + HOUR
    bench.apply(*bench.store.timers_due(bench.now, 10))
    assert sent(bench) == [("sms", one.text)]


def test_what_waits_can_be_taken_back_by_its_sender_alone(town: Any) -> None:
    bench = town()
    one = handed(not_before=NOON + HOUR)
    take(bench, one)
    subscriber = bench.state().id
    assert take(bench, Withdrawal(one.key, "bank", subscriber, NOON)).status == "rejected"
    assert take(bench, Withdrawal(one.key, "vas", subscriber, NOON)).status == "applied"
    assert stand(bench, one)[:2] == ("cancelled", CANCELLED)
    assert take(bench, Withdrawal(one.key, "vas", subscriber, NOON)).status == "rejected"
    bench.now = NOON + HOUR
    bench.apply(*bench.store.timers_due(bench.now, 10))
    assert not sent(bench)
    assert stand(bench, one)[0] == "cancelled"


def test_a_subscriber_has_so_many_that_wait_and_no_more(town: Any) -> None:
    bench = town()
    for _ in range(WAIT_AT_MOST):
        assert take(bench, handed(not_before=NOON + HOUR)).status == "delayed"
    assert take(bench, handed(not_before=NOON + HOUR)).reason == TOO_MANY
    assert take(bench, handed("emergency")).status == "accepted"


# -- on the way out ----------------------------------------------------------------------------------------------------


def news(one: Handed, bench: Any, status: str, **changes: Any) -> Delivery:
    record = bench.store.passage(one.key)
    about = Delivery(record.outgoing, bench.state().id, status, bench.now, decision=-record.outgoing)
    named = {"passage": one.key, "sender": one.sender, "purpose": one.purpose, "destination": one.msisdn}
    return msgspec.structs.replace(about, **named, **changes)


def test_what_was_withdrawn_meanwhile_stops_it_and_gives_its_limit_back(town: Any) -> None:
    bench = town()
    one = handed()
    take(bench, one)
    bench.apply(Reply("r1", MSISDN, "5000", "STOP", bench.now))
    assert take(bench, news(one, bench, "sending")).status == "dropped"
    assert stand(bench, one)[:2] == ("refused", "marketing consent")
    assert not bench.state().contacts


def test_what_could_not_be_sent_before_the_night_is_held(town: Any) -> None:
    bench = town()
    one = handed()
    take(bench, one)
    bench.now = NIGHT
    assert take(bench, news(one, bench, "sending")) == Answer("held", "quiet hours", until=MORNING)
    assert stand(bench, one) == ("delayed", "quiet hours", MORNING)
    assert len(bench.state().contacts) == 1


def test_its_own_contact_does_not_stop_it(town: Any) -> None:
    bench = town()
    one = handed()
    take(bench, one)
    assert take(bench, news(one, bench, "sending")).status == "applied"


@pytest.mark.parametrize(
    ("status", "changes", "stands"),
    [
        ("sent", {}, ("sent", "")),
        ("delivered", {}, ("delivered", "")),
        ("failed", {"reason": "unknown", "told": "undeliverable 012"}, ("failed", "undeliverable 012")),
        ("dropped", {"reason": "too late"}, ("expired", EXPIRED)),
        ("dropped", {"reason": "network freeze"}, ("refused", "network freeze")),
    ],
)
def test_what_becomes_of_it_is_kept(town: Any, status: str, changes: Any, stands: Any) -> None:
    bench = town()
    one = handed()
    take(bench, one)
    bench.apply(news(one, bench, status, **changes))
    assert stand(bench, one)[:2] == stands


def test_no_answer_is_one_to_another_systems_message(town: Any) -> None:
    bench = town("saturation: [{unanswered: 1, rest: 2 days}]")
    session(bench)
    take(bench, handed("care", at=bench.now))
    bench.now += 1000
    bench.apply(bench.reply("NO"))
    assert bench.state().answered == 1, "the offer's own decision"


def test_messages_of_others_do_not_tire(town: Any) -> None:
    bench = town("saturation: [{unanswered: 1, rest: 2 days}]")
    for _ in range(3):
        assert take(bench, handed("third_party")).status == "accepted"
    work = session(bench)
    assert [row.channel for row in work.batch.outgoing] == ["sms"]
    assert take(bench, handed("third_party")).reason == "1 contact unanswered"


# -- who is told -------------------------------------------------------------------------------------------------------


def over_smpp(**changes: Any) -> Handed:
    pdu = SubmitSm(source_addr="1234", destination_addr=MSISDN, registered_delivery=1, short_message=b"Hello")
    key = f"{next(serial):016x}"
    return handed(key=key, receipt=1, carried=(Carried(key, encode_pdu(pdu, 0)),), **changes)


def receipts(bench: Any) -> list[tuple[MessageState, str, str]]:
    found = []
    for row in bench.store.unsent(0, 1000):
        if row.channel == "receipt":
            (carried,) = text_of(row.payload).carried
            receipt = parse_receipt(decode_pdu(carried.pdu))  # type: ignore[arg-type]
            assert receipt
            found.append((receipt.state, receipt.error, receipt.text))
    return found


def test_a_sender_gets_a_receipt_of_what_never_reached_the_smsc(town: Any) -> None:
    bench = town()
    bench.now = NIGHT
    waits, again = over_smpp(at=NIGHT), over_smpp(at=NIGHT)
    again = msgspec.structs.replace(again, text=waits.text)
    take(bench, waits)
    assert take(bench, again).status == "merged"
    assert receipts(bench) == [(MessageState.REJECTED, "902", waits.key[:20])]
    bench.profile(marketing_consent=False)
    bench.now = MORNING
    bench.apply(*bench.store.timers_due(bench.now, 10))
    assert receipts(bench)[1:] == [(MessageState.REJECTED, "901", "contact policy")]


def test_who_is_refused_at_once_is_answered_and_gets_no_receipt(town: Any) -> None:
    bench = town(marketing_consent=False)
    assert take(bench, over_smpp()).status == "refused"
    assert receipts(bench) == []


def test_those_who_listen_are_told_of_every_change(town: Any) -> None:
    bench = town()
    mine = Hub("l1", "vas", "http://127.0.0.1:9/x", "", 0)
    bench.engine.listeners = {"vas": (mine,), "bank": (mine,)}
    one = handed(key="c0ffee.1", communication="c0ffee")
    take(bench, one)
    bench.apply(news(one, bench, "delivered"))
    told = [text_of(row.payload) for row in rows(bench, "callback")]
    assert [(text.source, text.account, text.message_id) for text in told] == [("l1", "vas", "c0ffee")] * 2
    assert [msgspec.json.decode(text.text)["stand"] for text in told] == ["accepted", "delivered"]
    take(bench, over_smpp())
    assert len(rows(bench, "callback")) == 2, "over SMPP there are receipts"


def test_explain_tells_of_them_where_nothing_was_decided_of_ours(town: Any) -> None:
    bench = town(marketing_consent=False)
    take(bench, handed())
    explainer = Explainer(bench.store, lambda _: bench.program)
    with pytest.raises(KairosError, match=r"other systems:\n.*  vas  third_party  refused  marketing consent$"):
        find(explainer, f"+{MSISDN}", "", 1)
