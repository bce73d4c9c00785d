"""What a reply means: a table for each way of saying it, and what no way of saying it may change."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.domain.inputs import Reply
from kairos.domain.purchase import Said
from kairos.domain.subscriber import Contact, OpenOffer, State
from kairos.playbook.keywords import fold, tokens
from kairos.playbook.playbook import ANSWERS
from kairos.playbook.replies import ReplyWords
from kairos.respond import ANSWER, Replies, understand
from kairos.respond.words import compile_short_code

NOW = 1_772_625_600_000
HOUR = 3_600_000
SHAPE = Callable[..., OpenOffer]


@pytest.fixture
def meant(
    replies: Replies, make_offer: SHAPE, make_state: Callable[..., State], make_reply: Callable[..., Reply]
) -> Callable[..., tuple[str, int]]:
    """(meaning, number of the offer, 0 for none) of a text, to a subscriber with these offers."""

    def mean(text: str, *offers: OpenOffer, language: str = "en", short_code: str = "5000") -> tuple[str, int]:
        found = understand(replies, make_reply(text, short_code), make_state(*offers), language, NOW)
        return found.meaning, found.offer.number if found.offer else 0

    return mean


Meant = Callable[..., tuple[str, int]]


@pytest.mark.parametrize(
    ("text", "meaning", "number"),
    [
        # one offer is open, and it is number 1
        ("1", "accept", 1),
        ("yes", "accept", 1),
        ("  Yes!! ", "accept", 1),
        ("YES 1", "accept", 1),
        ("yes1", "accept", 1),
        ("1 yes", "accept", 1),
        ("Yes, 1.", "accept", 1),
        ("#1", "accept", 1),
        ("'1'", "accept", 1),
        ("01", "accept", 1),
        ("1 please", "accept", 1),
        ("yes please", "accept", 1),
        ("1 thank you", "accept", 1),
        ("yes yes yes", "accept", 1),
        ("1 1", "accept", 1),
        ("Y E S", "accept", 1),
        ("i want it", "accept", 1),
        ("I WANT IT 1", "accept", 1),
        ("oui", "accept", 1),
        ("d'accord", "accept", 1),
        ("D’ACCORD", "accept", 1),
        ("interesse", "accept", 1),
        ("Intéressé", "accept", 1),
        ("نعم", "accept", 1),
        ("نَعَمْ", "accept", 1),
        ("نعم ١", "accept", 1),
        ("نعم ۱", "accept", 1),
        ("١", "accept", 1),
        ("１", "accept", 1),
        ("1️⃣", "accept", 1),
        ("ｙｅｓ", "accept", 1),
        ("no", "decline", 1),
        ("NO 1", "decline", 1),
        ("1 no", "decline", 1),
        ("no thanks", "decline", 1),
        ("no, I have enough of these for now", "decline", 1),
        ("Non merci", "decline", 1),
        ("لا", "decline", 1),
        ("stop", "stop", 0),
        ("STOP 1", "stop", 0),
        ("no stop", "stop", 0),
        ("yes stop", "stop", 0),
        ("stop sending me these things all day", "stop", 0),
        ("please stop", "stop", 0),
        ("arret", "stop", 0),
        ("ARRÊT", "stop", 0),
        ("ايقاف", "stop", 0),  # the hamza is often left out
        ("bus stop at the corner please", "help", 0),
        ("help", "help", 0),
        ("INFO 1", "help", 0),
        ("aide", "help", 0),
        ("BAL", "relay", 0),
        ("bal please", "relay", 0),
        ("Bal 1", "relay", 0),
        ("BAL STOP", "relay", 0),
        ("balance", "help", 0),
        ("yes no", "help", 0),
        ("1 no yes", "help", 0),
        ("yes but no", "help", 0),
        ("1 2", "which_one", 0),
        ("yes 1.5", "which_one", 0),
        ("2", "which_one", 0),
        ("99", "which_one", 0),
        ("100", "help", 0),
        ("0", "help", 0),
        ("1 day without any network", "help", 0),
        ("yes I would if it were cheaper", "help", 0),
        ("yesterday", "help", 0),
        ("what is this?", "help", 0),
        ("", "help", 0),
        (" \n\t ", "help", 0),
        ("?!", "help", 0),
        ("👍", "help", 0),
        ("9" * 5000, "help", 0),
    ],
)
def test_ways_of_saying_it(meant: Meant, make_offer: SHAPE, text: str, meaning: str, number: int) -> None:
    assert meant(text, make_offer(1)) == (meaning, number)


@pytest.mark.parametrize(
    ("text", "meaning", "number"),
    [
        # offers 1 and 4 are open, 4 was made last
        ("yes", "which_one", 0),
        ("yes 1", "accept", 1),
        ("4", "accept", 4),
        ("٤", "accept", 4),
        ("2", "which_one", 0),
        ("no", "decline", 4),
        ("no 1", "decline", 1),
        ("no 2", "which_one", 0),
        ("no 1 4", "which_one", 0),
    ],
)
def test_several_open_offers(meant: Meant, make_offer: SHAPE, text: str, meaning: str, number: int) -> None:
    assert meant(text, make_offer(1), make_offer(4)) == (meaning, number)


@pytest.mark.parametrize("channel", ["care", "app", "page", "ussd", "ussd_push", "calls", "ivr", "email", "push"])
def test_a_bare_yes_takes_only_what_was_texted(meant: Meant, make_offer: SHAPE, channel: str) -> None:
    """What was told elsewhere, or waits to be, nobody has read there: it takes its number."""
    elsewhere = make_offer(4, channel=channel)
    assert [meant(text, elsewhere) for text in ("yes", "yes 4", "4")] == [("which_one", 0), *[("accept", 4)] * 2]
    assert meant("no", elsewhere) == ("decline", 4)
    for texted in ("sms", "notification"):
        assert meant("yes", make_offer(1, channel=texted), elsewhere) == ("accept", 1)
        assert meant("yes", make_offer(1, "expired", channel=texted), elsewhere) == ("which_one", 0)
        assert meant("yes", make_offer(1, "fulfilled", channel=texted), elsewhere) == ("taken", 1)
        assert meant("yes", make_offer(1, channel=texted), make_offer(2), elsewhere) == ("which_one", 0)
    for status, meaning in (("fulfilled", "taken"), ("expired", "expired"), ("refused", "refused_before")):
        assert meant("yes", make_offer(4, status, channel=channel)) == (meaning, 4)


def test_a_text_that_spoke_of_it_later_is_one(
    replies: Replies,
    meant: Meant,
    make_offer: SHAPE,
    make_state: Callable[..., State],
    make_reply: Callable[..., Reply],
) -> None:
    """One in the place of another message; the question for a second yes; the news that money is wanting."""
    state = make_state(make_offer(1, channel="ussd_push"), make_offer(2, channel="ussd_push"))
    state.contacts = [Contact(NOW, 1, "ussd_push", "", "", False), Contact(NOW, 2, "sms", "", "", False)]
    found = understand(replies, make_reply("yes"), state, "en", NOW)
    assert (found.meaning, found.offer) == ("accept", state.offers[1])
    first = (Said("r0", "1", NOW - 60_000),)
    assert meant("yes", make_offer(1, channel="care", twice=True, proof=first)) == ("accept", 1)
    assert meant("yes", make_offer(1, channel="care", twice=True)) == ("which_one", 0)
    assert meant("yes", make_offer(1, "unpaid", channel="care")) == ("accept", 1)


def test_a_yes_to_a_promise_that_was_told_elsewhere_is_explained(meant: Meant, make_offer: SHAPE) -> None:
    assert meant("yes", make_offer(0, kind="promise", channel="care")) == ("help", 0)


@pytest.mark.parametrize("text", ["1", "yes", "YES 1"])
@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("accepted", "taken"),
        ("fulfilled", "taken"),
        ("refused", "refused_before"),
        ("expired", "expired"),
        ("declined", "expired"),
        ("withdrawn", "expired"),
    ],
)
def test_a_yes_to_what_is_closed(meant: Meant, make_offer: SHAPE, text: str, status: str, meaning: str) -> None:
    assert meant(text, make_offer(1, status)) == (meaning, 1)


@pytest.mark.parametrize(
    ("status", "alone", "numbered"),
    [
        ("accepted", "taken", "taken"),
        ("fulfilled", "taken", "taken"),
        ("declined", "decline", "decline"),
        ("refused", "nothing_open", "refused_before"),
        ("expired", "nothing_open", "expired"),
        ("withdrawn", "nothing_open", "expired"),
    ],
)
def test_a_no_to_what_is_closed(meant: Meant, make_offer: SHAPE, status: str, alone: str, numbered: str) -> None:
    assert meant("no", make_offer(1, status))[0] == alone
    assert meant("no 1", make_offer(1, status)) == (numbered, 1)


def test_validity_counts_even_where_the_timer_is_late(meant: Meant, make_offer: SHAPE) -> None:
    assert meant("1", make_offer(1, expires=NOW)) == ("expired", 1)
    assert meant("1", make_offer(1, expires=NOW + 1)) == ("accept", 1)
    assert meant("yes", make_offer(1, expires=NOW), make_offer(2)) == ("accept", 2)


def test_nothing_open(meant: Meant) -> None:
    assert [meant(text) for text in ("yes", "1", "no", "no 1")] == [("nothing_open", 0)] * 4


def test_a_yes_after_the_last_one_was_taken_is_not_for_an_older_refusal(meant: Meant, make_offer: SHAPE) -> None:
    assert meant("yes", make_offer(1, "refused"), make_offer(2, "fulfilled")) == ("taken", 2)


def test_a_promise_is_taken_by_its_event_alone(meant: Meant, make_offer: SHAPE) -> None:
    promise = make_offer(1, kind="promise")
    assert meant("1", promise) == meant("yes", promise) == ("help", 1)
    assert meant("yes", promise, make_offer(2)) == ("accept", 2)
    assert meant("no", make_offer(1), make_offer(2, kind="promise")) == ("decline", 2)
    assert meant("yes", make_offer(1, "fulfilled", kind="promise")) == ("taken", 1)


def test_what_has_no_number_is_not_taken_by_reply(meant: Meant, make_offer: SHAPE) -> None:
    assert meant("yes", make_offer(0), make_offer(2)) == ("accept", 2)
    assert meant("yes", make_offer(0)) == ("help", 0)


def test_offers_of_another_short_code_are_not_meant(meant: Meant, make_offer: SHAPE) -> None:
    elsewhere = make_offer(1, short_code="5001")
    assert meant("yes", elsewhere) == meant("1", elsewhere) == ("nothing_open", 0)
    assert meant("go", elsewhere, short_code="5001") == ("accept", 1)
    assert meant("yes", elsewhere, short_code="5001") == ("help", 0)
    assert meant("1", elsewhere, short_code="6000") == ("help", 0)


def test_stop_says_what_it_withdraws(
    replies: Replies, make_state: Callable[..., State], make_reply: Callable[..., Reply]
) -> None:
    assert understand(replies, make_reply("stop"), make_state(), "en", NOW).withdraws == ("marketing_consent",)


@pytest.mark.parametrize(("text", "account"), [("bal", "info"), ("News today", "press")])
def test_relay_says_where_to(
    replies: Replies, make_state: Callable[..., State], make_reply: Callable[..., Reply], text: str, account: str
) -> None:
    assert understand(replies, make_reply(text), make_state(), "en", NOW).account == account


def test_the_subscribers_own_language_goes_first() -> None:
    words = ReplyWords("5000", accept={"xa": ("ne",), "xb": ("da",)}, decline={"xc": ("ne",)}, stop={})
    code = compile_short_code(words, ("xb", "xa", "xc"))
    meanings = {language: code.table(language)["ne"][0][1] for language in ("xa", "xb", "xc", "other")}
    assert meanings == {"xa": "accept", "xb": "accept", "xc": "decline", "other": "accept"}


def test_of_two_phrases_the_longer_is_meant() -> None:
    words = ReplyWords("5000", accept={"en": ("no problem",)}, decline={"en": ("no",)}, stop={})
    table = compile_short_code(words, ("en",)).table("en")
    assert [means for _, means in table["no"]] == ["accept", "decline"]


def test_a_word_with_two_meanings_never_charges() -> None:
    words = ReplyWords("5000", accept={"en": ("ok",)}, decline={"en": ("ok",)}, stop={"en": ("ok",)})
    table = compile_short_code(words, ("en",)).table("en")
    assert table["ok"] == ((("ok",), "stop"),)


def test_every_meaning_has_its_answer() -> None:
    assert set(ANSWER.values()) <= set(ANSWERS)


# --- whatever is written ------------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(["yes", "no", "stop", "1", "2", "99", "bal", "help", "نعم", "é", "!"]), max_size=8).map(
        " ".join
    ),
)


@given(TEXTS, st.sampled_from(["en", "fr", "ar", "", "xx"]), st.data())
@settings(deadline=None, max_examples=400)
def test_never_raises_and_accepts_only_what_is_open(
    replies: Replies,
    make_offer: SHAPE,
    make_state: Callable[..., State],
    make_reply: Callable[..., Reply],
    text: str,
    language: str,
    data: st.DataObject,
) -> None:
    statuses = st.sampled_from(["open", "accepted", "fulfilled", "refused", "declined", "expired", "withdrawn"])
    numbers = data.draw(st.lists(st.integers(1, 99), unique=True, max_size=5))
    state = make_state(*[make_offer(number, data.draw(statuses)) for number in numbers])
    before = list(state.offers)
    found = understand(replies, make_reply(text), state, language, NOW)
    assert state.offers == before
    if found.meaning == "accept":
        assert found.offer in before
        assert found.offer is not None
        assert found.offer.status == "open"
    assert (found.meaning == "relay") == bool(found.account)


KEYWORDS = st.sampled_from(
    ["YES", "oui", "d'accord", "Intéressé", "نعم", "NO", "non", "لا", "stop", "arrêt", "help", "bal"]
)
JOINTS = st.sampled_from([" ", "  ", ", ", " - ", "\n", "\u00a0", " \u200f"])


def disguised(text: str, choice: int) -> str:
    """The same text in another case, form or dress."""
    return [
        text,
        text.upper(),
        text.lower(),
        text.title() if "'" not in text else text,
        unicodedata.normalize("NFD", text),
        "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)),
        "".join(f"{c}\u064e" if "\u0621" <= c <= "\u064a" else c for c in text),  # with vowel signs
        text.translate({ord(str(d)): 0x0660 + d for d in range(10)}),
    ][choice]


@given(
    KEYWORDS, st.sampled_from(["", "1", "7"]), JOINTS, st.integers(0, 7), st.sampled_from(["", "!", " . ", "…", "؟"])
)
@settings(deadline=None, max_examples=300)
def test_dress_does_not_change_the_meaning(
    replies: Replies,
    make_offer: SHAPE,
    make_state: Callable[..., State],
    make_reply: Callable[..., Reply],
    word: str,
    number: str,
    joint: str,
    choice: int,
    end: str,
) -> None:
    state = make_state(make_offer(1))
    plain = understand(replies, make_reply(f"{word} {number}"), state, "en", NOW)
    dressed = understand(replies, make_reply(f"  {disguised(word + joint + number, choice)}{end}"), state, "en", NOW)
    assert dressed == plain
    assert (plain.meaning == "help") == (word == "help")


@given(st.text())
@settings(deadline=None, max_examples=300)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert tokens(fold(text)) == tokens(text)
