"""What is allowed but probably not meant, and how long messages can become."""

from __future__ import annotations

import pytest

from kairos.playbook import check, measure_messages, new, read
from kairos.playbook.keywords import tokens
from kairos.playbook.ussd import WORDS, WORDS_OF_OFFERS
from kairos.smpp.text import measure

GOOD = new("Good")

WARNINGS = {
    "a message of three SMS": (
        (
            "messages.yaml",
            "You have {data_left_mb} MB left.",
            "You have {data_left_mb} MB left. " + "Think of it. " * 20,
        ),
        "messages.yaml:6: `booster_sms` takes up to 3 SMS in en (340 units); 2 are enough to be read",
    ),
    "a letter that costs half of the room": (
        ("messages.yaml", "Running low?", "Forêt, “plaît-il”?"),
        "messages.yaml:3: `ê`, `“`, `î`, `”` cut the room of an SMS from 160 to 70 characters; "
        "choose other characters or words",
    ),
    "texts in the wrong order": (
        (
            "messages.yaml",
            '- "Reply {number}: {size} {price}"',
            '- "Running quite low? {size} for {validity}, {price}. Reply {number}"',
        ),
        "messages.yaml:4: this text is longer than the one before it; longest first",
    ),
    "no number to reply with": (
        ("messages.yaml", "Reply {number}: {size} {price}", "{size} {price}"),
        "messages.yaml:4: `booster_line` does not show the offer's `{number}`; "
        "say how to take it, as in `Reply {number}`, or with its `{link}`",
    ),
    "a message that nobody says": (
        ("messages.yaml", "booster_sms:", "old_line: {en: Hello}\nbooster_sms:"),
        "messages.yaml:5: nobody says the message `old_line`; use it or delete it",
    ),
    "a variant that can never be said": (
        ("offers/booster.yaml", "balance >= price", "price > 2"),
        "offers/booster.yaml:14: variant `small` of `booster` can never be said: `can afford it` never holds for it",
    ),
    "a price that nobody pays": (
        ("offers/booster.yaml", "charge: price, ", ""),
        "offers/booster.yaml:1: variant `small` of `booster` has a price that nobody is charged; "
        "add `charge: price` to `fulfil`, or leave it out",
    ),
    "an offer that is worth nothing": (
        ("offers/booster.yaml", "value: 0.50", "value: 0"),
        "offers/booster.yaml:1: variant `small` of `booster` is worth 0, so it ranks below all others; "
        "give it a `value`",
    ),
    "an advance that nobody counts": (
        ("offers/booster.yaml", "fulfil: {charge: price,", "kind: advance\nfulfil: {"),
        "offers/booster.yaml:1: nothing counts what is owed for `booster`: who has one may get another; "
        "add an attribute with `owed: yes`, as in `debt: {type: money, from: [recharge.debt], owed: yes}`",
    ),
    "a STOP that changes nothing": (
        ("contact_policy.yaml", "marketing consent: marketing_consent", "prepaid: plan = 'prepaid'"),
        "replies.yaml: STOP to 5000 withdraws `marketing_consent`, but no rule of `contact_only_when` asks for it; "
        "add it there, or STOP changes nothing",
    ),
    "a language without words": (
        ("playbook.yaml", "[en]", "[en, fr]"),
        "replies.yaml: 5000: `accept` has no word in fr; subscribers answer in the language they were asked in",
    ),
    "a message without a translation": (
        ("playbook.yaml", "[en]", "[en, fr]"),
        "messages.yaml:6: `booster_sms` has no text in fr; it is said in en until it has one",
    ),
    "an attribute that nothing sets": (
        ("vocabulary.yaml", "    from: [profile.language]", ""),
        "vocabulary.yaml: no event sets `language`; say what does, as in `from: [profile.plan]`",
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_what_is_probably_not_meant_is_said(case: str) -> None:
    (path, old, replacement), expected = WARNINGS[case]
    assert old in GOOD[path]
    texts = {**GOOD, path: GOOD[path].replace(old, replacement, 1)}
    texts["tests/booster.yaml"] = "[]"
    assert expected in [str(found) for found in check(read(texts))]


def test_the_worst_case_is_measured() -> None:
    found = {(m.message, m.index): m for m in measure_messages(read(GOOD))}
    line = found["booster_line", 0]
    assert line.text == "Running low? 500MB for 1 day, T$1. Reply 99"
    assert (line.encoding, line.units, line.parts) == ("gsm7", 43, 1)
    sms = found["booster_sms", 0]
    assert sms.text.startswith("You have 99999 MB left. Get 500MB for 1 day")
    assert found["confirmed", 0].text == "Data 500MB is active. Price: T$1."
    assert found["help", 0].units == measure(GOOD_HELP).units


GOOD_HELP = "Reply with an offer's number to take it, NO to decline, STOP for no more offers."


def test_the_worst_case_is_measured_in_the_encoding_it_needs() -> None:
    """One variant's own words can turn a text into UCS-2."""
    texts = {**GOOD, "offers/booster.yaml": GOOD["offers/booster.yaml"].replace("size: 2GB", "size: 2Гб")}
    found = {(m.message, m.index): m for m in measure_messages(read(texts))}
    assert found["booster_sms", 0].encoding == "ucs2"
    assert found["booster_sms", 0].parts == 2
    assert found["help", 0].encoding == "gsm7"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("YES", " yes "),
        ("Ja!", "ja"),
        ("arrêt", "ARRET"),
        ("n o", "no"),
        ("إلغاء", "الغاء"),
        ("نَعَمْ", "نعم"),
        ("نعـــم", "نعم"),
        ("\u200fنعم\u200f", "نعم"),
        ("٢", "2"),
        ("１２", "12"),
        ("Straße", "STRASSE"),
        ("İptal", "iptal"),
        ("«oui»", "oui"),
    ],
)
def test_spellings_of_one_word(first: str, second: str) -> None:
    assert tokens(first) == tokens(second)


@pytest.mark.parametrize(
    ("first", "second"), [("no", "non"), ("لا", "لأن"), ("ок", "ok"), ("yes", "yes 2"), ("yes", "y")]
)
def test_different_words_stay_different(first: str, second: str) -> None:
    assert tokens(first) != tokens(second)


@pytest.mark.parametrize(("words", "warned"), [("{size}?", True), ("{size} at {price}?", False)])
@pytest.mark.parametrize("charged", [True, False])
def test_what_is_begun_by_ussd_and_charged_names_its_price(words: str, warned: bool, charged: bool) -> None:
    offer = GOOD["offers/booster.yaml"].replace(
        "{channel: sms, message: booster_sms}", "{channel: ussd_push, message: ask}"
    )
    spoken = "".join(f'  "{word}": Word\n' for word in (*WORDS, *WORDS_OF_OFFERS))
    texts = GOOD | {
        "offers/booster.yaml": offer if charged else offer.replace("charge: price, ", ""),
        "messages.yaml": f"ask: {{en: '{words}'}}\n" + GOOD["messages.yaml"],
        "ussd.yaml": f'entries: {{"*123#": offers}}\nwords:\n{spoken}',
        "tests/booster.yaml": "[]",
    }
    said = [str(found) for found in check(read(texts))]
    assert any("`ask` does not show the offer's `{price}`" in one for one in said) == (warned and charged)


def test_a_link_is_as_long_as_the_page_of_the_settings_makes_it() -> None:
    texts = GOOD | {"messages.yaml": GOOD["messages.yaml"].replace("Reply {number}: {size}", "{link} {size}", 1)}
    for page in ("https://offers.example", "https://o.example/mobile"):
        found = max(m.units for m in measure_messages(read(texts), page) if page in m.text)
        assert found == len(f"{page}/o/{'x' * 25} 500MB T$1")


def test_what_has_only_texts_with_a_link_needs_a_page() -> None:
    alone = GOOD["messages.yaml"].replace("{number}: {size}", "{link} {size}").replace("Running low?", "{link}")
    said = "every text of `booster_line` in en says `{link}`, and there is no landing page"
    for page, named in (("", True), (None, False), ("https://offers.example", False)):
        assert any(said in str(found) for found in check(read(GOOD | {"messages.yaml": alone}), page)) == named
    with_another = GOOD["messages.yaml"].replace("{number}: {size}", "{link} {size}", 1)
    assert not any(said in str(found) for found in check(read(GOOD | {"messages.yaml": with_another}), ""))


def test_the_words_of_the_page_are_said_by_the_page() -> None:
    texts = GOOD | {
        "messages/page.yaml": "page_take: {en: Take it}",
        "playbook.yaml": GOOD["playbook.yaml"].replace("[en]", "[en, fr]"),
    }
    found = [str(one) for one in check(read(texts)) if "page_take" in str(one)]
    assert found == ["messages/page.yaml:1: `page_take` has no text in fr; it is said in en until it has one"]
