"""A state's record of an older schema is read by steps; one of a newer kairos is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kairos.domain.subscriber import SCHEMA, State, read_state

STATE = State(SCHEMA, 7, "15550123", "layout", 1000, ["prepaid"], [1000], seen=b"identities")


def record(**changes: Any) -> list[Any]:
    fields: list[Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(STATE))
    for name, value in changes.items():
        fields[State.__struct_fields__.index(name)] = value
    return fields


def test_a_record_of_this_schema_is_itself() -> None:
    assert read_state(msgspec.msgpack.encode(STATE)) == STATE


def test_a_record_from_before_a_field_was_added_gets_its_default() -> None:
    assert read_state(msgspec.msgpack.encode(record()[:5])) == State(SCHEMA, 7, "15550123", "layout", 1000)


def test_a_record_of_an_older_schema_is_brought_up_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two invented schemas: -1 counted seconds, 0 had a plus before the number."""
    steps = {
        -1: lambda old: [0, *old[1:4], old[4] * 1000, *old[5:]],
        0: lambda old: [SCHEMA, old[1], old[2].lstrip("+"), *old[3:]],
    }
    monkeypatch.setattr("kairos.domain.subscriber.OLDER", steps)
    older = record(schema=-1, msisdn="+15550123", created=1)
    assert read_state(msgspec.msgpack.encode(older)) == STATE


def test_a_newer_record_and_one_without_a_way_say_so() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"schema 9, this kairos has \d: it is newer: upgrade kairos"):
        read_state(msgspec.msgpack.encode(record(schema=9)))
    with pytest.raises(msgspec.ValidationError, match=r"schema -5, .* no way here"):
        read_state(msgspec.msgpack.encode(record(schema=-5)))


@pytest.mark.parametrize("blob", [b"", b"\x90", b"\xc0", b"\xa1x", msgspec.msgpack.encode(STATE)[:-1]])
def test_a_damaged_record_is_refused(blob: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_state(blob)


def test_what_is_wrong_inside_a_record_is_named() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\[12\]"):
        read_state(msgspec.msgpack.encode(record(offers=[["one"]])))
