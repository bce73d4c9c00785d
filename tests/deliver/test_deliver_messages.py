"""Messages: values as texts, languages with a fallback, and the line that costs no further part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.deliver import (
    JOINT,
    Messages,
    compile_messages,
    compile_template,
    offer_values,
    title_of,
    values_for,
    values_of,
)
from kairos.domain.subscriber import OpenOffer
from kairos.playbook.action import Action, Variant
from kairos.playbook.playbook import Playbook
from kairos.smpp.text import Encoding, measure

EVENING = 1_795_543_200_000  # 2026-11-24 18:00 UTC
HOUR = 3_600_000
ROW = {"data_left_mb": 118.5, "balance": 1240, "now": EVENING, "local": EVENING + 2 * HOUR}


@pytest.fixture(scope="session")
def messages(spoken: Playbook) -> Messages:
    return compile_messages(spoken)


def open_offer(number: int = 7) -> OpenOffer:
    return OpenOffer(
        number=number,
        key="k1",
        decision=1,
        action="booster",
        variant="small",
        kind="sell",
        title="500 MB for 1 day",
        price=1050,
        product="DATA500_1D",
        charges=True,
        language="en",
        short_code="5000",
        channel="sms",
        made=0,
        expires=EVENING,
        after_decline=0,
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("balance", 1240, "T$12.40"),
        ("balance", 1200, "T$12"),
        ("balance", -5, "-T$0.05"),
        ("data_session.cost", 35, "T$0.35"),
        ("data_left_mb", 118.5, "118.5"),
        ("data_left_mb", 2.0, "2"),
        ("data_left_mb", 2e9, "2000000000"),
        ("data_left_mb", 0.1 + 0.2, "0.3"),
        ("data_left_mb", -0.001, "0"),
        ("data_left_mb", 12, "12"),
        ("name", "Ada", "Ada"),
        ("birthday", 20_781, "2026-11-24"),
        ("birthday", 10**9, None),
        ("last_recharge", EVENING, "2026-11-24 20:00"),  # the clock where the subscriber is
        ("last_recharge", 10**18, None),
        ("local", EVENING, "2026-11-24 18:00"),
        ("consent", True, None),  # yes and no are words of a language
        ("balance", None, None),
        ("unheard_of", None, None),
    ],
)
def test_columns_as_texts(
    spoken: Playbook, booster: Action, small_variant: Variant, name: str, value: Any, said: str | None
) -> None:
    values = values_for(spoken, offer_values(spoken, booster, small_variant), 1, "5000", EVENING, ROW | {name: value})
    assert values[name] == said
    assert values[name] == said  # remembered


def test_the_offers_names(spoken: Playbook, booster: Action, small_variant: Variant) -> None:
    values = values_for(
        spoken, offer_values(spoken, booster, small_variant), 3, "5000", EVENING, {"price": 1, "size": "other"}
    )
    said = {name: values[name] for name in ("title", "price", "number", "short_code", "expires", "size", "days")}
    assert said == {
        "title": "500 MB for 1 day",
        "price": "T$10",
        "number": "3",
        "short_code": "5000",
        "expires": "2026-11-24 18:00",
        "size": "500 MB",
        "days": "1",
    }


def test_without_a_number_no_text_asks_for_one(
    spoken: Playbook, messages: Messages, booster: Action, small_variant: Variant
) -> None:
    values = values_for(spoken, offer_values(spoken, booster, small_variant), 0, "5000", EVENING, ROW)
    assert messages.texts("booster_line", "en", values) == []
    assert messages.text("care", "en", values) == "Calls cost half after 8 pm."


def test_an_answer_says_the_offer_as_it_was_made(spoken: Playbook) -> None:
    values = values_of(spoken, open_offer(), EVENING, ROW, "5000")
    assert (values["title"], values["price"], values["number"]) == ("500 MB for 1 day", "T$10.50", "7")
    assert values["balance"] == "T$12.40"
    nothing = values_of(spoken, None, EVENING, ROW, "5000")
    assert (nothing["title"], nothing["short_code"]) == (None, "5000")


def test_a_title_that_lacks_a_field_stays_as_it_is(booster: Action, small_variant: Variant) -> None:
    assert title_of(replace(booster, title="{size} for {colour}"), small_variant) == "{size} for {colour}"


@pytest.mark.parametrize(
    ("preferred", "language"),
    [
        ("en", "en"),
        ("fr-FR", "fr"),
        ("FR_ca", "fr"),
        (" ar ", "ar"),
        ("AR", "ar"),
        ("de", "en"),
        ("", "en"),
        ("-", "en"),
    ],
)
def test_language_for(messages: Messages, preferred: str, language: str) -> None:
    assert messages.language_for(preferred) == language


def test_a_regional_language_of_the_playbook_goes_first() -> None:
    assert Messages(("en", "fr", "fr-CA"), {}).language_for("fr_ca") == "fr-CA"


def test_the_fallback_language_speaks_where_the_message_has_no_other(messages: Messages) -> None:
    assert messages.text("care", "ar", {}) == "Calls cost half after 8 pm."
    assert messages.text("fickle", "fr", {"name": "Ada"}) == "Dear Ada, hello."  # the app is not known
    assert messages.text("fickle", "fr", {"name": "Ada", "app": "FicTube"}) == "Votre appli FicTube et Ada"
    assert messages.text("fickle", "fr", {"name": None}) is None


def test_what_is_filled_in_decides_which_is_longest() -> None:
    messages = compile_messages_of("{a}{a}", "{b}")
    assert messages.texts("m", "en", {"a": "x", "b": "longer"}) == ["longer", "xx"]


def compile_messages_of(*texts: str) -> Messages:
    return Messages(("en",), {"m": {"en": tuple(map(compile_template, texts))}})


def test_an_unknown_message_is_a_key_error(messages: Messages) -> None:
    with pytest.raises(KeyError):
        messages.text("nobody_wrote_it", "en", {})


LINE = {"title": "500 MB", "price": "T$10", "expires": "2026-11-24 18:00", "number": "1", "short_code": "5000"}


@pytest.mark.parametrize(
    ("language", "length", "parts_at_most", "ends"),
    [
        ("en", 60, 0, "You have 9 MB"),
        ("en", 140, 0, "500 MB: 1"),
        ("en", 150, 0, "500 MB: 1"),
        ("en", 151, 0, None),
        ("en", 151, 2, "You have 9 MB"),
        ("en", 160, 0, None),
        ("en", 161, 0, "You have 9 MB"),  # two parts are paid for already
        ("en", 306, 0, None),
        ("ar", 60, 0, None),  # one Arabic letter, and the notification's 60 letters are UCS-2 too
        ("ar", 60, 2, "1"),
        ("ar", 20, 0, "1"),
    ],
)
def test_the_longest_line_that_fits(
    messages: Messages, language: str, length: int, parts_at_most: int, ends: str | None
) -> None:
    notification = "n" * length
    whole = messages.line("booster_line", language, LINE | {"data_left_mb": "9"}, notification, parts_at_most)
    if ends is None:
        assert whole is None
    else:
        assert whole is not None
        assert whole.startswith(notification + JOINT)
        assert whole.endswith(ends)


def test_a_ucs2_notification_has_ucs2_room() -> None:
    messages = compile_messages_of("n" * 9, "n" * 8)
    notification = "ي" * 61
    assert messages.line("m", "en", {}, notification) == notification + JOINT + "n" * 8


@given(
    st.text(st.sampled_from("abc é€^{ي\U0001f600"), max_size=330),
    st.lists(st.text(st.sampled_from("xyz €д"), min_size=1, max_size=180), min_size=1, max_size=4),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=200)
def test_a_line_never_costs_a_part_and_never_changes_the_notification(
    notification: str, texts: list[str], parts_at_most: int
) -> None:
    messages = compile_messages_of(*texts)
    paid = max(measure(notification).parts, parts_at_most)
    fits = [text for text in texts if measure(notification + JOINT + text).parts <= paid]
    whole = messages.line("m", "en", {}, notification, parts_at_most)
    if not fits:
        assert whole is None
        return
    assert whole is not None
    assert whole.startswith(notification + JOINT)
    assert len(whole) - len(notification) - len(JOINT) == max(map(len, fits))
    assert measure(whole).parts <= paid


def test_the_joint_is_one_unit_everywhere() -> None:
    assert [measure(JOINT, encoding).units for encoding in Encoding] == [1, 1, 1]
