"""Patterns: what they read, what they refuse, and that no text takes long."""

from __future__ import annotations

import re._parser as re_parser  # type: ignore[import-not-found]
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.domain.money import Currency
from kairos.domain.subscriber import Bucket
from kairos.errors import SettingsError
from kairos.ingest import Matched, Patterns, Template, compile_patterns
from kairos.ingest.notifications import LONGEST_NOTIFICATION
from kairos.playbook.vocabulary import Vocabulary

DATA_ENDS = 1_795_543_200_000  # 2026-11-24 18:00 UTC
VOICE_ENDS = 1_795_424_400_000  # 2026-11-23 09:00 UTC

FULL = (
    "Your {service:words} cost {cost:money}. Balance {balances.main:money}, data {balances.data:number} MB until "
    "{balances.data.expires:time}, voice {balances.voice:number} min until {balances.voice.expires:time}. Ref {id}"
)
ENGLISH = {"service": {"call": "voice", "data session": "data", "purchase": "vas"}}
TEMPLATES = [
    Template("ocs", "en", "end_of_call", FULL, ENGLISH, where="kairos.toml, patterns 1"),
    Template("ocs", "en", "end_of_call", "Your {service} cost {cost}. Balance {balances.main}. Ref {id}", ENGLISH),
    Template(
        "ocs",
        "fr",
        "end_of_call",
        "Votre {service:word...} a coûté {cost:money}. Solde {balances.main:money}. Réf {id}",
        {"service": {"appel": "voice", "session data": "data"}},
    ),
    Template(
        "ocs",
        "ar",
        "end_of_call",
        "تكلفة {service:words} {cost:money}. الرصيد {balances.main:money}. المرجع {id}",
        {"service": {"المكالمة": "voice", "جلسة البيانات": "data"}},
    ),
    Template("shop", "en", "recharge", "Thank you! {amount} until {valid_until}"),
]


@pytest.fixture(scope="module")
def patterns(vocabulary: Vocabulary, currency: Currency) -> Patterns:
    return compile_patterns(TEMPLATES, vocabulary, currency)


def only(vocabulary: Vocabulary, currency: Currency, text: str, **changes: Any) -> Patterns:
    template = replace(Template("a", "en", "end_of_call", text, where="kairos.toml, patterns 1"), **changes)
    return compile_patterns([template], vocabulary, currency)


EOCN = (
    "Your data session cost T$0.35. Balance T$12.40, data 118.5 MB until 2026-11-24 18:00, "
    "voice 12 min until 2026-11-23 09:00. Ref 8f3a21"
)


def test_a_whole_notification(patterns: Patterns) -> None:
    buckets = [Bucket("main", 1240), Bucket("data", 1185, DATA_ENDS), Bucket("voice", 12, VOICE_ENDS)]
    expected = Matched("end_of_call", "en", "8f3a21", {"service": "data", "cost": 35, "balances": buckets})
    assert patterns.match("ocs", EOCN) == expected


@pytest.mark.parametrize(
    ("text", "language", "service", "cost", "main"),
    [
        ("Your call cost T$0.35. Balance T$12.40. Ref a", "en", "voice", 35, 1240),
        ("  Your  CALL cost T$ 0.35.\nBalance 12.4. Ref a  ", "en", "voice", 35, 1240),
        ("Your call cost XTS 3. Balance -T$1.05. Ref a", "en", "voice", 300, -105),
        ("Your call cost 0. Balance T$-1.05. Ref a", "en", "voice", 0, -105),
        ("Your call cost 3 T$. Balance 7 XTS. Ref a", "en", "voice", 300, 700),
        ("Your data\u00a0session cost T$0.35. Balance T$12.40. Ref a", "en", "data", 35, 1240),
        ("Votre session data a coûté T$0.35. Solde T$12.40. Réf a", "fr", "data", 35, 1240),
        ("Votre appel a cou\u0302te\u0301 T$0.35. Solde T$12.40. Re\u0301f a", "fr", "voice", 35, 1240),
        ("تكلفة جلسة البيانات T$0.35. الرصيد T$12.40. المرجع a", "ar", "data", 35, 1240),
    ],
)
def test_ways_to_say_it(patterns: Patterns, text: str, language: str, service: str, cost: int, main: int) -> None:
    data = {"service": service, "cost": cost, "balances": [Bucket("main", main)]}
    assert patterns.match("ocs", text) == Matched("end_of_call", language, "a", data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Your parcel is here",
        "Your call cost T$0.35. Balance T$12.40. Ref",
        "Your call cost T$0.35. Balance T$12.40. Ref a b",
        "Your call cost T$0.355. Balance T$12.40. Ref a",  # more decimals than the currency has
        "Your call cost €0.35. Balance T$12.40. Ref a",
        "Your call cost T$1,000.35. Balance T$12.40. Ref a",  # never guess what a comma means
        "Your pigeon cost T$0.35. Balance T$12.40. Ref a",  # no known service
        "Your call cost T$٣. Balance T$12.40. Ref a",
        EOCN.replace("2026-11-24", "2026-02-30"),
        EOCN.replace("118.5", "118.55"),
        EOCN + " " * LONGEST_NOTIFICATION + ".",
    ],
)
def test_what_is_not_read_whole_and_sound_is_not_read(patterns: Patterns, text: str) -> None:
    assert patterns.match("ocs", text) is None


def test_an_account_has_its_own_patterns(patterns: Patterns) -> None:
    assert patterns.match("shop", EOCN) is None
    assert patterns.match("nobody", EOCN) is None
    matched = patterns.match("shop", "Thank you! T$5 until 2026-11-24 18:00")
    assert matched == Matched("recharge", "en", "", {"amount": 500, "valid_until": DATA_ENDS})


def test_without_words_the_text_is_the_value(vocabulary: Vocabulary, currency: Currency) -> None:
    patterns = only(vocabulary, currency, "{service:words} ended after {duration_s} s, {cost:money}")
    matched = patterns.match("a", "Long Call ended after 12.5 s, T$1")
    assert matched is not None
    assert matched.data == {"service": "Long Call", "duration_s": 12.5, "cost": 100}


def test_a_single_word_holds_no_space(vocabulary: Vocabulary, currency: Currency) -> None:
    patterns = only(vocabulary, currency, "Your {service:word} cost {cost}")
    assert patterns.match("a", "Your call cost 1") is not None
    assert patterns.match("a", "Your long call cost 1") is None


def test_times_and_decimals_as_the_sender_writes_them(vocabulary: Vocabulary, currency: Currency) -> None:
    text = "{cost}; {balances.data} MB -> {balances.data.expires}"
    patterns = only(vocabulary, currency, text, time_format="%d/%m/%y %H:%M:%S", time_zone="Asia/Kolkata", decimal=",")
    matched = patterns.match("a", "1,5; 2,5 MB -> 24/11/26 23:30:00")
    assert matched is not None
    assert matched.data == {"cost": 150, "balances": [Bucket("data", 25, DATA_ENDS)]}
    assert patterns.match("a", "1,5; 2,5 MB -> 24/11/26 24:30:00") is None


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("{cost}", {"kind": "end_of_cal"}, "`end_of_cal` is not a known event; did you mean `end_of_call`?"),
        ("{cots}", {}, "`cots` is not a field of `end_of_call`; did you mean `cost`?"),
        ("{cost:monye}", {}, "`monye` is not a type of place; did you mean `money`?"),
        ("{cost:time}", {}, "`cost` is money, it cannot be read as `time`; write `{cost:money}`"),
        ("{balances}", {}, "`balances` has many balances; name one, such as `balances.main`"),
        ("{balances.mian}", {}, "`mian` is not a known wallet; did you mean `main`?"),
        (
            "{balances.main:number}",
            {},
            "`balances.main` is money, it cannot be read as `number`; write `{balances.main:money}`",
        ),
        ("{balances.main.ends}", {}, "`main.ends` is not known; write `main` or `main.expires`"),
        (
            "{balances.data.expires}",
            {},
            "`balances.data.expires` has no amount to go with; add a place for `balances.data`",
        ),
        ("{cost.main}", {}, "`cost.main` goes too deep; `cost` is money"),
        ("{first}", {"kind": "recharge"}, "`first` is boolean, which cannot be read from a text"),
        ("{cost}{id}", {}, "nothing stands between `{cost}` and `{id}`; put the text's own characters there"),
        ("{cost} and {cost}", {}, "`cost` stands there more than once"),
        ("cost} it is", {}, "`cost} it is` has a brace without its partner; write places like {cost:money}"),
        ("no place", {}, "the pattern has no place to read from; write places like {cost:money}"),
        (
            "{cost}",
            {"words": {"service": {}}},
            "words are given for `service`, which the pattern does not read; add a place `{service:words}`",
        ),
        (
            "{valid_until}",
            {"kind": "recharge", "time_format": "%Y-%j"},
            "`%j` in `%Y-%j` is not known; use %Y %m %d %H %M %S %y",
        ),
        ("{valid_until}", {"kind": "recharge", "time_format": "%H:%M"}, "`%H:%M` has no full date; use %Y, %m and %d"),
        (
            "{valid_until}",
            {"kind": "recharge", "time_zone": "Moon"},
            "`Moon` is not a time zone; use an IANA name such as `Europe/London`",
        ),
    ],
)
def test_errors_name_the_place_and_the_word(
    vocabulary: Vocabulary, currency: Currency, text: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError) as error:
        only(vocabulary, currency, text, **changes)
    assert str(error.value) == f"kairos.toml, patterns 1: {message}"


def test_all_errors_come_at_once(vocabulary: Vocabulary, currency: Currency) -> None:
    templates = [Template("a", "en", "recharge", "{x}", where="1"), Template("a", "en", "nothing", "{x}", where="2")]
    with pytest.raises(SettingsError) as error:
        compile_patterns(templates, vocabulary, currency)
    assert [diagnostic.file for diagnostic in error.value.diagnostics] == ["1", "2"]


def test_the_texts_of_a_pattern_are_not_expressions(vocabulary: Vocabulary, currency: Currency) -> None:
    patterns = only(vocabulary, currency, "(a+)+$ [x] .* {cost} \\d|?")
    assert patterns.match("a", "(a+)+$ [x] .* 5 \\d|?") is not None
    assert patterns.match("a", "aaaa$ x 5 1|?") is None


def show(minor: int) -> str:
    return f"{'-' if minor < 0 else ''}T${abs(minor) // 100}.{abs(minor) % 100:02d}"


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(list(ENGLISH["service"])),
    st.integers(-(10**14), 10**14),
    st.integers(-(10**14), 10**14),
    st.integers(0, 10**9),
    st.integers(0, 10**6),
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - read as UTC below
    st.text("0123456789abcdef-", min_size=1, max_size=64),
)
def test_what_was_written_is_read_exactly(
    patterns: Patterns, words: str, cost: int, main: int, data: int, voice: int, ends: datetime, reference: str
) -> None:
    minute = ends.replace(second=0, microsecond=0, tzinfo=UTC)
    until = f"{minute:%Y-%m-%d %H:%M}"
    text = (
        f"Your {words} cost {show(cost)}. Balance {show(main)}, data {data // 10}.{data % 10} MB until {until}, "
        f"voice {voice} min until {until}. Ref {reference}"
    )
    at = int(minute.timestamp()) * 1000
    buckets = [Bucket("main", main), Bucket("data", data, at), Bucket("voice", voice, at)]
    expected = {"service": ENGLISH["service"][words], "cost": cost, "balances": buckets}
    assert patterns.match("ocs", text) == Matched("end_of_call", "en", reference, expected)


PIECES = [
    "Your ",
    "call",
    " ",
    "cost ",
    "T$",
    "0",
    "1.",
    ".5",
    ". Balance ",
    ", data ",
    " MB until ",
    "2026-11-24",
    " 18:00",
    "-",
    "Ref ",
]


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(PIECES), max_size=60).map("".join)))
def test_any_text_matches_or_does_not(patterns: Patterns, text: str) -> None:
    matched = patterns.match("ocs", text)
    assert matched is None or matched.kind == "end_of_call"


def loops(parsed: Any, guarded: bool = False) -> Iterator[bool]:
    """For each repetition of more than once in a parsed expression: whether it is sure to give nothing back."""
    for operation, argument in parsed:
        name = str(operation)
        if name.endswith("REPEAT"):
            _least, most, inner = argument
            safe = guarded or name == "POSSESSIVE_REPEAT" or most == _least
            if most > 1:
                yield safe
            yield from loops(inner, safe)
        elif name == "ATOMIC_GROUP":
            yield from loops(argument, guarded=True)
        elif name == "SUBPATTERN":
            yield from loops(argument[-1], guarded)
        elif name in ("ASSERT", "ASSERT_NOT"):
            yield from loops(argument[1], guarded)
        elif name == "BRANCH":
            for branch in argument[1]:
                yield from loops(branch, guarded)
        else:
            assert name in ("LITERAL", "IN", "ANY", "NOT_LITERAL", "AT"), name


def test_an_expression_has_no_way_back(patterns: Patterns, vocabulary: Vocabulary, currency: Currency) -> None:
    """A repetition that gives nothing back is walked once, so no text can make a match slow."""
    nasty = only(
        vocabulary,
        currency,
        "{service:words} {cost} {balances.main} {balances.data} {balances.voice} {id} {duration_s}.",
    )
    for account in (patterns, nasty):
        for pattern in (pattern for compiled in account._accounts.values() for pattern in compiled):
            expression = pattern.match.__self__.pattern  # type: ignore[attr-defined]
            found = list(loops(re_parser.parse(expression)))
            assert len(found) > 3
            assert all(found), expression


def test_the_check_itself_would_find_a_way_back() -> None:
    assert list(loops(re_parser.parse("(a+)+b"))) == [False, False]
    assert list(loops(re_parser.parse("(?>(a+))b++c{3}d?"))) == [True, True, True]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join), st.sampled_from(PIECES))
def test_a_very_long_text_does_no_harm(vocabulary: Vocabulary, currency: Currency, prefix: str, again: str) -> None:
    text = "Your {service:words} and cost {cost} {balances.main} {balances.data} {balances.voice} {id}."
    fullmatch = only(vocabulary, currency, text)._accounts["a"][0].match
    assert fullmatch(prefix + again * 100_000) is None
