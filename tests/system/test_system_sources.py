"""Other systems' JSON through the running server: traffic detection, a VAS platform, CGRateS; to the offer and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from kairos.simulate import OperatorSettings
from kairos.simulate.events import app_start, app_stop, rfc3339, vas_purchase
from kairos.simulate.handsets import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "not-to-be-guessed-7c21-1b09-44f2-a5d8"
MINUTE = 60_000
WHO = b'"subscriber": {"msisdn": 12025550123}'
MUCH = b'{"uplinkBytes": 1e40, "downlinkBytes": 1e39}'
BOUGHT = b'"msisdn": "+12025550123", "purchasedAt": "2026-11-28T09:30:00Z"'
CDR = Path(__file__).parents[1] / "ingest" / "cgrates_call.json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(launch_in: Any, a_free_port: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    operator = OperatorSettings(
        subscribers=60, smsc_port=a_free_port(), receipt_after=0.02, rate=40, sources=("dpi", "vas")
    )
    folder = tmp_path_factory.mktemp("sources")
    async with launch_in(folder, operator=operator, SOURCES_CGRATES_SECRET=SECRET) as system:
        yield system


async def post(system: Any, source: str, *payloads: Any) -> httpx.Response:
    body = payloads[0] if isinstance(payloads[0], bytes) else b"\n".join(json.dumps(one).encode() for one in payloads)
    headers = {"content-type": "application/x-ndjson" if len(payloads) > 1 else "application/json"}
    answer: httpx.Response = await system.http.post(
        f"{system.server.url}/v1/sources/{source}", content=body, headers=headers
    )
    return answer


def results(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [result["status"] for result in answer.json()["results"]]


async def offer(system: Any, msisdn: str) -> Any:
    """The message with an offer that came to the handset."""
    handset = system.operator.handsets[msisdn]
    await system.until(lambda: any(seen.offer for seen in handset.inbox), "an offer")
    return next(seen for seen in handset.inbox if seen.offer)


async def test_who_starts_to_stream_is_offered_our_own_tv_and_takes_it(system: Any) -> None:
    msisdn, now = system.with_language("en"), system.operator.now()
    await system.known(msisdn)
    start = app_start("r1", msisdn, "video", now)
    assert results(await post(system, "dpi", start, start)) == ["applied", "duplicate"]
    assert "Lantern TV 7 days" in (await offer(system, msisdn)).text
    assert "Lantern TV 7 days is active" in (await system.reply(msisdn, "1")).text
    (order,) = system.orders(msisdn)
    assert (order.request.product, order.charged, order.kind) == ("STREAM_TV_7D", 250, "streaming")


async def test_a_session_that_traffic_detection_reports_counts_in_bytes(system: Any) -> None:
    msisdn, now = system.with_language("en"), system.operator.now()
    await system.known(msisdn, marketing_consent=False)
    assert results(await post(system, "dpi", app_stop("r2", msisdn, "music", now - MINUTE, now, 250_000_000))) == [
        "applied"
    ]
    (decision,) = await system.decisions(msisdn)
    assert (decision["kind"], decision["known"]["data_used_7d"]) == ("data_session", 250_000_000)
    assert decision["known"]["music_30d"] == 1


@pytest.fixture
def heard(system: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What was spoken to whom, and by whom; whoever it is says yes."""
    found: list[tuple[str, str, str]] = []

    async def says_yes(msisdn: str, channel: str, text: str) -> Answer:
        found.append((msisdn, channel, text))
        handset, operator = system.operator.handsets[msisdn], system.operator
        return handset.answer("accept", operator.now(), handset.shown(text, 0.0), None, channel)  # type: ignore[no-any-return]

    monkeypatch.setattr(system.operator.telephone, "pick_up", says_yes)
    return found


async def test_a_purchase_brings_its_companion_by_a_voice(system: Any, heard: list[tuple[str, str, str]]) -> None:
    msisdn = system.with_language("en")
    await system.known(msisdn)
    answer = await post(system, "vas", vas_purchase("p1", msisdn, 0, 45, system.operator.now()))
    assert results(answer) == ["applied"]
    await system.until(lambda: system.orders(msisdn), "the order")
    ((who, channel, text),) = heard
    assert (who, channel, "in the Tone Box cost T$0.80" in text) == (msisdn, "ivr", True)
    (order,) = system.orders(msisdn)
    assert (order.request.product, order.charged, order.kind) == ("COMPANION_TONES_30D", 80, "companion")


async def test_who_may_leave_is_called_by_an_agent_and_thanked(system: Any, heard: list[tuple[str, str, str]]) -> None:
    msisdn = system.with_language("en")
    await system.known(msisdn)
    await system.tell([("churn", msisdn, {"score": 0.8})])
    centre = asyncio.create_task(system.operator.telephone.work())
    try:
        await system.until(lambda: system.orders(msisdn), "the order")
    finally:
        centre.cancel()
    ((who, channel, text),) = heard
    assert (who, channel, "2GB for 7 days are theirs, free" in text) == (msisdn, "calls", True)
    (order,) = system.orders(msisdn)
    assert (order.request.product, order.charged, order.kind) == ("LOYALTY_2G_7D", 0, "loyalty")


async def test_a_cdr_of_cgrates_arrives_with_its_cost_and_what_is_left(system: Any) -> None:
    msisdn = system.with_language("en")
    await system.known(msisdn, marketing_consent=False)
    at = system.operator.now() - 70_000
    call = json.loads(CDR.read_text()) | {"Account": msisdn, "AnswerTime": rfc3339(at)}
    assert (await post(system, "cgrates", call)).status_code == 401
    assert (await post(system, "cgrates/wrong", call)).status_code == 403
    assert results(await post(system, f"cgrates/{SECRET}", call)) == ["applied"]
    assert results(await post(system, f"cgrates/{SECRET}", call)) == ["duplicate"]
    decision = (await system.decisions(msisdn))[0]
    known = decision["known"]
    assert (decision["kind"], known["balance"], known["data_left_mb"], known["spend_1h"]) == (
        "end_of_call",
        856,
        1500,
        10,
    )
    assert known["end_of_call.cost"] == 10


@pytest.mark.parametrize(
    ("source", "body", "status"),
    [
        ("dpi", b"", 400),
        ("dpi", b"{", 400),
        ("dpi", b"\xff\xfe", 400),
        ("dpi", b"[" * 100_000, 400),
        ("dpi", b'{"a":' * 100_000, 400),
        ("dpi", b'{"startTime": NaN}', 400),
        ("dpi", b"1" * 100_000, 400),
        ("dpi", b'"text"', 422),
        ("dpi", b"[1, null, []]", 422),
        ("dpi", b"[]", 200),
        ("dpi", b"{}", 200),
        ("dpi", b'{"event": "APPLICATION_START"}', 422),
        ("dpi", b'{"event": "APPLICATION_START", "reportId": {"a": [1]}, "startTime": 1e400}', 422),
        ("dpi", b'{"event": "APPLICATION_START", "reportId": 1, "startTime": 1e400, %s}' % WHO, 422),
        ("dpi", b'{"event": "APPLICATION_STOP", "reportId": 1, "stopTime": 1, %s, "usage": []}' % WHO, 422),
        ("dpi", b'{"event": "APPLICATION_STOP", "reportId": 1, "stopTime": 1, %s, "usage": %s}' % (WHO, MUCH), 200),
        ("vas", b'{"status": "CHARGED", "transactionId": "x", "msisdn": "\\r\\nset-cookie: a=b"}', 422),
        ("vas", b'{"status": "CHARGED", "transactionId": "x", %s, "price": {"amountMinor": 4.5}}' % BOUGHT, 422),
        ("nobody", b"{}", 404),
        ("..%2f..%2fevents", b"{}", 404),
        ("cgrates", b"{}", 401),
        (f"cgrates/{SECRET[:-1]}", b"{}", 403),
        ("dpi/anything", b"{}", 403),
    ],
)  # fmt: skip
async def test_bad_input_is_a_clear_answer(system: Any, source: str, body: bytes, status: int) -> None:
    answer = await post(system, source, body)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text
    assert "set-cookie" not in answer.headers
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
    assert "Traceback" not in system.server.log


async def test_a_busy_operator_posts_to_its_sources_and_nothing_is_refused(system: Any) -> None:
    operator = system.operator
    await operator.load_history()
    busy = asyncio.create_task(operator.run(3600))
    await system.until(lambda: operator.sources["dpi"].results["applied"] > 5, "what they post")
    busy.cancel()
    async with asyncio.timeout(60):
        while any(feed.under_way for feed in operator.feeds):
            await asyncio.sleep(0.05)
    assert [feed.complaints for feed in operator.feeds] == [[], [], []]
    assert await system.counted("sources.dpi.applied") >= operator.sources["dpi"].results["applied"]
