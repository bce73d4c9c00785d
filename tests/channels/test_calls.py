"""The call centre's list: no two agents have the same call, and what nobody makes is given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.api.test_api_lock import KNOWN, Kept
from tests.channels.conftest import bench_of, by_mail
from tests.channels.dispatching import dispatching, settled

from kairos.adapters.calls import CallDesk, CallList
from kairos.api import create_app
from kairos.api.calls import add_calls
from kairos.api.lock import Lock
from kairos.domain.message import Text
from kairos.ports import Outcome

OTHER = "12025550124"


@pytest.fixture
def call_bench(texts: dict[str, str]) -> Any:
    """The booster is told by telephone."""
    files = by_mail(texts)
    booster = files["offers/booster.yaml"].replace("channel: email", "channel: calls")
    policy = files["contact_policy.yaml"].replace("{email: mail_consent}", "{calls: mail_consent}")
    policy = policy.replace("channels: [email]", "channels: [calls]").replace("channel: email", "channel: calls")
    changed = {"offers/booster.yaml": f"{booster}send_within: 2 hours\n", "contact_policy.yaml": policy}
    return bench_of(files | changed)


class Desk:
    """Agents at the door."""

    def __init__(self, calls: CallList, desk: CallDesk) -> None:
        self.calls = calls
        nothing: Any = object()
        app = create_app(nothing, nothing, CollectorRegistry(), lambda: 0, more=[lambda app: add_calls(app, desk)])
        self.kept = Kept()
        transport, key = httpx.ASGITransport(Lock(app, KNOWN, self.kept)), {"authorization": "Bearer care"}
        self.http = httpx.AsyncClient(transport=transport, base_url="http://kairos", headers=key)

    async def claim(self, limit: int = 1) -> list[dict[str, Any]]:
        answer = await self.http.post(f"/v1/calls?limit={limit}")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["calls"]
        return found

    async def bring(self, call: dict[str, Any], result: str, **more: Any) -> httpx.Response:
        body = {"id": f"{call['offer']}/{result}", "subscriber": call["subscriber"], "result": result} | more
        return await self.http.post(f"/v1/calls/{call['offer']}", json=body)

    async def waits(self, many: int) -> None:
        async with asyncio.timeout(60):
            while (await self.http.get("/v1/calls")).json() != {"waiting": many}:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def centre(bench: Any, *, lease_s: float = 60.0, again_after_s: float = 0.02) -> AsyncIterator[Desk]:
    calls = CallList(lambda: bench.now, lease_s, again_after_s)
    async with dispatching(bench, calls, "calls", calls) as loop:
        desk = Desk(calls, CallDesk(calls, loop))
        async with desk.http:
            yield desk


async def told(bench: Any, *msisdns: str) -> None:
    """Each is to be called."""
    for msisdn in msisdns:
        for kind, data in (
            ("profile", {"plan": "prepaid", "language": "en", "marketing_consent": True}),
            ("data_session", {"app": "video", "bytes": 1.0}),
        ):
            bench.apply(bench.event(kind, msisdn=msisdn, **data))


async def test_an_agent_is_given_a_call_and_a_yes_on_it_is_a_purchase(call_bench: Any) -> None:
    await told(call_bench, "12025550123")
    async with centre(call_bench) as desk:
        await desk.waits(1)
        (call,) = await desk.claim()
        assert (call["subscriber"], call["action"]) == ("+12025550123", "booster")
        assert "Text 1 to 5000" in call["text"]
        assert call["until"] == call_bench.now + 60_000
        answer = await desk.bring(call, "accepted", who="agent 17")
        assert answer.json()["status"] == "accepted"
        assert answer.json()["noted"]
        await settled(call_bench, "sent")
    state = call_bench.state()
    assert state.offers[0].status == "accepted"
    assert state.offers[0].proof[0].text == "yes (calls, agent 17)"


async def test_a_text_takes_nothing_that_only_waits_for_an_agent(call_bench: Any) -> None:
    await told(call_bench, "12025550123")
    (offer,) = call_bench.state().offers
    call_bench.apply(call_bench.reply("OK"))
    assert [one.status for one in call_bench.state().offers] == ["open"]
    call_bench.apply(call_bench.reply(str(offer.number)))
    assert [one.status for one in call_bench.state().offers] == ["accepted"]


async def test_the_trail_says_who_was_given_which_call_and_what_they_brought(call_bench: Any) -> None:
    await told(call_bench, "12025550123", OTHER)
    async with centre(call_bench) as desk:
        await desk.waits(2)
        first, second = await desk.claim(5)
        await desk.bring(first, "accepted")
        await desk.bring(second, "keep")
    given = [f"line care POST /v1/calls {one['subscriber']} 200 claimed {one['offer']}" for one in (first, second)]
    assert [line for line in desk.kept.told if "POST" in line][:4] == [
        *given,
        f"line care POST /v1/calls/{{offer}} {first['subscriber']} 200 accepted {first['offer']}",
        f"line care POST /v1/calls/{{offer}} {second['subscriber']} 200 keep {second['offer']}",
    ]


async def test_two_agents_never_have_the_same_call(call_bench: Any) -> None:
    numbers = [f"1202555010{n}" for n in range(10)]
    await told(call_bench, *numbers)
    async with centre(call_bench) as desk:
        await desk.waits(10)
        shares = await asyncio.gather(*(desk.claim(3) for _ in range(5)))
        given = [call["subscriber"] for share in shares for call in share]
        assert sorted(given) == [f"+{number}" for number in numbers]


async def test_who_was_not_reached_is_called_again_and_the_contact_counts_once(call_bench: Any) -> None:
    await told(call_bench, "12025550123")
    async with centre(call_bench) as desk:
        for result in ("not_reached", "not_reached", "keep"):
            await desk.waits(1)
            (call,) = await desk.claim()
            answer = await desk.bring(call, result, id=f"{call['until']}/{result}")
            assert answer.status_code == 200
            call_bench.now += 1_000
        await settled(call_bench, "sent")
    state = call_bench.state()
    assert (state.offers[0].status, len(state.contacts)) == ("open", 1)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_result_that_is_sent_again_does_not_end_the_next_agents_call(call_bench: Any, restarted: bool) -> None:
    await told(call_bench, "12025550123")
    async with AsyncExitStack() as stack:
        desk = await stack.enter_async_context(centre(call_bench))
        await desk.waits(1)
        (call,) = await desk.claim()
        first = await desk.bring(call, "not_reached", id="r1")
        await desk.waits(1)
        if restarted:
            await stack.aclose()
            desk = await stack.enter_async_context(centre(call_bench))
            await desk.waits(1)
        assert len(await desk.claim()) == 1
        again = await desk.bring(call, "not_reached", id="r1")  # of the agent before
        assert (first.status_code, again.json()) == (200, first.json())
        assert (await desk.bring(call, "keep", id="r2")).json()["noted"]
        await settled(call_bench, "sent")


@pytest.mark.parametrize("result", ["accepted", "declined", "stop", "keep", "wrong_person"])
async def test_what_is_brought_again_after_a_restart_is_answered_as_before(call_bench: Any, result: str) -> None:
    await told(call_bench, "12025550123")
    async with centre(call_bench) as desk:
        await desk.waits(1)
        (call,) = await desk.claim()
        first = await desk.bring(call, result)
        assert first.json()["noted"]
    async with centre(call_bench) as desk:
        assert (await desk.bring(call, result)).json() == first.json()
        if result in ("keep", "wrong_person"):
            assert (await desk.bring(call, result, id="another")).status_code == 404


async def test_a_stop_is_heard_at_the_very_moment_of_a_result() -> None:
    calls = CallList(lambda: 0, 60.0, 0.0)
    text = Text("5000", "12025550123", "2 GB?", True, offer="k-1")

    async def attempt() -> Outcome:
        async with calls(cast("Any", None), text):
            return await calls.send(text)

    call = asyncio.create_task(attempt())
    await asyncio.sleep(0)
    assert len(await calls.claim(1)) == 1
    assert calls.settle("k-1", "not_reached")
    call.cancel()
    assert isinstance((await asyncio.gather(call, return_exceptions=True))[0], asyncio.CancelledError)


async def test_what_nobody_calls_in_time_gives_its_limit_and_its_offer_back(call_bench: Any) -> None:
    await told(call_bench, "12025550123")
    assert len(call_bench.state().contacts) == 1
    async with centre(call_bench) as desk:
        await desk.waits(1)
        call_bench.now += 2 * 3_600_000 + 1
        assert await desk.claim() == []
        await settled(call_bench, "dropped")
    state = call_bench.state()
    assert (state.offers[0].status, state.contacts) == ("withdrawn", [])


async def test_who_said_stop_meanwhile_is_passed_by_and_the_next_is_given(call_bench: Any) -> None:
    await told(call_bench, "12025550123", OTHER)
    async with centre(call_bench) as desk:
        await desk.waits(2)
        call_bench.apply(call_bench.reply("STOP"))
        (call,) = await desk.claim()
        assert call["subscriber"] == f"+{OTHER}"


async def test_do_not_call_again_withdraws_what_is_named_for_calls_alone(call_bench: Any) -> None:
    await told(call_bench, "12025550123")
    async with centre(call_bench) as desk:
        await desk.waits(1)
        (call,) = await desk.claim()
        assert (await desk.bring(call, "stop")).status_code == 200
        await settled(call_bench, "sent")
    state = call_bench.state()
    assert state.offers[0].status == "withdrawn"
    places = call_bench.program.plan.places
    known = {name: state.attributes[places[name]] for name in ("mail_consent", "marketing_consent")}
    assert known == {"mail_consent": False, "marketing_consent": True}


@pytest.mark.parametrize("result", ["accepted", "declined", "stop", "keep", "not_reached", "wrong_person"])
async def test_what_is_brought_for_another_subscriber_changes_nothing(call_bench: Any, result: str) -> None:
    await told(call_bench, "12025550123", OTHER)
    async with centre(call_bench) as desk:
        await desk.waits(2)
        mine, theirs = await desk.claim(2)
        answer = await desk.bring(mine, result, subscriber=theirs["subscriber"])
        assert answer.status_code == 404, answer.text
        place = call_bench.program.plan.places["mail_consent"]
        for call in (mine, theirs):
            state = call_bench.state(call["subscriber"].lstrip("+"))
            assert (state.offers[0].status, state.attributes[place]) == ("open", None)
            assert (await desk.bring(call, "keep")).json()["noted"]  # both calls are still theirs who have them


async def test_an_agent_who_never_comes_back_leaves_a_call_that_nobody_else_makes(call_bench: Any) -> None:
    await told(call_bench, "12025550123")
    async with centre(call_bench, lease_s=0.05) as desk:
        await desk.waits(1)
        (call,) = await desk.claim()
        await settled(call_bench, "failed")
        assert await desk.claim() == []
        assert (await desk.bring(call, "not_reached")).status_code == 404
        late = await desk.bring(call, "accepted")  # they did reach them, and the yes is theirs
        assert (late.json()["status"], late.json()["noted"]) == ("accepted", False)
    assert len(call_bench.state().contacts) == 1


async def test_a_call_that_was_given_when_the_process_died_is_not_given_again(call_bench: Any) -> None:
    await told(call_bench, "12025550123", OTHER)
    async with centre(call_bench) as desk:
        await desk.waits(2)
        await desk.claim()
    async with centre(call_bench) as desk:
        await desk.waits(1)
        (call,) = await desk.claim(10)
        assert call["subscriber"] == f"+{OTHER}"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "cannot be read"),
        (b'{"id": "1", "subscriber": "+12025550123", "result": "maybe"}', 400, "maybe"),
        (b'{"id": "1", "subscriber": "nobody", "result": "accepted"}', 422, "`subscriber`"),
        (b'{"id": "1", "subscriber": "+12025550199", "result": "accepted"}', 404, "nobody is known"),
        (b'{"id": "1", "subscriber": "+12025550123", "result": "not_reached"}', 404, "there is no offer"),
        (b'{"id": "1", "subscriber": "' + b"1" * 20_000 + b'"}', 413, "larger"),
    ],
)
async def test_what_is_no_result_is_said(call_bench: Any, body: bytes, status: int, says: str) -> None:
    await told(call_bench, "12025550123")
    async with centre(call_bench) as desk:
        answer = await desk.http.post("/v1/calls/some-offer", content=body)
        assert (answer.status_code, says in answer.text) == (status, True), answer.text
