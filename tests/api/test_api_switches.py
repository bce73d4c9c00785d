"""Switches over HTTP: looked at, turned, and refused in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from kairos.api import create_app
from kairos.domain.switch import Switch, wrong_name
from kairos.errors import EventError, StoreError

NOW = 1_795_543_205_000


@dataclass
class Board:
    """Switches in memory; a store that can be down."""

    turned: list[Switch] = field(default_factory=list)
    down: bool = False

    async def status(self) -> dict[str, Any]:
        return {"well": not self.troubles(), "troubles": self.troubles()}

    def troubles(self) -> list[str]:
        return ["not bound to the SMSC"] if self.down else []

    async def trial(self, msisdn: str, offer: str, past_switches: bool) -> dict[str, Any]:
        if offer != "booster":
            raise EventError(f"unknown offer `{offer}`")
        return {"decision": 7, "said": "booster", "past": past_switches}

    def wrong_name(self, name: str) -> str:
        return wrong_name(name, {"action": ("booster",)})

    async def switches(self) -> Sequence[Switch]:
        if self.down:
            raise StoreError("the disk is gone")
        return list({switch.name: switch for switch in self.turned}.values())

    async def switch_history(self, limit: int) -> Sequence[Switch]:
        return self.turned[::-1][:limit]

    async def turn(self, name: str, on: bool, reason: str, who: str) -> Switch:
        if self.down:
            raise StoreError("the disk is gone")
        self.turned.append(Switch(name, on, reason, who, NOW))
        return self.turned[-1]


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def client(board: Board) -> httpx.AsyncClient:
    class Nothing:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"a switch asked for {name}")

    app = create_app(Nothing(), Nothing(), CollectorRegistry(), lambda: NOW, operations=board)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kairos")


async def test_a_switch_is_turned_and_its_history_kept(client: httpx.AsyncClient, board: Board) -> None:
    on = await client.get("/v1/switches/marketing")
    assert on.json() == {"name": "marketing", "on": True, "reason": "", "who": "", "at": 0}
    off = await client.put("/v1/switches/marketing", json={"on": False, "reason": " wrong prices ", "who": "ada"})
    expected = {"name": "marketing", "on": False, "reason": "wrong prices", "who": "ada", "at": NOW}
    assert (off.status_code, off.json()) == (200, expected)
    assert (await client.get("/v1/switches/marketing")).json() == expected
    back = await client.put("/v1/switches/marketing", json={"on": True})
    assert back.json()["on"] is True
    assert back.json()["who"]  # nobody said who: at least where from
    told = (await client.get("/v1/switches")).json()
    assert [switch["on"] for switch in told["switches"]] == [True]
    assert [switch["on"] for switch in told["history"]] == [True, False]


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("marketting", b'{"on": false, "reason": "x"}', 404, "there is no switch `marketting`"),
        ("action:boster", b'{"on": false, "reason": "x"}', 404, "there is no action `boster`"),
        ("marketing", b'{"on": false}', 400, "say why it is turned off"),
        ("marketing", b'{"on": false, "reason": "  "}', 400, "say why it is turned off"),
        ("marketing", b'{"on": "no", "reason": "x"}', 400, "the body cannot be read"),
        ("marketing", b'{"of": false, "reason": "x"}', 400, "unknown field `of`"),
        ("marketing", b"", 400, 'write it as in {"on": false'),
        ("marketing", b'{"on": false, "reason": "\xff"}', 400, "the body cannot be read"),
        ("marketing", b"[" * 20_000, 413, "larger than"),
    ],
)
async def test_what_cannot_be_turned_is_refused_in_words(
    client: httpx.AsyncClient, board: Board, name: str, body: bytes, status: int, said: str
) -> None:
    answer = await client.put(f"/v1/switches/{name}", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]
    assert board.turned == []


async def test_a_store_that_is_down_is_a_503(client: httpx.AsyncClient, board: Board) -> None:
    board.down = True
    for answer in (
        await client.get("/v1/switches"),
        await client.get("/v1/switches/marketing"),
        await client.put("/v1/switches/marketing", json={"on": True}),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (503, "the disk is gone")


async def test_the_status_is_told_as_it_is(client: httpx.AsyncClient, board: Board) -> None:
    assert (await client.get("/v1/status")).json() == {"well": True, "troubles": []}


async def test_troubles_that_keep_no_event_out_leave_kairos_ready(board: Board) -> None:
    class Well:
        def troubles(self) -> list[str]:
            return []

    board.down = True
    app = create_app(Well(), Well(), CollectorRegistry(), lambda: NOW, operations=board)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kairos") as client:
        answer = await client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"live": True, "ready": True, "troubles": ["not bound to the SMSC"]}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b'{"msisdn": "+12025550123", "offer": "booster"}', 200, '"past":false'),
        (b'{"msisdn": "+12025550123", "offer": "booster", "past_switches": true}', 200, '"past":true'),
        (b'{"msisdn": "+12025550123", "offer": "boster"}', 422, "unknown offer `boster`"),
        (b'{"offer": "booster"}', 400, "`msisdn`"),
        (b"[" * 20_000, 413, "larger than"),
    ],
)
async def test_a_trial(client: httpx.AsyncClient, body: bytes, status: int, said: str) -> None:
    answer = await client.post("/v1/trials", content=body)
    assert (answer.status_code, said in answer.text) == (status, True)
