"""Mappings: any system's JSON becomes events, exactly, or says in its own words why not."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.domain.event import Event
from kairos.domain.inputs import Change
from kairos.domain.money import Currency
from kairos.domain.subscriber import Bucket, Owned
from kairos.errors import EventError, SettingsError
from kairos.ingest import EventReader, Mapped, Mappings, Passed, TooLongError, Unreadable
from kairos.playbook.vocabulary import Vocabulary, Wallet
from kairos.settings import read_settings

NOW = 1_795_424_400_000  # 2026-11-23T09:00:00Z
JSON = "application/json"

VOCABULARY = Vocabulary(
    events={
        "spend": {
            "what": "text",
            "cost": "money",
            "count": "number",
            "first": "boolean",
            "until": "time",
            "day": "date",
            "balances": "balances",
            "has": "products",
        },
        "other": {"what": "text"},
    },
    wallets={
        "main": Wallet("main", "money", 2),
        "data": Wallet("data", "MB", 3),
        "points": Wallet("points", "points", 0),
    },
)
CURRENCY = Currency("XTS", 2, "T$")
BASE = 'source = "s"\nname = "m"\nevent = "spend"\nid = "id"\nsubscriber = "who"\n'


def mappings(*texts: str, vocabulary: Vocabulary = VOCABULARY, currency: Currency = CURRENCY) -> Mappings:
    """Of a settings file with these mappings."""
    toml = "[sources.s]\n" + "".join(f"[[mappings]]\n{text}\n" for text in texts)
    return Mappings(read_settings(toml, {}).mappings, vocabulary, currency, EventReader(vocabulary, currency))


def read(toml: str, payload: Any, *more: str) -> list[Any]:
    body = payload if isinstance(payload, bytes) else json.dumps({"id": "1", "who": "+12025550123"} | payload).encode()
    return [outcome for _, outcome in mappings(BASE + toml, *more).read("s", JSON, body, NOW)]


def event(toml: str, payload: Any) -> Event:
    (outcome,) = read(toml, payload)
    assert isinstance(outcome, Mapped), outcome
    assert isinstance(outcome.event, Event)
    return outcome.event


def wrong(toml: str, payload: Any) -> str:
    (outcome,) = read(toml, payload)
    assert isinstance(outcome, Unreadable), outcome
    return str(outcome.error)


def unsound(toml: str, base: str = BASE) -> str:
    with pytest.raises(SettingsError) as caught:
        mappings(base + toml)
    return str(caught.value)


# --- what becomes of one value ------------------------------------------------------------

MONTH = '"%d/%m/%Y %H:%M"'

READ: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "text": ('data.what = "a.b"', {"a": {"b": "voice"}}, {"what": "voice"}),
    "a whole number for text": ('data.what = "a"', {"a": 17}, {"what": "17"}),
    "a constant": ('data.what = {constant = "vas"}', {}, {"what": "vas"}),
    "an expression": ("data.what = \"join('-', [a, b])\"", {"a": "x", "b": "y"}, {"what": "x-y"}),
    "what is not there is left out": ('data.what = "a.b.c"', {"a": {"b": "text"}}, {}),
    "what is empty, too": ('data.what = "a"', {"a": ""}, {}),
    "null, too": ('data.cost = "a"', {"a": None}, {}),
    "a word": ('data.what = {path = "a", words = {CALL = "voice"}}', {"a": "CALL"}, {"what": "voice"}),
    "a word in another case": (
        'data.what = {path = "a", words = {"A Call" = "voice"}}',
        {"a": "a  CALL"},
        {"what": "voice"},
    ),
    "any other word": ('data.what = {path = "a", words = {C = "voice"}, other = "vas"}', {"a": "?"}, {"what": "vas"}),
    "a number that is a word": ('data.what = {path = "a", words = {"1" = "voice"}}', {"a": 1}, {"what": "voice"}),
    "yes by a word": ('data.first = {path = "a", words = {Y = true, N = false}}', {"a": "N"}, {"first": False}),
    "yes": ('data.first = "a"', {"a": True}, {"first": True}),
    "money": ('data.cost = "a"', {"a": 12.5}, {"cost": 1250}),
    "money as text": ('data.cost = "a"', {"a": "0.10"}, {"cost": 10}),
    "money that no float holds": (
        'data.cost = "a"',
        b'{"id":"1","who":"+12025550123","a":9007199254740.93}',
        {"cost": 900719925474093},
    ),
    "money with an exponent": ('data.cost = "a"', b'{"id":"1","who":"+12025550123","a":1.5e1}', {"cost": 1500}),
    "minor units": ('data.cost = {path = "a", from = "minor"}', {"a": 45}, {"cost": 45}),
    "thousandths": ('data.cost = {path = "a", from = "10^-3"}', {"a": 1250}, {"cost": 125}),
    "millionths, rounded": (
        'data.cost = {path = "a", from = "10^-6", round = "nearest"}',
        {"a": 125_000},
        {"cost": 13},
    ),
    "rounded away from zero": ('data.cost = {path = "a", round = "nearest"}', {"a": -0.125}, {"cost": -13}),
    "rounded down": ('data.cost = {path = "a", round = "down"}', {"a": 8.5699}, {"cost": 856}),
    "a comma": ('data.cost = {path = "a", decimal = ","}', {"a": "12,50"}, {"cost": 1250}),
    "a sum": ('data.cost = "sum(a)"', {"a": [0.1, 0.2, 0.3]}, {"cost": 60}),
    "a sum of what floats make 0.30000000000000004": ('data.cost = "sum([a, b])"', {"a": 0.1, "b": 0.2}, {"cost": 30}),
    "a number of text": ('data.cost = "to_number(a)"', {"a": "0.29"}, {"cost": 29}),
    "a number": ('data.count = "a"', {"a": 2.5}, {"count": 2.5}),
    "a number as text": ('data.count = "a"', {"a": "250"}, {"count": 250.0}),
    "bytes": ('data.count = {path = "a", from = "KiB", to = "B"}', {"a": 1.5}, {"count": 1536.0}),
    "minutes": ('data.count = {path = "a", from = "s", to = "min"}', {"a": 90}, {"count": 1.5}),
    "nanoseconds": ('data.count = {path = "a", from = "ns", to = "s"}', {"a": 10_000_000_000}, {"count": 10.0}),
    "as Go writes time": ('data.count = {path = "a", from = "ns", to = "s"}', {"a": "1m10s"}, {"count": 70.0}),
    "as ISO writes time": ('data.count = {path = "a", from = "ms", to = "s"}', {"a": "PT1H0.5S"}, {"count": 3600.5}),
    "as a clock does": ('data.count = {path = "a", from = "s", to = "min"}', {"a": "01:00:30"}, {"count": 60.5}),
    "a time": ('data.until = "a"', {"a": "1970-01-01T01:00:01+01:00"}, {"until": 1000}),
    "seconds": ('data.until = {path = "a", format = "epoch s"}', {"a": 1.5}, {"until": 1500}),
    "milliseconds as text": ('data.until = {path = "a", format = "epoch ms"}', {"a": "1500"}, {"until": 1500}),
    "microseconds": ('data.until = {path = "a", format = "epoch us"}', {"a": 1_500_999}, {"until": 1500}),
    "a format": (f'data.until = {{path = "a", format = {MONTH}}}', {"a": "02/01/1970 00:00"}, {"until": 86_400_000}),
    "a zone": (
        f'data.until = {{path = "a", format = {MONTH}, zone = "Etc/GMT-1"}}',
        {"a": "01/01/1970 01:00"},
        {"until": 0},
    ),
    "a zone for ISO": ('data.until = {path = "a", zone = "Etc/GMT-2"}', {"a": "1970-01-01 02:00:00"}, {"until": 0}),
    "its own offset": (
        'data.until = {path = "a", zone = "Etc/GMT-2"}',
        {"a": "1970-01-01T01:00:00+01:00"},
        {"until": 0},
    ),
    "nanoseconds of a time": ('data.until = "a"', {"a": "1970-01-01T00:00:01.123456789Z"}, {"until": 1123}),
    "a start and how long": (
        'data.until = {path = "a", format = "epoch s", plus = {path = "b", from = "min"}}',
        {"a": 60, "b": 2},
        {"until": 180_000},
    ),
    "a date": ('data.day = "a"', {"a": "1970-01-03"}, {"day": 2}),
    "a date in a format": ('data.day = {path = "a", format = "%d.%m.%Y"}', {"a": "03.01.1970"}, {"day": 2}),
    "a date of a moment": (
        'data.day = {path = "a", format = "epoch s", zone = "Etc/GMT-1"}',
        {"a": 82_800},
        {"day": 1},
    ),
    "balances as CloudEvents have them": (
        'data.balances = "a"',
        {
            "a": [
                {"wallet": "main", "amount": 12.5},
                {"wallet": "data", "amount": "1.5", "expires": "1970-01-01T00:00:01Z"},
            ]
        },
        {"balances": [Bucket("main", 1250), Bucket("data", 1500, 1000)]},
    ),
    "a balance": (
        'data.balances = [{wallet = "main", amount = {path = "a", from = "minor"}}]',
        {"a": 1250},
        {"balances": [Bucket("main", 1250)]},
    ),
    "a balance in another unit": (
        'data.balances = [{wallet = "data", amount = {path = "a", from = "B", round = "down"}, '
        'expires = {path = "b", format = "epoch s"}}]',
        {"a": 1_234_567, "b": 1},
        {"balances": [Bucket("data", 1234, 1000)]},
    ),
    "each balance": (
        'data.balances = [{wallet = "main", each = "l[?type == \'m\']", amount = "item.left"}]',
        {"l": [{"type": "m", "left": 1}, {"type": "d", "left": 2}, {"type": "m", "left": 0.5}]},
        {"balances": [Bucket("main", 100), Bucket("main", 50)]},
    ),
    "no balance": ('data.balances = [{wallet = "main", each = "l", amount = "item"}]', {"l": None}, {}),
    "products": (
        'data.has = [{each = "l", product = "item.id", until = {path = "item.end", format = "epoch s"}}]',
        {"l": [{"id": "A", "end": 5}, {"id": "B"}]},
        {"has": [Owned("A", 5000), Owned("B", 0)]},
    ),
}


@pytest.mark.parametrize("case", READ)
def test_a_value_is_read_as_the_mapping_says(case: str) -> None:
    toml, payload, data = READ[case]
    assert event(toml, payload).data == data


WRONG: dict[str, tuple[str, Any, str]] = {
    "not text": ('data.what = "a"', {"a": True}, "`data.what` from `a`: must be text, not `true`"),
    "a fraction for text": ('data.what = "a"', {"a": 1.5}, "`data.what` from `a`: must be text, not `1.5`"),
    "a list": ('data.what = "a"', {"a": [1, "x"]}, '`data.what` from `a`: must be text, not `[1,"x"]`'),
    "too long": ('data.what = "a"', {"a": "x" * 1001}, "`data.what` from `a`: is longer than 1000 characters"),
    "no such word": (
        'data.what = {path = "a", words = {C = "voice", D = "data"}}',
        {"a": "X"},
        "`data.what` from `a`: `X` is not among its words: `C`, `D`",
    ),
    "too many decimals": (
        'data.cost = "a"',
        {"a": 0.355},
        "`data.cost` from `a`: `0.355` has more than 2 decimals; `round` says what becomes of them",
    ),
    "no money": ('data.cost = "a.b"', {"a": {"b": "1,000"}}, "`data.cost` from `a.b`: must be a number, not `1,000`"),
    "too much": ('data.cost = "a"', {"a": 10**14}, "`data.cost` from `a`: `100000000000000` is too large"),
    "beyond all measure": (
        'data.cost = "a"',
        b'{"id":"1","who":"1202555","a":1e999999999}',
        "`data.cost` from `a`: `1e999999999` is too large, too small or too long",
    ),
    "a number of 400 digits": (
        'data.count = "a"',
        b'{"id":"1","who":"12025550123","a":%s}' % (b"1" * 400),
        "is too large",
    ),
    "yes and no": ('data.first = "a"', {"a": "Y"}, "`data.first` from `a`: must be true or false, not `Y`"),
    "no time span": (
        'data.count = {path = "a", from = "s", to = "s"}',
        {"a": "soon"},
        "`soon` is not a time span such as 70, 1m10s",
    ),
    "no time": (
        'data.until = "a"',
        {"a": 5},
        "`data.until` from `a`: must be a time as text, not `5`; say its `format`",
    ),
    "a time without an offset": ('data.until = "a"', {"a": "2026-11-23T09:00:00"}, "is not a time such as"),
    "another format": (
        f'data.until = {{path = "a", format = {MONTH}}}',
        {"a": "2026-11-23"},
        "`2026-11-23` is not written as `%d/%m/%Y %H:%M`",
    ),
    "a time of another unit": (
        'data.until = {path = "a", format = "epoch s"}',
        {"a": 1_795_424_400_000_000},
        "is no time between 1970 and 9999; look at its `format`",
    ),
    "a function of something else": (
        'data.count = "sum(a)"',
        {"a": ["x"]},
        "`data.count`: `sum(a)` cannot be asked of it: `sum` takes `array-number`, not `x`",
    ),
    "a comparison of unlike things": (
        'data.first = "a > `1`"',
        {"a": "x"},
        "`data.first`: `a > `1`` cannot be asked of it",
    ),
    "needed": ('data.what = {path = "a", required = true}', {}, "`data.what` is missing: `a` finds nothing"),
    "not a list of balances": (
        'data.balances = [{wallet = "main", each = "a", amount = "item"}]',
        {"a": 5},
        "`data.balances.each` from `a`: must be a list, not `5`",
    ),
    "too many balances": (
        'data.balances = [{wallet = "main", each = "a", amount = "item"}]',
        {"a": [1] * 65},
        "`data.balances` has more than 64 entries",
    ),
    "no id": ("", {"id": None}, "mapping `m`: `id` is missing: `id` finds nothing"),
    "an empty id": ("", {"id": ""}, "`id` is missing"),
    "a long id": ("", {"id": "x" * 511}, "`id` is longer than 510 characters"),
    "an id that is none": ("", {"id": {"a": 1}}, '`id` from `id`: must be text, not `{"a":1}`'),
    "nobody": ("", {"who": None}, "`subscriber` is missing: `who` finds nothing"),
    "no number": ("", {"who": "bob"}, "`subscriber`: `bob` is not an international phone number"),
    "in the future": (
        'happened = {path = "t", format = "epoch ms"}',
        {"t": NOW + 3_600_001},
        "`happened`: `1795428000001` is more than an hour in the future; check the clocks",
    ),
    "before there was time": (
        'happened = "t"',
        {"t": "0001-01-01T00:00:00Z"},
        "`happened`: `0001-01-01T00:00:00Z` is before 1970",
    ),
    "no time of its own": ('happened = "t"', {}, "`happened` is missing: `t` finds nothing"),
    "a line break": ('data.first = "a"', {"a": "x\r\nforged: y"}, "must be true or false, not `x  forged: y`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_read_names_mapping_field_expression_and_what_came(case: str) -> None:
    toml, payload, error = WRONG[case]
    said = wrong(toml, payload)
    assert said.startswith("mapping `m`: ")
    assert error in said


# --- the event ------------------------------------------------------------


def test_an_event_has_the_sources_identity_and_its_time() -> None:
    toml = 'happened = {path = "t", format = "epoch s"}\nimsi = "i"\ndata.what = "what"'
    made = event(toml, {"t": 1_795_424_000, "i": "001010000000001", "what": "voice"})
    assert made == Event(
        "s/1", "spend", "12025550123", 1_795_424_000_000, {"what": "voice"}, None, {"imsi": "001010000000001"}
    )


def test_an_event_without_a_time_happens_when_it_comes_and_a_clock_ahead_is_now() -> None:
    assert event("", {}).happened == NOW
    assert event('happened = {path = "t", format = "epoch ms"}', {"t": NOW + 60_000}).happened == NOW


def test_a_subscriber_may_be_named_by_another_thing() -> None:
    base = 'source = "s"\nevent = "spend"\nid = "id"\nsubscriber = {path = "i", kind = "imsi"}'
    ((_, outcome),) = mappings(base).read("s", JSON, b'{"id": 7, "i": 1010000000001}', NOW)
    assert isinstance(outcome, Mapped)
    assert (outcome.id, outcome.event.msisdn) == ("7", "imsi:1010000000001")


def test_an_id_is_composed_of_several_and_needs_all_of_them() -> None:
    base = 'source = "s"\nevent = "spend"\nid = ["a", "b", "\'end\'"]\nsubscriber = "who"\nname = "m"'
    found = [one for _, one in mappings(base).read("s", JSON, b'[{"a":1,"b":"x","who":"12025550123"},{"a":1}]', NOW)]
    assert found[0].event.identity == "s/1/x/end"  # type: ignore[union-attr]
    assert str(found[1].error) == "mapping `m`: `id` is missing: `b` finds nothing"  # type: ignore[union-attr]


def test_each_of_a_list_becomes_an_event_and_sees_the_whole() -> None:
    toml = 'source = "s"\nevent = "spend"\neach = "l"\nid = ["payload.id", "item.n"]\nsubscriber = "payload.who"\n'
    toml += 'data.cost = "item.c"'
    body = b'{"id":"r","who":"12025550123","l":[{"n":1,"c":0.10},{"n":2,"c":"x"},{"n":1,"c":3}]}'
    outcomes = [one for _, one in mappings(toml).read("s", JSON, body, NOW)]
    assert [type(one) for one in outcomes] == [Mapped, Unreadable, Unreadable]
    assert outcomes[0].event.data == {"cost": 10}  # type: ignore[union-attr]
    assert "`id` `r/1` is another event's of this payload; compose it of more" in str(outcomes[2].error)  # type: ignore[union-attr]
    assert [one.id for one in outcomes] == ["r/1", "r/2", "r/1"]  # type: ignore[union-attr]
    assert [type(one) for _, one in mappings(toml).read("s", JSON, b'{"id":"r","who":"1"}', NOW)] == [Passed]


def test_every_mapping_that_is_for_a_payload_makes_an_event_of_it() -> None:
    first = BASE + "when = \"kind == 'A' || kind == 'B'\""
    second = 'source = "s"\nevent = "other"\nwhen = "kind == \'B\'"\nid = ["id", "\'other\'"]\nsubscriber = "who"'
    read = mappings(first, second).read
    body = b'[{"kind":"A","id":1,"who":"12025550123"},{"kind":"B","id":2,"who":"12025550123"},{"kind":"C"}]'
    outcomes = read("s", JSON, body, NOW)
    assert [(index, getattr(one, "id", "")) for index, one in outcomes] == [(0, "1"), (1, "2"), (1, "2/other"), (2, "")]
    assert isinstance(outcomes[-1][1], Passed)
    assert read("another", JSON, b"{}", NOW)[0][1] == Passed()


def test_who_has_a_number_may_be_news_too() -> None:
    base = 'source = "s"\nevent = "number_changed"\nid = "id"\nsubscriber = "old"\ndata.number = "new"'
    ((_, outcome),) = mappings(base).read("s", JSON, b'{"id":"1","old":"12025550123","new":"12025550124"}', NOW)
    assert isinstance(outcome, Mapped)
    assert outcome.event == Change("s/1", "number_changed", "12025550123", NOW, {}, "12025550124")
    ((_, refused),) = mappings(base).read("s", JSON, b'{"id":"1","old":"12025550123"}', NOW)
    assert "`number` is the new number of a `number_changed`" in str(refused.error)  # type: ignore[union-attr]


# --- the body ------------------------------------------------------------


def test_lines_are_payloads_of_their_own_and_a_bad_one_spoils_no_other() -> None:
    body = b'{"id":1,"who":"12025550123"}\n\n{"id":\n5\n{"id":2,"who":"12025550123"}'
    outcomes = mappings(BASE).read("s", "application/x-ndjson", body, NOW)
    assert [(index, type(one)) for index, one in outcomes] == [
        (0, Mapped),
        (1, Unreadable),
        (2, Unreadable),
        (3, Mapped),
    ]
    assert "this is not JSON" in str(outcomes[1][1].error)  # type: ignore[union-attr]
    assert "a payload is a JSON object, not `5`" in str(outcomes[2][1].error)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-}', b'"\\ud800', b"1" * 100_000],
)
def test_a_body_that_is_no_json_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(EventError, match=r"this is not JSON|nested too deeply"):
        mappings(BASE).read("s", JSON, body, NOW)


def test_a_payload_that_is_deep_and_no_deeper_than_json_is_read() -> None:
    deep = b"[" * 900 + b"]" * 900
    ((_, outcome),) = mappings(BASE + 'data.what = "to_string(a)"').read(
        "s", JSON, b'{"id":"1","who":"12025550123","a":' + deep + b"}", NOW
    )
    assert isinstance(outcome, Unreadable)
    assert "mapping `m`: `data.what`" in str(outcome.error)


def test_too_much_and_too_slow_is_refused_as_a_whole() -> None:
    with pytest.raises(TooLongError, match="more than 1000 events"):
        mappings(BASE).read("s", JSON, b"[" + b",".join([b"{}"] * 1001) + b"]", NOW)
    each = 'source = "s"\nevent = "spend"\neach = "l"\nid = "item"\nsubscriber = "payload.who"'
    with pytest.raises(TooLongError, match="more than 1000 events"):
        mappings(each).read("s", JSON, json.dumps({"l": list(range(2000)), "who": "12025550123"}).encode(), NOW)
    with pytest.raises(TooLongError, match="too long to read"):
        mappings(BASE).read("s", JSON, b"{}", NOW, late=lambda: True)


# --- properties ------------------------------------------------------------

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcdl") | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
EVERY = mappings(
    BASE
    + """
when = "a || b || `true`"
happened = { path = "a", format = "epoch ms", plus = { path = "b", from = "ns" } }
imsi = "c"
data.what = { path = "a", words = { x = "y" }, other = "z" }
data.cost = { path = "b", from = "minor", round = "down" }
data.count = { path = "sum([a, b])", from = "KiB", to = "B" }
data.first = "a > b"
data.until = { path = "to_string(c)", zone = "Asia/Tokyo" }
data.day = { path = "d", format = "%d %m %Y" }
data.balances = [ { wallet = "data", each = "l[?a > `0.5`]", amount = { path = "item.b", from = "ns", to = "ns" } } ]
data.has = "d"
""",
    'source = "s"\nevent = "other"\neach = "l[]"\nid = ["item.a", "length(payload.b)"]\n'
    'subscriber = {path = "sort_by(payload.l, &a)[0].b", kind = "account"}',
    vocabulary=Vocabulary(VOCABULARY.events, {**VOCABULARY.wallets, "data": Wallet("data", "ns", 3)}),
)


@given(payload=ANY)
def test_any_json_is_an_event_or_a_clear_error(payload: Any) -> None:
    usual = {"id": "1", "who": "12025550123"}
    for body in (payload, {**usual, **payload} if isinstance(payload, dict) else {**usual, "a": payload, "l": payload}):
        try:
            outcomes = EVERY.read("s", JSON, json.dumps(body).encode(), NOW)
        except EventError:
            continue
        for _, outcome in outcomes:
            assert isinstance(outcome, (Mapped, Passed, Unreadable))
            if isinstance(outcome, Unreadable):
                assert str(outcome.error).isprintable()
                assert len(str(outcome.error)) < 500


@given(minor=st.integers(-(10**15), 10**15), digits=st.integers(0, 6), as_text=st.booleans())
def test_money_is_exact_whatever_its_size(minor: int, digits: int, as_text: bool) -> None:
    written = f"{Decimal(minor).scaleb(-digits):f}"
    body = b'{"id":"1","who":"12025550123","a":%s}' % (f'"{written}"' if as_text else written).encode()
    compiled = mappings(BASE + 'data.cost = "a"', currency=Currency("XTS", digits))
    ((_, outcome),) = compiled.read("s", JSON, body, NOW)
    assert isinstance(outcome, Mapped), outcome
    assert outcome.event.data == {"cost": minor}  # type: ignore[union-attr]


# --- what is wrong with a mapping is said at its line ------------------------------------------------------------

UNSOUND: dict[str, tuple[str, str]] = {
    "no expression": (
        'data.what = "a["',
        "kairos.toml:8: mapping `m`: `data.what`: `a[` is no JMESPath expression: it ends too early",
    ),
    "no expression, in the middle": ('data.what = "a ^ b"', "Unknown token ^ at character 3"),
    "no function": (
        'data.what = "lenght(a)"',
        "kairos.toml:8: mapping `m`: `data.what`: `lenght(a)`: there is no function `lenght`; did you mean `length`?",
    ),
    "too much for a function": ('data.what = "length(a, b)"', "`length` takes 1, not 2"),
    "too deep": (f'data.what = "{"to_array(" * 50}a{")" * 50}"', "is nested too deeply"),
    "no field": (
        'data.waht = "a"',
        "kairos.toml:8: mapping `m`: `data.waht`: `spend` has no such field; did you mean `what`?",
    ),
    "no time zone": ('data.until = {path = "a", format = "%Y-%m-%d", zone = "Mars"}', "`Mars` is not a time zone"),
    "no format": ('data.until = {path = "a", format = "%H:%M"}', "`%H:%M` is no format of a whole time"),
    "no format at all": ('data.until = {path = "a", format = "epoch"}', "`epoch` is no format of a whole time"),
    "no unit": ('data.count = {path = "a", from = "KB", to = "B"}', "`KB` is no unit that is known"),
    "half a unit": ('data.count = {path = "a", from = "kB"}', "`from` and `to` go together"),
    "units of two kinds": ('data.count = {path = "a", from = "kB", to = "s"}', "`kB` cannot be turned into `s`"),
    "no unit of money": (
        'data.cost = {path = "a", from = "cents"}',
        "`cents` is no unit of money; write `major`, `minor`",
    ),
    "what does not go with it": (
        'data.what = {path = "a", from = "s"}',
        "`from` does not go with a field that is text; it takes `other`, `words`",
    ),
    "both": ('data.what = {path = "a", constant = "b"}', "it takes a `path` or a `constant`, and not both"),
    "neither": ("data.what = {required = true}", "it has neither `path` nor `constant`"),
    "a constant that is none": ('data.first = {constant = "yes"}', "must be true or false, not `yes`"),
    "a float for money": ("data.cost = {constant = 1.5}", "must be a number, not `1.5`"),
    "a word that is none": ('data.cost = {path = "a", words = {A = "cheap"}}', "must be a number, not `cheap`"),
    "no wallet": (
        'data.balances = [{wallet = "mian", amount = "a"}]',
        "`mian` is not a wallet of the vocabulary; did you mean `main`?",
    ),
    "no amount": ('data.balances = [{wallet = "main"}]', "a balance has `wallet`, `amount` and perhaps `expires`"),
    "a unit of a wallet that has none": (
        'data.balances = [{wallet = "points", amount = {path = "a", from = "kB"}}]',
        "`points` is no unit that is known",
    ),
    "no product": ('data.has = [{until = "a"}]', "a product has `product` and perhaps `until`"),
    "a list for a text": ('data.what = [{product = "a"}]', "`what` is text, not a list"),
    "a time span in bytes": ('data.until = {path = "a", plus = {path = "b", from = "kB"}}', "`kB` is no unit of time"),
    "outside of each": (
        'each = "l"\ndata.what = "a"',
        "`a` looks for `a`, and there is only what `each` finds, and the payload; write `item.a` or `payload.a`",
    ),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_a_mapping_that_is_not_sound_is_refused_at_its_line(case: str) -> None:
    toml, said = UNSOUND[case]
    assert said in unsound(toml)


def test_an_event_that_there_is_not_is_named() -> None:
    base = BASE.replace('"spend"', '"spned"')
    assert unsound("", base) == (
        "kairos.toml:5: mapping `m`: `event`: `spned` is not an event of the vocabulary; did you mean `spend`?"
    )


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert len(unsound('data.what = "a["\ndata.cost = "b["\ndata.x = "c"').splitlines()) == 3


def test_lines_of_entries_in_tables_of_their_own_are_found() -> None:
    toml = BASE + '[[mappings.data.balances]]\nwallet = "main"\namount = "a"\n'
    other = BASE.replace('"m"', '"n"') + '[[mappings.data.balances]]\nwallet = "main"\namount = "a["\n'
    with pytest.raises(SettingsError, match=r"kairos.toml:20: mapping `n`: `data.balances.amount`: `a\[` is no JMES"):
        mappings(toml, other)
