"""Subscribers of events are told everything at least once, in order, and one that hangs holds up only itself."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.channels.conftest import Web, web_server

from kairos.adapters import news
from kairos.adapters.news import Item, SqliteNews, Teller
from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.webhooks import Target, read_secrets
from kairos.domain.subscriber import Bucket
from kairos.engine.dead_letters import DeadLetters
from kairos.engine.dispatch import Backoff
from kairos.errors import SettingsError
from kairos.ports import Outcome

OLD, NEW = b"o" * 24, b"n" * 24
KINDS = {"responses": 0, "fulfilments": 0, "decisions": 1}


@pytest.fixture
def sold(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bench whose store is a file, with a subscriber who was made an offer."""
    monkeypatch.setattr(news, "LOOK", 0.02)
    bench.store = SqliteStore(tmp_path / "kairos.db")
    bench.__post_init__()
    bench.profile()
    yield bench
    bench.store.close()


def offered(bench: Any) -> Any:
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + 86_400_000)]
    bench.apply(bench.event("end_of_call", notification="hello", service="voice", cost=1, balances=balances))
    return bench.state().offers[-1]


@asynccontextmanager
async def telling(
    bench: Any, path: Path, web: Web, *kinds: str, name: str = "crm", keep: int = 0
) -> AsyncIterator[DeadLetters]:
    letters = DeadLetters(bench.store, lambda: bench.now, bench.engine.statistics.counts)
    with ThreadPoolExecutor(1) as thread:
        file = path / "kairos.db"
        read = SqliteNews(file, bench.store, lambda _: bench.program, frozenset(kinds))
        target = Target(web.url, [NEW, OLD], 30.0, lambda: bench.now, 1)
        tellers = [
            Teller(
                name,
                table,
                read,
                target,
                bench.store,
                letters,
                lambda: bench.now,
                thread=thread,
                keep=keep,
                backoff=Backoff(0.01, 0.02),
            )
            for table in sorted({KINDS[kind] for kind in kinds})
        ]
        tasks = [asyncio.create_task(teller.run()) for teller in tellers]
        try:
            async with asyncio.timeout(60):
                while not all(
                    [
                        await teller._read(read.position, teller.source, teller.partition) is not None
                        for teller in tellers
                    ]
                ):
                    await asyncio.sleep(0.01)
            yield letters
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await target.close()
            await asyncio.get_running_loop().run_in_executor(thread, read.close)


async def arrived(web: Web, many: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        while len(web.got) < many:
            await asyncio.sleep(0.01)
    return [json.loads(body) for _, _, body in web.got]


async def test_an_offer_its_answer_and_its_end_are_told_signed(sold: Any, tmp_path: Path, web: Web) -> None:
    async with telling(sold, tmp_path, web, "decisions", "responses"):
        offer = offered(sold)
        sold.apply(sold.reply(f"NO {offer.number}"))
        told = {one["type"]: one["data"] for one in await arrived(web, 2)}
    assert told["decisions"]["offer"] == told["responses"]["offer"] == offer.key
    decision = {name: told["decisions"][name] for name in ("subscriber", "action", "variant", "channel", "event")}
    assert decision == {
        "subscriber": "+12025550123",
        "action": "booster",
        "variant": offer.variant,
        "channel": "notification",
        "event": "end_of_call",
    }
    assert told["responses"]["outcome"] == "declined"
    _, headers, body = web.got[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = [base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in (NEW, OLD)]
    assert headers["webhook-signature"] == f"v1,{expected[0]} v1,{expected[1]}"


async def test_who_wants_only_fulfilments_hears_of_no_answers(sold: Any, tmp_path: Path, web: Web) -> None:
    async with telling(sold, tmp_path, web, "fulfilments"):
        offer = offered(sold)
        sold.apply(sold.reply(str(offer.number)))
        await asyncio.sleep(0.2)
    assert web.got == []


async def test_what_was_not_taken_is_told_again_with_the_same_id_and_in_order(
    sold: Any, tmp_path: Path, web: Web
) -> None:
    web.answers = [503, "drop", 500, 302]
    async with telling(sold, tmp_path, web, "responses"):
        for _ in range(2):
            offer = offered(sold)
            sold.apply(sold.reply(f"NO {offer.number}"))
            sold.now += 15 * 86_400_000
        await arrived(web, 6)
    ids = [headers["webhook-id"] for _, headers, _ in web.got]
    assert ids[:5] == [ids[0]] * 5
    assert ids[5] != ids[0]
    assert [path for path, _, _ in web.got] == ["/"] * 6  # no redirect was followed


async def test_who_does_not_take_it_is_known_until_it_does() -> None:
    seen: list[Any] = []
    answers = [Outcome("retry", reason="HTTP 503"), Outcome("unknown", reason="HTTP 500"), Outcome("sent")]

    class Away:
        async def post(self, _id: str, _body: bytes) -> Outcome:
            seen.append(teller.untold)
            return answers.pop(0)

    none: Any = None
    away: Any = Away()
    quick = Backoff(0.001, 0.002)
    teller = Teller("crm", 0, none, away, none, none, lambda: 7, thread=none, keep=0, backoff=quick)
    await teller._tell(Item(1, "r1", "responses", 7, "7", {}))
    assert (seen, teller.untold) == ([None, (7, "HTTP 503"), (7, "HTTP 500")], None)


async def test_after_a_stop_it_goes_on_where_it_was_and_begins_with_what_is_new(
    sold: Any, tmp_path: Path, web: Web
) -> None:
    offer = offered(sold)
    sold.apply(sold.reply(f"NO {offer.number}"))  # before anybody listened
    async with telling(sold, tmp_path, web, "responses"):
        await asyncio.sleep(0.1)
    assert web.got == []
    sold.now += 15 * 86_400_000
    later = offered(sold)
    sold.apply(sold.reply(f"NO {later.number}"))  # while nobody runs
    async with telling(sold, tmp_path, web, "responses"):
        (told,) = await arrived(web, 1)
        assert told["data"]["offer"] == later.key
        await asyncio.sleep(0.1)
    async with telling(sold, tmp_path, web, "responses"):
        await asyncio.sleep(0.1)
    assert len(web.got) == 1


async def test_one_that_hangs_holds_up_only_itself(sold: Any, tmp_path: Path, web: Web) -> None:
    web.usual = "hang"  # type: ignore[assignment]
    async with web_server() as other, telling(sold, tmp_path, web, "responses"):
        async with telling(sold, tmp_path, other, "responses", name="billing"):
            offer = offered(sold)
            sold.apply(sold.reply(f"NO {offer.number}"))
            assert len(await arrived(other, 1)) == 1
        web.hanging.set()


@pytest.mark.parametrize(("answer", "ages"), [(422, False), (500, True)])
async def test_what_is_refused_or_too_old_is_a_dead_letter_and_the_next_is_told(
    sold: Any, tmp_path: Path, web: Web, answer: int, ages: bool
) -> None:
    web.answers = [answer]
    async with telling(sold, tmp_path, web, "responses", keep=1000) as letters:
        for _ in range(2):
            offer = offered(sold)
            sold.apply(sold.reply(f"NO {offer.number}"))
            sold.now += 15 * 86_400_000 if ages else 0
            sold.now += 15 * 86_400_000
        await arrived(web, 2)
        await letters.write()
    (letter,) = sold.store.dead_letters()
    assert (letter.kind, letter.reason) == ("news", f"HTTP {answer}")
    assert json.loads(letter.payload)["type"] == "responses"


@pytest.mark.parametrize("written", ["", "whsec_", "secret", "whsec_c2hvcnQ=", "whsec_####"])
def test_a_secret_that_is_none_is_refused_and_not_shown(written: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        read_secrets(written, "channels.webhook.secret")
    assert "channels.webhook.secret" in str(wrong.value)
    assert "c2hvcnQ" not in str(wrong.value)
