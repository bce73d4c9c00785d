"""CloudEvents: three modes, every type, and errors that say what to do."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kairos.domain.event import Event
from kairos.domain.inputs import Change
from kairos.domain.money import Currency
from kairos.domain.subscriber import Bucket
from kairos.errors import EventError
from kairos.ingest import EventReader, Readable, Unreadable, UnsupportedMediaTypeError
from kairos.ingest.cloudevents import BATCH, MOST_BALANCES, MOST_EVENTS, STRUCTURED
from kairos.playbook.vocabulary import Vocabulary

HAPPENED = 1_795_543_200_000  # 2026-11-24 18:00 UTC
NOW = HAPPENED + 5_000
HOUR = 3_600_000


@pytest.fixture(scope="session")
def reader(vocabulary: Vocabulary, currency: Currency) -> EventReader:
    return EventReader(vocabulary, currency)


def event(**changes: Any) -> dict[str, Any]:
    """A sound event with changes; a change to None takes the attribute away."""
    whole = {
        "specversion": "1.0",
        "id": "42",
        "source": "/ocs/1",
        "type": "recharge",
        "subject": "+447700900123",
        "time": "2026-11-24T18:00:00Z",
        "data": {"amount": "12.50"},
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


def one(reader: EventReader, written: dict[str, Any] | str) -> Event | Unreadable:
    body = written if isinstance(written, str) else json.dumps(written)
    (read,) = reader.read(STRUCTURED, {}, body.encode(), NOW)
    found = read.event if isinstance(read, Readable) else read
    assert not isinstance(found, Change)
    return found


def fields(reader: EventReader, kind: str, data: str) -> dict[str, Any]:
    """The typed fields of `data`, given as JSON text."""
    read = one(reader, json.dumps(event(type=kind, data="@")).replace('"@"', data))
    assert isinstance(read, Event), read
    return read.data


def refusal(reader: EventReader, **changes: Any) -> EventError:
    read = one(reader, event(**changes))
    assert isinstance(read, Unreadable), read
    return read.error


class TestModes:
    expected = Event("/ocs/1/42", "recharge", "447700900123", HAPPENED, {"amount": 1250})

    def test_structured(self, reader: EventReader) -> None:
        assert one(reader, event()) == self.expected
        (read,) = reader.read("Application/CloudEvents+JSON; charset=utf-8", {}, json.dumps(event()).encode(), NOW)
        assert read == Readable("42", self.expected)

    def test_batch_keeps_the_order_and_what_is_wrong_with_each(self, reader: EventReader) -> None:
        body = json.dumps([event(), event(type="recharg"), "no event", event(id="43")]).encode()
        first, second, third, fourth = reader.read(BATCH, {}, body, NOW)
        assert first == Readable("42", self.expected)
        assert isinstance(second, Unreadable)
        assert second.id == "42"
        assert isinstance(third, Unreadable)
        assert isinstance(fourth, Readable)
        assert fourth.event.identity == "/ocs/1/43"
        assert reader.read(BATCH, {}, b"[]", NOW) == []

    def test_binary(self, reader: EventReader) -> None:
        headers = {
            "ce-specversion": "1.0",
            "ce-id": "4%32",
            "ce-source": "/ocs/1",
            "ce-type": "org.example.recharge",
            "ce-subject": "447700900123",
            "ce-time": "2026-11-24T18:00:00Z",
        }
        assert reader.read("application/json", headers, b'{"amount": 12.50}', NOW) == [Readable("42", self.expected)]
        (read,) = reader.read("", headers, b"", NOW)
        assert isinstance(read, Readable)
        assert isinstance(read.event, Event)
        assert read.event.data == {}
        with pytest.raises(UnsupportedMediaTypeError, match="`text/plain` cannot be read"):
            reader.read("text/plain", headers, b"amount=12.50", NOW)

    @pytest.mark.parametrize("media", ["application/json", "", "text/plain", "application/cloudevents+avro"])
    def test_another_content_type_is_told_what_to_send(self, reader: EventReader, media: str) -> None:
        with pytest.raises(UnsupportedMediaTypeError, match="send application/cloudevents"):
            reader.read(media, {}, b"{}", NOW)

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"\xff", b"nonsense", b"[1,", b'"\xed\xa0\x80"', b"1" * 6000, b"[" * 99_999]
    )
    @pytest.mark.parametrize("media", [STRUCTURED, BATCH])
    def test_what_is_not_json_is_refused_whole(self, reader: EventReader, media: str, body: bytes) -> None:
        with pytest.raises(EventError, match="the body is"):
            reader.read(media, {}, body, NOW)

    def test_a_batch_is_an_array_and_has_its_limit(self, reader: EventReader) -> None:
        with pytest.raises(EventError, match="a batch is a JSON array"):
            reader.read(BATCH, {}, b"{}", NOW)
        with pytest.raises(EventError, match=f"has {MOST_EVENTS + 1} events; send at most {MOST_EVENTS}"):
            reader.read(BATCH, {}, json.dumps([1] * (MOST_EVENTS + 1)).encode(), NOW)


class TestAttributes:
    @pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time"])
    @pytest.mark.parametrize("value", [None, ""])
    def test_none_may_be_missing(self, reader: EventReader, name: str, value: str | None) -> None:
        error = refusal(reader, **{name: value})
        assert (str(error), error.field) == (f"`{name}` is missing", name)

    @pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time"])
    @pytest.mark.parametrize("value", [5, 1.5, True, [], {}])
    def test_each_is_text(self, reader: EventReader, name: str, value: Any) -> None:
        assert str(refusal(reader, **{name: value})) == f"`{name}` must be text, not `{json.dumps(value)}`"

    def test_the_last_word_of_a_dotted_type_is_the_kind(self, reader: EventReader) -> None:
        read = one(reader, event(type="org.example.recharge"))
        assert isinstance(read, Event)
        assert read.kind == "recharge"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"specversion": "0.3"}, "`specversion` is `0.3`; it must be `1.0`"),
            (
                {"type": "org.example.recharg"},
                "`org.example.recharg` is not a known event type; did you mean `recharge`?",
            ),
            ({"type": "zzz"}, "`zzz` is not a known event type; known: `end_of_call`, `recharge`, `data_session`"),
            (
                {"subject": "me"},
                "`subject`: `me` is not an international phone number; write `+` and its country code first",
            ),
            ({"time": "yesterday"}, "`time`: `yesterday` is not a time such as 2026-11-24T18:00:00Z"),
            (
                {"time": "2026-11-24T18:00:00"},
                "`time`: `2026-11-24T18:00:00` is not a time such as 2026-11-24T18:00:00Z",
            ),
            ({"time": "1969-12-31T23:59:59Z"}, "`time`: `1969-12-31T23:59:59Z` is before 1970"),
            (
                {"time": "2026-11-24T19:00:06Z"},
                "`time`: `2026-11-24T19:00:06Z` is more than an hour in the future; check the clocks",
            ),
            ({"id": "x" * 600}, "`source` and `id` together are longer than 512 characters"),
            ({"data": [1]}, "`data` must be an object with the fields of `recharge`"),
            ({"data_base64": "AA=="}, "`data_base64` is not supported; send `data` as JSON"),
            ({"datacontenttype": "text/xml"}, "`datacontenttype` is `text/xml`; it must be application/json"),
        ],
    )
    def test_errors_say_what_to_do(self, reader: EventReader, changes: dict[str, Any], message: str) -> None:
        assert str(refusal(reader, **changes)) == message

    def test_extensions_and_a_json_content_type_are_fine(self, reader: EventReader) -> None:
        assert one(reader, event(traceparent="00-1", datacontenttype="application/vnd.x+json")) == TestModes.expected

    @pytest.mark.parametrize(
        ("time", "happened"),
        [
            ("2026-11-24T18:00:00.123999Z", HAPPENED + 123),
            ("2026-11-24t23:30:00+05:30", HAPPENED),
            ("2026-11-24T18:00:05.001Z", NOW),  # ahead of our clock: now
            ("2026-11-24T19:00:05Z", NOW),
            ("1999-01-01T00:00:00Z", 915_148_800_000),  # however late
        ],
    )
    def test_when_it_happened(self, reader: EventReader, time: str, happened: int) -> None:
        read = one(reader, event(time=time))
        assert isinstance(read, Event)
        assert read.happened == happened


class TestFields:
    @pytest.mark.parametrize(
        ("written", "minor"),
        [
            ('"12.50"', 1250),
            ("12.5", 1250),
            ("12", 1200),
            ("0.29", 29),
            ("4.35", 435),
            ("-1.1", -110),
            ('"+3"', 300),
            ("1.150000000000000000", 115),
            ("9999999999999.99", 999_999_999_999_999),
        ],
    )
    def test_money_is_exact(self, reader: EventReader, written: str, minor: int) -> None:
        assert fields(reader, "recharge", f'{{"amount": {written}}}') == {"amount": minor}

    @pytest.mark.parametrize(
        ("kind", "data", "typed"),
        [
            ("data_session", '{"app": "Tubular", "bytes": 5}', {"app": "Tubular", "bytes": 5.0}),
            ("data_session", '{"bytes": 1.5e3}', {"bytes": 1500.0}),
            ("data_session", '{"app": null}', {}),
            ("data_session", "null", {}),
            ("recharge", '{"first": true}', {"first": True}),
            ("recharge", '{"valid_until": "2026-11-24T18:00:00Z"}', {"valid_until": HAPPENED}),
            ("recharge", '{"birthday": "1969-12-31"}', {"birthday": -1}),
        ],
    )
    def test_each_type(self, reader: EventReader, kind: str, data: str, typed: dict[str, Any]) -> None:
        found = fields(reader, kind, data)
        assert found == typed
        assert list(map(type, found.values())) == list(map(type, typed.values()))

    def test_balances(self, reader: EventReader) -> None:
        main = '{"wallet": "main", "amount": "12.50"}'
        data = '{"wallet": "data", "amount": 118.5, "expires": "2026-11-24T18:00:00Z"}'
        voice = '{"wallet": "voice", "amount": 3, "expires": null}'
        assert fields(reader, "end_of_call", f'{{"balances": [{main}, {data}, {voice}]}}') == {
            "balances": [Bucket("main", 1250), Bucket("data", 1185, HAPPENED), Bucket("voice", 3)]
        }

    def test_balances_in_the_short_form(self, reader: EventReader) -> None:
        found = fields(reader, "end_of_call", '{"balances": {"main": "12.50", "data": 7}}')
        assert found == {"balances": [Bucket("main", 1250), Bucket("data", 70)]}

    def test_what_ended_before_the_epoch_has_ended(self, reader: EventReader) -> None:
        entry = '{"wallet": "data", "amount": 1, "expires": "1960-01-01T00:00:00Z"}'
        assert fields(reader, "end_of_call", f'{{"balances": [{entry}]}}')["balances"][0].expires == 1

    @pytest.mark.parametrize(
        ("kind", "data", "message"),
        [
            ("recharge", {"amout": 1}, "`amout` is not a known field of `recharge`; did you mean `amount`?"),
            ("recharge", {"amount": True}, '`amount`: must be an amount such as "12.50", not `true`'),
            ("recharge", {"amount": "12.505"}, "`amount`: `12.505` has more than 2 decimals"),
            ("recharge", {"amount": "1e9"}, "`amount`: `1e9` is not a decimal number such as 12.50"),
            ("recharge", {"amount": "1_000"}, "`amount`: `1_000` is not a decimal number such as 12.50"),
            ("recharge", {"amount": "٣"}, "`amount`: `٣` is not a decimal number such as 12.50"),
            ("recharge", {"amount": 10**14}, "`amount`: `100000000000000` is too large"),
            ("recharge", {"amount": 10**30}, f"`amount`: `{10**30}` is too large"),
            ("recharge", {"first": "yes"}, "`first`: must be true or false, not `yes`"),
            ("recharge", {"first": 1}, "`first`: must be true or false, not `1`"),
            ("recharge", {"valid_until": 17}, "`valid_until`: must be a time as text, not `17`"),
            ("recharge", {"birthday": "31.12.1999"}, "`birthday`: `31.12.1999` is not a date such as 2026-11-24"),
            ("data_session", {"bytes": "5"}, "`bytes`: must be a number, not `5`"),
            ("data_session", {"bytes": False}, "`bytes`: must be a number, not `false`"),
            ("data_session", {"bytes": 10**400}, f"`bytes`: `{'1' + '0' * 59}...` is too large"),
            ("data_session", {"app": 5}, "`app`: must be text, not `5`"),
            ("data_session", {"app": 1.5}, "`app`: must be text, not `1.5`"),
            ("data_session", {"app": "x" * 1001}, "`app`: is longer than 1000 characters"),
            (
                "end_of_call",
                {"balances": 5},
                "`balances`: must be a list of balances, or an object of amounts by wallet",
            ),
            (
                "end_of_call",
                {"balances": {"mian": 5}},
                "`balances`: `mian` is not a known wallet; did you mean `main`?",
            ),
            ("end_of_call", {"balances": {"voice": 1.5}}, "`balances`: `1.5` has more than 0 decimals"),
            ("end_of_call", {"balances": [{"wallet": "main"}]}, "`balances`: `amount` of `main` is missing"),
            (
                "end_of_call",
                {"balances": [{"wallet": "main", "amount": 1, "expiry": 1}]},
                "`balances`: `expiry` is not a known field of a balance; did you mean `expires`?",
            ),
            (
                "end_of_call",
                {"balances": [[1]]},
                '`balances`: `[1]` is not a balance such as {"wallet": "main", "amount": "12.50"}',
            ),
            (
                "end_of_call",
                {"balances": [{"wallet": "main", "amount": 1}] * (MOST_BALANCES + 1)},
                "`balances`: has 65 entries; at most 64 are allowed",
            ),
        ],
    )
    def test_wrong_types_are_named(self, reader: EventReader, kind: str, data: Any, message: str) -> None:
        error = refusal(reader, type=kind, data=data)
        assert str(error) == message
        assert error.field == next(iter(data))

    def test_a_number_beyond_a_float_is_refused(self, reader: EventReader) -> None:
        read = one(reader, json.dumps(event(type="data_session", data="@")).replace('"@"', '{"bytes": 1e999}'))
        assert isinstance(read, Unreadable)
        assert str(read.error) == "`bytes`: `1e999` is too large"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = ["amount", "first", "valid_until", "birthday", "service", "cost", "balances", "app", "bytes", "x"]


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(st.sampled_from([*event(), "data_base64", "datacontenttype"]), JSON, max_size=3),
    st.none() | st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3),
    st.sampled_from(["recharge", "end_of_call", "data_session"]),
)
def test_any_json_gives_an_event_that_can_be_stored_or_a_clear_error(
    reader: EventReader, changes: dict[str, Any], data: dict[str, Any] | None, kind: str
) -> None:
    body = json.dumps([event(type=kind, data=data) | changes], default=str).encode("utf-8", "surrogatepass")
    try:
        (read,) = reader.read(BATCH, {}, body, NOW)
    except EventError:
        assume(False)  # NaN, Infinity, huge integers and lone surrogates are no JSON
    if isinstance(read, Unreadable):
        assert str(read.error)
    else:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(read.event), type=Event).kind == read.event.kind
        assert read.event.happened <= NOW


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([STRUCTURED, BATCH, "application/json", "", "x"]), st.booleans())
def test_any_bytes_give_entries_or_an_event_error(reader: EventReader, body: bytes, media: str, binary: bool) -> None:
    try:
        entries = reader.read(media, {"ce-specversion": "1.0"} if binary else {}, body, NOW)
    except EventError:
        return
    assert all(isinstance(entry, Unreadable) for entry in entries)


@settings(deadline=None, max_examples=200)
@given(st.integers(-(10**15), 10**15))
def test_money_survives_as_text_and_as_a_number(reader: EventReader, minor: int) -> None:
    written = f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02d}"
    assert fields(reader, "recharge", f'{{"amount": "{written}"}}') == {"amount": minor}
    assert fields(reader, "recharge", f'{{"amount": {written}}}') == {"amount": minor}
