"""Who an event is about, and news of who has a number."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kairos.domain.event import Event
from kairos.domain.inputs import CHANGES, Change
from kairos.domain.money import Currency
from kairos.errors import PlaybookError
from kairos.ingest import EventReader, Readable, Unreadable
from kairos.playbook import read as read_playbook
from kairos.playbook.vocabulary import Vocabulary

READER = EventReader(Vocabulary({"recharge": {"amount": "money"}}), Currency("XTS"))
NOW = 1_772_625_600_000


def read(**changes: Any) -> Any:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/crm",
        "type": "org.example.recharge",
        "subject": "12025550123",
        "time": "2026-03-04T12:00:00Z",
    }
    (found,) = READER.read("application/cloudevents+json", {}, json.dumps(event | changes).encode(), NOW)
    return found.event if isinstance(found, Readable) else found


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("+12025550123", "12025550123"),
        ("msisdn:+12025550123", "12025550123"),
        ("imsi:001010000000001", "imsi:001010000000001"),
        ("account:A:17/b", "account:A:17/b"),
    ],
)
def test_a_subject_names_a_subscriber(subject: str, name: str) -> None:
    found = read(subject=subject)
    assert isinstance(found, Event)
    assert (found.msisdn, found.named) == (name, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject": "imis:001010000000001"}, "`subject`: `imis:` names no subscriber; did you mean `imsi`?"),
        ({"subject": "imei:35000000000001"}, "`subject`: `imei:` names no subscriber"),
        ({"subject": "imsi:12"}, "`subject`: `12` is not an IMSI: 6 to 15 digits"),
        ({"subject": "imsi:٠٠١٠١٠٠٠٠٠٠٠٠٠١"}, "is not an IMSI"),
        ({"subject": "account:two words"}, "`two words` is not an account"),
        ({"subject": "account:"}, "is not an account"),
        ({"imei": "x"}, "`imei`: `x` is not an IMEI: 14 to 16 digits"),
        ({"imsi": 1010000000001}, "`imsi` must be text"),
        ({"imsi": None}, "`imsi` is missing"),
    ],
)
def test_what_names_nobody_is_said(changes: dict[str, Any], message: str) -> None:
    found = read(**changes)
    assert isinstance(found, Unreadable)
    assert message in str(found.error)


def test_an_event_tells_what_else_they_are_known_by() -> None:
    found = read(imsi="001010000000001", imei="35000000000001", account="A-1", other="x")
    assert found.named == {"imsi": "001010000000001", "imei": "35000000000001", "account": "A-1"}


def test_in_binary_mode_too() -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/crm",
        "ce-type": "sim_swapped",
        "ce-subject": "12025550123",
        "ce-time": "2026-03-04T12:00:00Z",
        "ce-imsi": "001010000000001",
    }
    (found,) = READER.read("application/json", headers, b"", NOW)
    assert isinstance(found, Readable)
    assert found.event == Change("/crm/1", "sim_swapped", "12025550123", NOW, {"imsi": "001010000000001"})


@pytest.mark.parametrize("kind", CHANGES)
def test_news_of_who_has_a_number(kind: str) -> None:
    number = {"number": "+12025550124"} if kind == "number_changed" else {}
    found = read(type=f"org.example.{kind}", data={"imsi": "001010000000001", "account": "A-1", **number})
    named = {"imsi": "001010000000001", "account": "A-1"}
    assert found == Change("/crm/1", kind, "12025550123", NOW, named, "12025550124" if number else "")


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("number_changed", {}, "`number` is the new number of a `number_changed`, and of nothing else"),
        ("sim_swapped", {"number": "+12025550124"}, "and of nothing else"),
        ("number_changed", {"number": "12"}, "`number`: `12` is not an international phone number"),
        ("sim_swapped", {"imsii": "1"}, "`imsii` is not a known field of `sim_swapped`; did you mean `imsi`?"),
        ("sim_swapped", {"imsi": "1"}, "`imsi`: `1` is not an IMSI"),
    ],
)
def test_news_that_cannot_be_read(kind: str, data: dict[str, Any], message: str) -> None:
    found = read(type=kind, data=data)
    assert isinstance(found, Unreadable)
    assert message in str(found.error)


def test_a_vocabulary_has_no_event_of_their_names(texts: dict[str, str]) -> None:
    vocabulary = texts["vocabulary.yaml"].replace("  recharge:", "  sim_swapped: {imsi: text}\n  recharge:")
    with pytest.raises(PlaybookError, match="`sim_swapped` is an event of every kairos"):
        read_playbook(texts | {"vocabulary.yaml": vocabulary})
