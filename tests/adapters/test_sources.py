"""The door for other systems' JSON: who may post, what is applied, and what they are answered."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from kairos.adapters import sources as door
from kairos.adapters.ingress import HttpIngress
from kairos.adapters.sources import HttpSources
from kairos.api.problem import handle_errors
from kairos.api.sources import BODY_LIMIT, add_sources
from kairos.domain.source import Source
from kairos.engine.dead_letters import DeadLetters
from kairos.engine.loop import Loop
from kairos.engine.work import Answer
from kairos.errors import StoreError
from kairos.settings import read_settings

MAPPINGS = """
[sources.shop]
[sources.locked]
[sources.eager]
[[mappings]]
source = "shop"
event = "recharge"
when = "kind == 'PAID'"
id = "no"
subscriber = "who"
data.amount = { path = "cents", from = "minor" }
"""
PAID = {"kind": "PAID", "no": 1, "who": "+12025550123", "cents": 500}
Post = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def sources(bench: Any) -> AsyncIterator[HttpSources]:
    loop = Loop(bench.engine, lambda: bench.now, lambda _: None)
    running = asyncio.create_task(loop.run())
    letters = DeadLetters(bench.store, lambda: bench.now, Counter())
    ingress = HttpIngress(loop, "", dict, letters, keep_rejected=True)
    mappings = read_settings(MAPPINGS, {}).mappings
    every = [
        msgspec.structs.replace(one, source=name) for one in mappings for name in ("shop", "locked", "eager", "secure")
    ]
    doors = {"shop": Source(), "locked": Source(secret="s3cret-of-the-shop"), "eager": Source(refused=200)}
    yield HttpSources(ingress, doors, every)
    loop.close()
    await asyncio.wait_for(running, 60)


@pytest.fixture
async def post(sources: HttpSources) -> AsyncIterator[Post]:
    app = FastAPI()
    handle_errors(app)
    add_sources(app, sources)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

        async def send(
            body: Any, name: str = "shop", media: str = "application/json", **headers: str
        ) -> httpx.Response:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return await client.post(f"/v1/sources/{name}", content=content, headers={"content-type": media, **headers})

        yield send


def statuses(answer: httpx.Response) -> list[str]:
    return [result["status"] for result in answer.json()["results"]]


async def test_what_a_mapping_reads_is_applied_once(post: Post, bench: Any) -> None:
    answer = await post(PAID)
    assert (answer.status_code, answer.json()) == (200, {"results": [{"index": 0, "id": "1", "status": "applied"}]})
    assert statuses(await post(PAID)) == ["duplicate"]
    assert bench.state("12025550123").counters[-1] == 1  # recharge in 30 days


async def test_a_list_or_lines_are_many_and_a_bad_one_spoils_no_other(post: Post) -> None:
    many = [PAID, PAID | {"kind": "OFFERED"}, PAID | {"no": 2, "cents": "5.001"}, PAID | {"no": 3}]
    answer = await post(many)
    assert (answer.status_code, statuses(answer)) == (200, ["applied", "ignored", "rejected", "applied"])
    error = answer.json()["results"][2]["error"]
    assert error["field"] == "data.amount"
    assert error["detail"] == (
        "mapping `1`: `data.amount` from `cents`: `5.001` has more than 2 decimals; `round` says what becomes of them"
    )
    lines = b"\n".join(json.dumps(one).encode() for one in many)
    answer = await post(lines, media="application/x-ndjson; charset=utf-8")
    assert (answer.status_code, statuses(answer)) == (200, ["duplicate", "ignored", "rejected", "duplicate"])


async def test_what_can_never_be_read_is_not_to_be_sent_again(post: Post) -> None:
    for bad, status in (
        (PAID | {"no": None}, 422),
        ([PAID | {"who": "bob"}] * 2, 422),
        (b"{", 400),
        (b"[" * 9999, 400),
    ):
        answer = await post(bad)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await post(bad, "eager")).status_code == 200


async def test_what_could_not_be_applied_this_time_is_to_be_sent_again(
    post: Post, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(bench.store, "commit", full)
        answer = await post([PAID, {"kind": "OFFERED"}])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert statuses(await post([PAID, {"kind": "OFFERED"}])) == ["applied", "ignored"]


async def test_one_that_fails_makes_all_of_them_be_sent_again(
    post: Post, sources: HttpSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def half(events: Any) -> Any:
        return [Answer("applied"), Answer("failed", "it broke")]

    monkeypatch.setattr(sources, "submit", half)
    answer = await post([PAID, PAID | {"no": 2}])
    assert (answer.status_code, statuses(answer)) == (503, ["applied", "failed"])


async def test_a_source_with_a_secret_needs_it(post: Post) -> None:
    assert (await post(PAID, "locked")).status_code == 401
    assert (await post(PAID, "locked/wrong")).status_code == 403
    assert (await post(PAID, "locked/s3cret-of-the-sho")).status_code == 403
    assert (await post(PAID, "locked/%C3%A9")).status_code == 403
    assert (await post(PAID, "locked/s3cret-of-the-shop")).status_code == 200
    assert (await post(PAID, "shop/anything")).status_code == 403
    assert (await post(PAID, "shp")).status_code == 404


async def test_a_client_with_the_role_needs_no_secret(sources: HttpSources) -> None:
    assert sources.opens("locked", "", "mediation")
    assert not sources.opens("locked", "", "")
    assert not sources.opens("locked", "wrong", "mediation")


async def test_what_is_too_large_too_slow_or_packed_is_refused(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await post(b" " * (BODY_LIMIT + 1))).status_code == 413
    assert (await post([PAID] * 1001)).status_code == 413
    assert (await post(PAID, **{"content-encoding": "gzip"})).status_code == 415
    monkeypatch.setattr(door, "READ_WITHIN", -1.0)
    slow = await post(PAID)
    assert (slow.status_code, slow.json()["detail"]) == (413, "it takes too long to read; send less at once")


async def test_a_large_body_is_read_beside_the_loop(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = 0
    to_thread = asyncio.to_thread

    async def counted(*what: Any) -> Any:
        nonlocal threads
        threads += what[0].__name__ == "read"
        return await to_thread(*what)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    assert statuses(await post(PAID | {"note": "x" * door.LARGE})) == ["applied"]
    assert threads == 1
    assert statuses(await post(PAID)) == ["duplicate"]
    assert threads == 1


async def test_what_was_refused_is_kept_and_counted(post: Post, sources: HttpSources) -> None:
    await post([PAID | {"no": 7, "cents": 1.5, "exact": 0.10}, PAID])
    letters = sources.ingress.letters
    assert letters is not None
    await letters.write()
    (letter,) = await sources.ingress.dead_letters("unmapped", 10)
    assert (letter["identity"], letter["payload"]["no"]) == ("shop/7", 7)
    counts = sources.ingress.loop.engine.statistics.counts
    assert (counts["sources.shop.rejected"], counts["sources.shop.applied"]) == (1, 1)


async def test_whatever_breaks_tells_no_secret(
    post: Post, sources: HttpSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("oops")

    monkeypatch.setattr(sources, "compiled", broken)
    with capture_logs() as said:
        answer = await post(PAID, "locked/s3cret-of-the-shop")
    assert (answer.status_code, answer.json()["detail"]) == (500, "something went wrong inside; it was logged")
    (line,) = said
    assert (line["source"], str(line["exc_info"])) == ("locked", "oops")
    assert "s3cret" not in str(line)
