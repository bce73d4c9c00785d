"""`kairos bench mappings`: what reading another system's JSON costs beside reading a CloudEvent of the same fields."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from kairos.domain.money import Currency
from kairos.domain.source import Entry, Mapping, Value
from kairos.ingest import EventReader, Mapped, Mappings, Readable
from kairos.playbook.vocabulary import Vocabulary, Wallet

AT_ONCE: Final = 100
ROUNDS: Final = 30
NOW: Final = 1_795_424_500_000

VOCABULARY = Vocabulary(
    events={"end_of_call": {"service": "text", "cost": "money", "duration_s": "number", "balances": "balances"}},
    wallets={"main": Wallet("main", "money", 2), "data": Wallet("data", "MB", 3)},
)
MAPPING = Mapping(
    source="ocs",
    event="end_of_call",
    when="status == 'CLOSED' && charge.amount >= `0`",
    id=["session.id", "session.part"],
    subscriber="party.msisdn",
    happened=Value(path="session.stopped", format="epoch ms"),
    data={
        "service": Value(path="session.type", words={"VOICE": "voice", "DATA": "data"}, other="vas"),
        "cost": Value(path="charge.amount", from_="10^-3", round="nearest"),
        "duration_s": Value(path="session.usage", from_="ms", to="s"),
        "balances": [
            Entry(wallet="main", each="buckets[?type == 'MONEY']", amount="item.left"),
            Entry(wallet="data", each="buckets[?type == 'DATA']", amount=Value(path="item.left", from_="kB")),
        ],
    },
)


def payload(number: int) -> dict[str, Any]:
    """Twenty fields and two balances, of which the mapping reads half."""
    return {
        "status": "CLOSED",
        "node": "ocs-3",
        "version": 4,
        "party": {"msisdn": "+12025550123", "imsi": "001010000000001", "plan": "P1", "segment": "S"},
        "session": {
            "id": f"s-{number}",
            "part": 1,
            "type": "DATA",
            "started": NOW - 90_000,
            "stopped": NOW - 1000,
            "usage": 89_000,
            "cell": "00101-4711",
            "peer": "net",
        },
        "charge": {"amount": 125.0, "currency": "XTS", "tariff": "T7", "free": False},
        "buckets": [{"type": "MONEY", "left": 12.34}, {"type": "DATA", "left": 118_500}],
        "note": "",
    }


def event(number: int) -> dict[str, Any]:
    """What the payload says, as a CloudEvent."""
    return {
        "specversion": "1.0",
        "id": f"s-{number}/1",
        "source": "ocs",
        "type": "end_of_call",
        "subject": "+12025550123",
        "time": "2026-11-23T09:01:39Z",
        "data": {
            "service": "data",
            "cost": "0.13",
            "duration_s": 89,
            "balances": [{"wallet": "main", "amount": "12.34"}, {"wallet": "data", "amount": "118.5"}],
        },
    }


def run() -> dict[str, object]:
    """µs an event, the fastest of many rounds."""
    currency = Currency("XTS", 2)
    reader = EventReader(VOCABULARY, currency)
    mappings = Mappings([MAPPING], VOCABULARY, currency, reader)
    mapped = msgspec.json.encode([payload(number) for number in range(AT_ONCE)])
    native = msgspec.json.encode([event(number) for number in range(AT_ONCE)])
    batch = "application/cloudevents-batch+json"
    read_mapped = mappings.read("ocs", "application/json", mapped, NOW)
    read_native = reader.read(batch, {}, native, NOW)
    for (_, one), other in zip(read_mapped, read_native, strict=True):
        assert isinstance(one, Mapped)
        assert isinstance(other, Readable)
        assert one.event.data == other.event.data  # type: ignore[union-attr]
    mapped_us = _fastest(lambda: mappings.read("ocs", "application/json", mapped, NOW))
    native_us = _fastest(lambda: reader.read(batch, {}, native, NOW))
    return {
        "mapped_us": round(mapped_us, 1),
        "native_us": round(native_us, 1),
        "ratio": round(mapped_us / native_us, 1),
        "mapped_per_s": round(1e6 / mapped_us),
    }


def _fastest(read: Callable[[], object]) -> float:
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        read()
        took.append(time.perf_counter() - began)
    return min(took) / AT_ONCE * 1e6
