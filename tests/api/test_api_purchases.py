"""Purchases over HTTP: shown, reversed, and refused in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from kairos.api import create_app
from kairos.engine.work import Answer
from kairos.errors import StoreError


@dataclass
class Till:
    """One purchase, `k`, that may be reversed once; a store that can be down."""

    down: bool = False
    said: list[tuple[str, str, str]] = field(default_factory=list)

    async def purchase(self, key: str) -> Mapping[str, Any] | None:
        return {"key": key, "status": "done"} if key == "k" else None

    async def reverse(self, key: str, status: str, reason: str, amount: str | None) -> Answer | None:
        if self.down:
            raise StoreError("the disk is gone")
        if key != "k":
            return None
        if amount == "99":
            return Answer("rejected", "purchase `k` is done, and T$0 of T$45 went back: it cannot be T$99")
        if status != "reversed":
            return Answer("rejected", "purchase `k` is done: it cannot become refused")
        self.said.append((key, status, reason))
        return Answer("applied" if len(self.said) == 1 else "duplicate")


@pytest.fixture
def till() -> Till:
    return Till()


@pytest.fixture
def client(till: Till) -> httpx.AsyncClient:
    nothing: Any = object()
    app = create_app(nothing, nothing, CollectorRegistry(), lambda: 0, purchases=till)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kairos")


async def test_a_reversal_is_taken_once(client: httpx.AsyncClient, till: Till) -> None:
    answers = [await client.post("/v1/reversals", json={"key": "k", "reason": "complaint 7"}) for _ in range(2)]
    assert [answer.json() for answer in answers] == [
        {"key": "k", "status": "applied"},
        {"key": "k", "status": "duplicate"},
    ]
    assert till.said[0] == ("k", "reversed", "complaint 7")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"key": "x"}, 404, "there is no purchase `x`"),
        ({"key": "k", "status": "refused"}, 409, "cannot become refused"),
        ({"key": "k", "amount": "99"}, 409, "it cannot be T$99"),
        ({"key": "k", "amount": "1", "status": "done"}, 400, "an amount goes back where a purchase is reversed"),
        ({"key": "k", "amount": 1}, 400, "write it as in"),
        ({"key": "k", "status": "lost"}, 400, "write it as in"),
        ({"reason": "?"}, 400, "write it as in"),
        ({"key": "k" * 20_000}, 413, "larger than"),
    ],
)
async def test_what_cannot_be_is_said(client: httpx.AsyncClient, body: dict[str, Any], status: int, said: str) -> None:
    answer = await client.post("/v1/reversals", json=body)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


async def test_a_store_that_is_down_is_asked_again(client: httpx.AsyncClient, till: Till) -> None:
    till.down = True
    answer = await client.post("/v1/reversals", json={"key": "k"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_purchase_is_shown(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/purchases/k")).json() == {"key": "k", "status": "done"}
    assert (await client.get("/v1/purchases/x")).status_code == 404
