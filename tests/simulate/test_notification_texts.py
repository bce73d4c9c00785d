"""The notifications' texts, the templates that read them, and the population that gets them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.simulate import eocn, scenario
from kairos.simulate.ocs import TARIFF, Balances, Usage, show
from kairos.simulate.serials import serials
from kairos.simulate.subscribers import MOST, msisdn, population
from kairos.smpp import Encoding, measure

UNTIL = 1_795_543_200_000  # 2026-11-24 18:00 UTC
LANGUAGES = sorted(eocn.WORDINGS)

BALANCES = st.builds(
    Balances,
    main=st.integers(0, 10**7),
    data_kb=st.one_of(st.just(0), st.integers(1, 10**8)),
    data_until=st.just(UNTIL),
    voice_min=st.one_of(st.just(0), st.integers(1, 10**4)),
    voice_until=st.just(UNTIL - 33 * 3_600_000),
)
USAGES = st.builds(
    Usage,
    msisdn=st.just("12025550100"),
    service=st.sampled_from(sorted(TARIFF)),
    quantity=st.just(1),
    cost=st.integers(0, 10**5),
    balances=BALANCES,
)


def as_regex(template: str) -> re.Pattern[str]:
    """How a reader may take a template: named places, everything else to the letter."""
    kinds = {"word...": r".+?", "money": r"T\$\d+\.\d\d", "number": r"[\d.]+", "time": r"\d{4}-\d\d-\d\d \d\d:\d\d"}
    pieces = re.split(r"\{([^}]+)\}", template)
    out = []
    for index, piece in enumerate(pieces):
        name, _, kind = piece.partition(":")
        out.append(f"(?P<{name.replace('.', '_')}>{kinds.get(kind, r'[0-9a-z]+')})" if index % 2 else re.escape(piece))
    return re.compile("".join(out))


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            "Your data session cost T$0.35. Balance T$12.40, data 118.5 MB until 2026-11-24 18:00, "
            "voice 12 min until 2026-11-23 09:00. Ref 8f3a21",
        ),
        (
            "fr",
            "Votre session data a coûté T$0.35. Solde T$12.40, data 118.5 Mo jusqu'au 2026-11-24 18:00, "
            "voix 12 min jusqu'au 2026-11-23 09:00. Réf 8f3a21",
        ),
    ],
)
def test_the_full_form_word_for_word(language: str, expected: str) -> None:
    usage = Usage("12025550100", "data", 1, 35, Balances(1240, 118_500, UNTIL, 12, UNTIL - 33 * 3_600_000))
    assert eocn.text(language, usage, "8f3a21") == expected


@settings(deadline=None)
@given(st.sampled_from(LANGUAGES), USAGES)
def test_exactly_one_template_reads_each_text(language: str, usage: Usage) -> None:
    said = eocn.text(language, usage, "8f3a21")
    read = [found for one in eocn.patterns()[language] if (found := as_regex(one).fullmatch(said))]
    assert len(read) == 1
    fields = read[0].groupdict()
    assert eocn.services()[language][fields["service"]] == usage.service
    assert fields["cost"] == "T$" + show(usage.cost)
    assert fields["balances_main"] == "T$" + show(usage.balances.main)
    assert ("balances_data" in fields, "balances_voice" in fields) == (
        usage.balances.data_kb > 0,
        usage.balances.voice_min > 0,
    )
    assert fields["id"] == eocn.reference(said) == "8f3a21"


def test_an_allowance_that_was_just_used_up_is_still_named() -> None:
    before = Balances(100, 5, UNTIL, 0, 0)
    usage = Usage("12025550100", "data", 5, 0, Balances(100, 0, UNTIL, 0, 0))
    assert "data 0 MB until" in eocn.text("en", usage, "r", before)
    assert "data" not in eocn.text("en", Usage("1", "sms", 1, 3, usage.balances), "r")


def test_brief_forms_leave_room_in_one_message() -> None:
    usage = Usage("12025550100", "voice", 5, 25, Balances(975, 0, 0, 0, 0))
    rooms = {language: measure(eocn.text(language, usage, "182jwu80")) for language in LANGUAGES}
    assert all(one.parts == 1 for one in rooms.values())
    assert (rooms["en"].encoding, rooms["fr"].encoding, rooms["ar"].encoding) == (
        Encoding.GSM7,
        Encoding.GSM7,
        Encoding.UCS2,
    )
    assert min(rooms["en"].room, rooms["fr"].room) >= 100


def test_serials_never_come_again() -> None:
    first, later = serials(1_800_000_000_000), serials(1_800_000_001_000)
    assert len({next(first) for _ in range(1000)} | {next(later) for _ in range(1000)}) == 2000


def test_every_number_is_reserved_for_fiction() -> None:
    numbers = {msisdn(index) for index in range(MOST)}
    assert len(numbers) == MOST
    assert all(re.fullmatch(r"1[2-9]\d\d55501\d\d", number) for number in numbers)
    with pytest.raises(ValueError, match="reserved for fiction"):
        msisdn(MOST)


def test_a_seed_makes_the_same_population_and_another_does_not() -> None:
    assert population(50, 1) == population(50, 1)
    assert population(50, 1)[:20] == population(20, 1)
    assert population(50, 1) != population(50, 2)
    many = population(400, 1)
    assert {one.language for one in many} == {"en", "fr", "ar"}
    assert {one.consent for one in many} == {True, False}


@pytest.mark.parametrize(
    ("text", "number", "promise", "theme"),
    [
        ("Running low on data? 500MB for 24 hours, T$1. Reply 3", "3", 0, "bundle"),
        ("Reply 12: Talk 60 T$0.70", "12", 0, "bundle"),
        (
            "Your balance is T$0.40. Top up T$10 or more until 2026-11-24 and 30 min are yours, free.",
            "",
            1000,
            "promise",
        ),
        ("Rechargez T$5 dans les 24 heures : 15 min offertes.", "", 500, "promise"),
        ("Votre musique sans fin : Music Pass, 7 jours, T$1. Répondez 4", "4", 0, "content"),
        ("شاهد الفيديو بلا حدود 7 أيام بسعر T$2. أرسل 5", "5", 0, "content"),
        ("اشحن T$20 خلال 24 ساعة واحصل على 90 min مجانا.", "", 2000, "promise"),
        ("You would pay less with our Saver Plan. The change is free: reply 6", "6", 0, "care"),
        ("Reply with an offer's number to take it, NO to decline, STOP for no more offers.", "", 0, "bundle"),
        (
            "Talk 60 costs T$0.70, and your balance is too low. Nothing was charged. Please top up first.",
            "",
            0,
            "bundle",
        ),
    ],
)
def test_what_a_handset_reads_in_a_text(text: str, number: str, promise: int, theme: str) -> None:
    assert (scenario.number_in(text), scenario.promised_in(text), scenario.theme_of(text)) == (number, promise, theme)
