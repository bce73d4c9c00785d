"""What USSD asks of the engine: words of its own, texts, dialogues that we begin, and an SMS where one broke off."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kairos.domain.decision import Decision
from kairos.domain.inbound import Look, Recall, Visit, Word
from kairos.domain.inputs import Delivery
from kairos.domain.message import Outgoing, Text
from kairos.domain.subscriber import Bucket
from kairos.domain.switch import Switch, Switches
from kairos.engine.work import Answer, Work

NUMBER = "12025550123"
HOUR, DAY = 3_600_000, 86_400_000
OWN = """treatments:
  ride: {channel: notification, message: booster_line}
  own: {channel: sms, message: booster_line}
"""
WORDS = """
booster_told: {en: "{title} at {price}, told at length"}
booster_menu: {en: "{size} {price}"}
booster_push: {en: "{title} for {price}?"}
"""
PAGES = """
entries: {"*123#": main}
menus:
  main:
    title: Account
    items: [{label: Balance, text: {en: ["{balance} and {data_left_mb} MB", "{balance}"], fr: "Solde {balance}"}}]
words: {more: M, back: B, "yes": Y, "no": N, offers: O, nothing: X, later: L, working: W, again: A, sure: S, taken: T,
  declined: D, refused: R, over: E}
"""
serial = itertools.count()
_text = msgspec.msgpack.Decoder(Text).decode


@pytest.fixture
def menu(bench_with: Callable[..., Any], texts: dict[str, str]) -> Callable[..., Any]:
    """A bench whose bundles have these treatments; its subscriber has T$50 and little data."""

    def build(*treatments: str, policy: str = "", own_a_day: int = 1) -> Any:
        booster = texts["offers/booster.yaml"].replace("data_session: 5 minutes}", "inbound: always}")
        written = "treatments:\n" + "".join(f"  {one}\n" for one in treatments)
        booster = booster.replace(OWN, written)
        limits = texts["contact_policy.yaml"].replace("{at_most: 1,", f"{{at_most: {own_a_day},")
        kept = {
            "offers/booster.yaml": booster,
            "messages.yaml": texts["messages.yaml"] + WORDS,
            "contact_policy.yaml": limits + policy,
            "ussd.yaml": PAGES,
        }
        bench = bench_with(kept)
        bench.profile()
        balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
        event = bench.event("end_of_call", service="voice", cost=1, balances=balances)
        bench.apply(msgspec.structs.replace(event, happened=bench.now - HOUR))
        return bench

    return build


ASK = "ask: {channel: inbound, message: booster_told}"
MENU = "menu: {channel: ussd, message: booster_menu, fallback: sms}"
SMS = "own: {channel: sms, message: booster_line}"
PUSH = "push: {channel: ussd_push, message: booster_push, fallback: sms}"


def off(name: str) -> Switches:
    return Switches({name: Switch(name, False, "a test", "ada", 0)})


def visit(bench: Any, channel: str = "ussd") -> Answer:
    answer: Answer = bench.apply(Visit(f"v{next(serial)}", NUMBER, channel, bench.now)).answers[0]
    return answer


def recall(bench: Any, *offers: str, identity: str = "") -> Work:
    work: Work = bench.apply(Recall(identity or f"r{next(serial)}", NUMBER, offers, bench.now))
    return work


def call(bench: Any) -> Work:
    """A call ends without a notification to ride on, so an own message may go out."""
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    work: Work = bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=balances))
    return work


def sent(work: Work) -> list[tuple[str, Text]]:
    return [(row.channel, _text(row.payload)) for row in work.batch.outgoing if row.channel != "ocs"]


def failed(bench: Any, row: Outgoing, text: Text, reason: str = "ESME_RSYSERR") -> Work:
    news = Delivery(row.id, row.subscriber, "failed", bench.now, offer=text.offer, decision=text.decision)
    work: Work = bench.apply(msgspec.structs.replace(news, reason=reason, instead=text.instead))
    return work


@pytest.mark.parametrize(
    ("treatments", "by_ussd", "elsewhere"),
    [
        ([ASK, MENU, SMS], "2 GB T$45", "2 GB for 7 days at T$45, told at length"),
        ([ASK], "2 GB for 7 days at T$45, told at length", "2 GB for 7 days at T$45, told at length"),
        ([MENU, SMS], "2 GB T$45", None),
    ],
)
def test_a_menu_has_its_own_words_else_those_of_all(
    menu: Any, treatments: list[str], by_ussd: str, elsewhere: str | None
) -> None:
    for channel, text in (("ussd", by_ussd), ("care", elsewhere)):
        bench = menu(*treatments)
        answer = visit(bench, channel)
        assert [told.text for told in answer.offers] == ([text] if text else [])
        if text:
            assert [told.text for told in visit(bench, channel).offers] == [text]  # open now
    bench = menu(*treatments)
    made = visit(bench, "ussd").offers[0]
    (told,) = visit(bench, "care").offers
    assert (told.key, told.text) == (made.key, elsewhere or "2 GB for 7 days: T$45")


def test_an_offer_of_two_pulled_channels_is_scored_once_a_moment(menu: Any) -> None:
    bench = menu(ASK, MENU, SMS)
    work = bench.apply(Visit("v", NUMBER, "ussd", bench.now))
    record = msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)
    channels = bench.program.decide.channels
    assert {channels[place] for place in record.scores.channel} == {"ussd"}
    assert record.chosen
    assert channels[record.chosen.channel] == "ussd"


def test_a_switch_of_the_channel_keeps_offers_out_of_menus(menu: Any) -> None:
    bench = menu(ASK, MENU, SMS)
    visit(bench)
    bench.engine.turn(off("channel:ussd"))
    assert visit(bench).offers == ()
    assert len(visit(bench, "care").offers) == 1


def test_a_look_tells_language_and_text_and_writes_nothing(menu: Any) -> None:
    bench = menu(ASK)
    work = bench.apply(Look(NUMBER, bench.now, "main/1"))
    assert (work.answers[0].language, work.answers[0].text) == ("en", "T$50 and 100 MB")
    assert not work.batch
    bench.profile(language="fr")
    assert bench.apply(Look(NUMBER, bench.now, "main/1")).answers[0].text == "Solde T$50"
    assert bench.apply(Look(NUMBER, bench.now)).answers[0].language == "fr"
    unknown = bench.apply(Look("12025550199", bench.now, "main/1"))
    assert unknown.answers[0].status == "rejected"
    assert not unknown.batch


def test_an_offer_whose_dialogue_broke_off_is_said_by_sms_once(menu: Any) -> None:
    bench = menu(MENU, SMS)
    (told,) = visit(bench).offers
    work = recall(bench, told.key, identity="r")
    ((channel, text),) = sent(work)
    assert (channel, text.offer, text.destination) == ("sms", told.key, NUMBER)
    assert "Reply 1 to 5000" in text.text
    assert [(one.channel, one.riding) for one in bench.state().contacts] == [("sms", False)]
    assert sent(recall(bench, told.key, identity="r")) == []
    assert sent(recall(bench, told.key)) == []
    yes = bench.apply(bench.reply("1"))
    assert [row.channel for row in yes.batch.outgoing] == ["ocs"]


@pytest.mark.parametrize("said", ["accept", "decline"])
def test_what_was_answered_is_not_said_again(menu: Any, said: Any) -> None:
    bench = menu(MENU, SMS)
    (told,) = visit(bench).offers
    bench.apply(Word("w", NUMBER, told.key, said, "ussd", bench.now))
    assert sent(recall(bench, told.key)) == []


def night(bench: Any) -> None:
    bench.now += 11 * HOUR


def complaint(bench: Any) -> None:
    bench.apply(bench.event("profile", open_tickets=1))


def no_consent(bench: Any) -> None:
    bench.apply(bench.event("profile", marketing_consent=False))


def no_sms(bench: Any) -> None:
    bench.engine.turn(off("channel:sms"))


def spoken_to(bench: Any) -> None:
    call(bench)


@pytest.mark.parametrize("between", [night, complaint, no_consent, no_sms])
def test_it_passes_the_contact_policy_or_is_not_said(menu: Any, between: Callable[[Any], None]) -> None:
    bench = menu(MENU, SMS)
    (told,) = visit(bench).offers
    between(bench)
    assert sent(recall(bench, told.key)) == []
    assert bench.state().contacts == []


def test_it_counts_against_the_limits_and_minds_them(menu: Any) -> None:
    bench = menu(MENU, SMS)
    (told,) = visit(bench).offers
    assert len(sent(recall(bench, told.key))) == 1
    bench.apply(bench.reply("1"))
    bench.now += 6 * HOUR
    assert sent(call(bench)) == []  # one message of its own a day
    again = menu(MENU, SMS)
    call(again)
    (told,) = visit(again).offers
    assert told.channel == "sms"
    assert sent(recall(again, told.key)) == []


def test_without_a_fallback_nothing_is_said(menu: Any) -> None:
    bench = menu("menu: {channel: ussd, message: booster_menu}", SMS)
    (told,) = visit(bench).offers
    assert sent(recall(bench, told.key)) == []
    assert sent(recall(bench, "no such key")) == []


# -- dialogues that we begin -------------------------------------------------------------------------------------------


def test_a_dialogue_that_we_begin_is_a_message_of_its_own(menu: Any) -> None:
    bench = menu(PUSH, "own: {channel: sms, message: booster_line}", policy="windows: {sms: {mon: 08:00-09:00}}\n")
    ((channel, text),) = sent(call(bench))
    assert (channel, text.reply_in, text.instead, text.marketing) == ("ussd_push", "en", "sms", True)
    assert text.text == "2 GB for 7 days for T$45?"
    assert [(one.channel, one.riding) for one in bench.state().contacts] == [("ussd_push", False)]
    bench.now += HOUR
    assert sent(call(bench)) == []


def test_it_keeps_quiet_hours(menu: Any) -> None:
    bench = menu(PUSH, SMS)
    night(bench)
    assert sent(call(bench)) == []


def pushed(bench: Any) -> tuple[Outgoing, Text]:
    (row,) = call(bench).batch.outgoing
    return row, _text(row.payload)


def by_push(menu: Any, limit: int = 1) -> Any:
    return menu(PUSH, SMS, own_a_day=limit)


def test_what_surely_never_reached_the_handset_goes_out_by_sms_at_most_once(menu: Any) -> None:
    bench = by_push(menu)
    row, text = pushed(bench)
    work = failed(bench, row, text)
    ((channel, by_sms),) = sent(work)
    assert (channel, by_sms.offer, by_sms.instead) == ("sms", text.offer, "")
    assert [one.channel for one in bench.state().contacts] == ["sms"]
    assert bench.state().offers[0].status == "open"
    assert not work.batch.dead_letters
    sms = work.batch.outgoing[0]
    assert sent(failed(bench, sms, by_sms)) == []
    assert bench.state().offers[0].status == "withdrawn"


def test_what_may_have_reached_the_handset_is_not_said_by_sms(menu: Any) -> None:
    bench = by_push(menu)
    row, text = pushed(bench)
    assert sent(failed(bench, row, msgspec.structs.replace(text, instead=""), reason="unknown")) == []
    assert bench.state().offers[0].status == "open"


def test_where_the_policy_is_against_the_sms_the_offer_is_taken_back(menu: Any) -> None:
    bench = by_push(menu)
    row, text = pushed(bench)
    no_sms(bench)
    assert sent(failed(bench, row, text)) == []
    assert bench.state().offers[0].status == "withdrawn"
    assert bench.state().contacts == []


@pytest.mark.parametrize(("own_a_day", "channels"), [(1, []), (2, ["sms"])])
def test_a_dialogue_of_ours_that_broke_off_is_said_by_sms_where_limits_leave_room(
    menu: Any, own_a_day: int, channels: list[str]
) -> None:
    bench = by_push(menu, own_a_day)
    _, text = pushed(bench)
    assert [channel for channel, _ in sent(recall(bench, text.offer))] == channels
    assert [one.channel for one in bench.state().contacts] == ["ussd_push", *channels]
    assert bench.state().offers[0].status == "open"
