"""A field of products: what they have, and until when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kairos.domain.event import Event
from kairos.domain.money import Currency
from kairos.domain.subscriber import Owned
from kairos.ingest import EventReader, Readable, Unreadable
from kairos.playbook.vocabulary import Vocabulary

READER = EventReader(Vocabulary({"activated": {"items": "products"}}), Currency("XTS"))
NOW = 1_772_625_600_000


def read(items: Any) -> Any:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/crm",
        "type": "activated",
        "subject": "12025550123",
        "time": "2026-03-04T12:00:00Z",
        "data": {"items": items},
    }
    (found,) = READER.read("application/cloudevents+json", {}, json.dumps(event).encode(), NOW)
    return found


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], []),
        ({"product": "DATA500_1D"}, [Owned("DATA500_1D", 0)]),
        (
            [{"product": "A", "until": "2026-03-05T12:00:00Z"}, {"product": "B"}],
            [Owned("A", NOW + 86_400_000), Owned("B", 0)],
        ),
        ({"product": "A", "until": "1970-01-01T00:00:00Z"}, [Owned("A", 1)]),
    ],
)
def test_products_are_read(items: Any, expected: list[Owned]) -> None:
    found = read(items)
    assert isinstance(found, Readable)
    assert isinstance(found.event, Event)
    assert found.event.data["items"] == expected


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("A", "`items`: must be a list of products"),
        (["A"], "`items`: `A` is not a product such as"),
        ([{"product": ""}], "is not a product such as"),
        ({"product": 1.5}, "must be text, not `1.5`"),
        ({"product": "A", "untill": "x"}, "`untill` is not a known field of a product; did you mean `until`?"),
        ({"product": "A", "until": "tomorrow"}, "`items`: `tomorrow`"),
        ([{"product": "A"}] * 65, "has 65 entries; at most 64 are allowed"),
    ],
)
def test_what_is_no_product_is_said(items: Any, message: str) -> None:
    found = read(items)
    assert isinstance(found, Unreadable)
    assert message in str(found.error)
