"""ussd.yaml: what it may say, and what its writer is told."""

from __future__ import annotations

from typing import Any

import pytest

from kairos.errors import PlaybookError
from kairos.playbook import read
from kairos.playbook.ussd import WORDS, WORDS_OF_OFFERS, Menus

WORDED = "words:\n" + "".join(
    f'  "{word}": {{en: {word} it, fr: "{word} fr"}}\n' for word in (*WORDS, *WORDS_OF_OFFERS)
)
SOUND = (
    """entries:
  "*123#": main
  "*123*4#": offers
menus:
  main:
    title: {en: Account, fr: Compte}
    items:
      - {label: {en: Offers}, offers: yes}
      - {label: {en: Balance}, text: {en: ["Balance {balance}, {plan}", "Balance {balance}"]}}
      - {label: {en: More}, menu: help}
      - {label: {en: Care}, to: care, dial: "*9#"}
      - {label: {en: Up}, parent: yes}
  help:
    title: Help
    items: [{label: How, text: So.}]
at_most: 5
"""
    + WORDED
)


def menus(texts: dict[str, str], ussd: str) -> Menus:
    found = read(texts | {"ussd.yaml": ussd}).ussd
    assert found
    return found


def test_menus_are_read(texts: dict[str, str]) -> None:
    found = menus(texts, SOUND)
    assert found.entries == {"*123#": "main", "*123*4#": "offers"}
    assert [(item.leads, item.name) for item in found.menus["main"].items] == [
        ("offers", ""),
        ("text", "main/2"),
        ("menu", "help"),
        ("to", "care"),
        ("to", "parent"),
    ]
    assert found.texts["main/2"] == {"en": ("Balance {balance}, {plan}", "Balance {balance}")}
    assert (sorted(found.systems), found.at_most) == (["care", "parent"], 5)
    assert found.menus["help"].title == {"en": ("Help",)}


def test_several_texts_without_a_language_are_the_first_ones(texts: dict[str, str]) -> None:
    found = menus(
        texts,
        SOUND.replace('text: {en: ["Balance {balance}, {plan}", "Balance {balance}"]}', 'text: ["Long {plan}", Short]'),
    )
    assert found.texts["main/2"] == {"en": ("Long {plan}", "Short")}


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('"*123#": main', '"123": main', 2, "`123` is no service code"),
        ('"*123#": main', '"*123#": mian', 2, "there is no menu `mian`: did you mean `main`?"),
        ("menu: help", "menu: hlep", 10, "there is no menu `hlep`: did you mean `help`?"),
        ("offers: yes}", "offer: yes}", 8, "unknown key `offer`: did you mean `offers`?"),
        ("offers: yes}", "offers: yes, menu: help}", 8, "the item leads two ways: offers and menu"),
        ("{label: {en: Up}, parent: yes}", "{label: {en: Up}}", 12, "the item leads nowhere"),
        ("{label: {en: Up}, parent: yes}", "{parent: yes}", 12, "the item has no label"),
        ("parent: yes", "parent: no", 12, "`parent: no` leads nowhere"),
        ("parent: yes", "parent: yes, dial: '*1#'", 12, "`dial` is for an item that leads `to` another system"),
        ("{plan}", "{plann}", 9, "unknown placeholder `{plann}`: did you mean `plan`?"),
        ("{plan}", "{marketing_consent}", 9, "unknown placeholder `{marketing_consent}`"),
        ("title: {en: Account, fr: Compte}", "title: {fr: Compte}", 6, "there is no text in en"),
        ("title: Help", "title: Help {plan}", 14, "unknown placeholder `{plan}`"),
        ("title: Help", "title: Help {", 14, "a brace stands alone"),
        ("fr: Compte", "de: Konto", 6, "unknown language `de`"),
        ("at_most: 5", "at_most: 11", 16, "at_most: `11` is no whole number from 1 to 10"),
        ('  "sure": {en: sure it, fr: "sure fr"}\n', "", 18, "the word `sure` is missing"),
        ('  "more": {en: more it', '  "mroe": {en: more it', 18, "unknown word `mroe`: did you mean `more`?"),
        ("more it", "more of what there is and more", 18, "`more` is longer than 20 characters"),
        ("sure it", '"{tittle}"', 27, "unknown placeholder `{tittle}`: did you mean `title`?"),
        ("menus:\n  main:", "menus:\n  offers:", 5, "`offers` cannot name a menu"),
    ],
)
def test_what_is_wrong_has_its_line(texts: dict[str, str], old: str, new: str, line: int, said: str) -> None:
    assert old in SOUND
    with pytest.raises(PlaybookError) as told:
        menus(texts, SOUND.replace(old, new, 1))
    found: Any = told.value.diagnostics
    assert any(
        one.file == "ussd.yaml" and one.line == line and said in f"{one.message}: {one.hint}" for one in found
    ), [(one.line, one.message, one.hint) for one in found]


@pytest.mark.parametrize(
    ("treatments", "said"),
    [
        (
            "ride: {channel: notification, message: booster_line, fallback: sms}",
            "nothing falls back from `notification`",
        ),
        ("menu: {channel: ussd, message: booster_line, fallback: sms}", "and there is no treatment on it"),
        ("menu: {channel: ussd, message: booster_line, fallback: fax}", "unknown fallback `fax`"),
    ],
)
def test_a_fallback_has_words_of_its_own(texts: dict[str, str], treatments: str, said: str) -> None:
    old = "  ride: {channel: notification, message: booster_line}\n  own: {channel: sms, message: booster_line}\n"
    assert old in texts["offers/booster.yaml"]
    changed = texts["offers/booster.yaml"].replace(old, f"  {treatments}\n")
    with pytest.raises(PlaybookError, match=said):
        read(texts | {"offers/booster.yaml": changed})
