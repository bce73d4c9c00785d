"""A person's own data over HTTP: all of it, forgetting them, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from kairos.api import create_app
from kairos.api.privacy import add_privacy
from kairos.errors import EventError, StoreError


class Registry:
    """Knows one person, of whom something is being bought unless that is overruled."""

    down = False
    heard: tuple[Any, ...] = ()

    def _check(self, name: str) -> None:
        if self.down:
            raise StoreError("the disk is gone")
        if name == "nonsense":
            raise EventError("`nonsense` is no number")

    async def export(self, name: str) -> Mapping[str, Any] | None:
        self._check(name)
        return {"subscriber": 7, "profile": {}} if name == "+12025550123" else None

    async def erase(self, name: str, reason: str, force: bool) -> Mapping[str, Any] | str:
        self._check(name)
        self.heard = (name, reason, force)
        if name != "+12025550123":
            raise LookupError
        return {"status": "erased", "at": 1, "no_is_kept": False} if force else "purchase `k` is under_way"

    async def erasures(self) -> Sequence[Mapping[str, Any]]:
        self._check("")
        return [{"subscriber": 7, "at": 1, "reason": "asked", "done": 0}]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def client(registry: Registry) -> httpx.AsyncClient:
    nothing: Any = object()
    app = create_app(nothing, nothing, CollectorRegistry(), lambda: 0, more=[partial(add_privacy, privacy=registry)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kairos")


async def test_all_of_it_is_a_file(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/subscribers/+12025550123/export")
    assert (answer.status_code, answer.json()["subscriber"]) == (200, 7)
    assert answer.headers["content-disposition"] == 'attachment; filename="subscriber-7.json"'
    assert (await client.get("/v1/subscribers/+12025550199/export")).status_code == 404


async def test_forgetting_is_refused_while_something_is_under_way(
    client: httpx.AsyncClient, registry: Registry
) -> None:
    refused = await client.delete("/v1/subscribers/+12025550123")
    assert (refused.status_code, refused.json()["detail"]) == (409, "purchase `k` is under_way")
    done = await client.delete("/v1/subscribers/+12025550123", params={"force": "true", "reason": "asked"})
    assert (done.status_code, done.json()["status"]) == (200, "erased")
    assert registry.heard == ("+12025550123", "asked", True)
    assert (await client.delete("/v1/subscribers/+12025550199")).status_code == 404
    assert (await client.get("/v1/erasures")).json()["erasures"][0]["done"] == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/subscribers/nonsense/export"),
        ("DELETE", "/v1/subscribers/nonsense"),
        ("DELETE", "/v1/subscribers/+12025550123?force=perhaps"),
        ("DELETE", f"/v1/subscribers/+12025550123?reason={'x' * 201}"),
    ],
)
async def test_what_is_no_request_is_told(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_a_store_that_is_down_is_asked_again(client: httpx.AsyncClient, registry: Registry) -> None:
    registry.down = True
    for answer in (
        await client.get("/v1/subscribers/+12025550123/export"),
        await client.delete("/v1/subscribers/+12025550123"),
        await client.get("/v1/erasures"),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
