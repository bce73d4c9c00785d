"""What every channel keeps, whatever its counterpart does: it never raises, and what may have gone goes once."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.ahead import ahead
from tests.channels.dispatching import dispatching, settled

from kairos.adapters.apprise import Apprise
from kairos.adapters.ivr import Dialler
from kairos.adapters.mail import Mail
from kairos.adapters.mmsc import Mmsc
from kairos.adapters.webhooks import Target, Webhook
from kairos.domain.message import Text
from kairos.ports import Outcome

NOW = 1_795_543_200_000
SECRETS = [base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
TIMEOUT = 30.0  # of an attempt


@dataclass
class Way:
    """A channel with its counterpart. `say`: what the counterpart answers next, in the words of this suite."""

    channel: Any
    counterpart: Any
    say: Callable[[str], None]
    got: Callable[[], int]  # messages that reached it
    address: str

    def hurry(self) -> None:
        """When the counterpart hangs, the time of the attempt is over."""
        self.counterpart.hangs = lambda: ahead(TIMEOUT)


@asynccontextmanager
async def mail(around: Any) -> AsyncIterator[Way]:
    async with around["mail"]() as server:
        words = {"later": ("rcpt", "451 later"), "never": ("rcpt", "550 never"), "lost": ("data", "lost")}

        def say(word: str) -> None:
            step, answer = words.get(word, ("data", word))
            server.answers.setdefault(step, []).append(answer)

        channel = Mail("127.0.0.1", server.port, "Fictel <o@fictel.example>", lambda: NOW, tls=None, timeout_s=TIMEOUT)
        yield Way(channel, server, say, lambda: len(server.got), "ada@mail.example")
        server.hanging.set()
        await channel.close()


@asynccontextmanager
async def webhook(around: Any) -> AsyncIterator[Way]:
    web = around["web"]
    channel = Webhook(Target(f"{web.url}/hook", SECRETS, TIMEOUT, lambda: NOW, 4))
    words: dict[str, Any] = {"later": 503, "never": 422, "lost": "drop", "hang": "hang"}
    yield Way(channel, web, lambda word: web.answers.append(words[word]), lambda: len(web.got), "12025550123")
    await channel.close()


@asynccontextmanager
async def push(around: Any) -> AsyncIterator[Way]:
    web = around["web"]
    channel = Apprise("push", f"json://127.0.0.1:{web.port}/push/{{address}}", "", TIMEOUT, 4)
    words: dict[str, Any] = {"never": 422, "later": 503, "lost": "drop", "hang": "hang"}
    yield Way(channel, web, lambda word: web.answers.append(words[word]), lambda: len(web.got), "token-1")
    web.hanging.set()
    await channel.close()


@asynccontextmanager
async def dialler(around: Any) -> AsyncIterator[Way]:
    web = around["web"]
    channel = Dialler(Target(f"{web.url}/calls", SECRETS, TIMEOUT, lambda: NOW, 4), "https://kairos.example/v1/ivr/key")
    words: dict[str, Any] = {"later": 503, "never": 422, "lost": "drop", "hang": "hang"}
    yield Way(channel, web, lambda word: web.answers.append(words[word]), lambda: len(web.got), "12025550123")
    await channel.close()


@asynccontextmanager
async def mms(around: Any) -> AsyncIterator[Way]:
    web = around["web"]
    told = "<R><StatusCode>{}</StatusCode><MessageID>m</MessageID></R>"
    web.usual = (200, told.format(1000).encode())
    channel = Mmsc(web.url, "fictel", "offers", Path(), TIMEOUT, 4, login=None)
    words: dict[str, Any] = {code: (200, told.format(n).encode()) for code, n in (("later", 4006), ("never", 2002))}
    words |= {"lost": "drop", "hang": "hang"}
    yield Way(channel, web, lambda word: web.answers.append(words[word]), lambda: len(web.got), "12025550123")
    await channel.close()


WAYS: dict[str, Callable[[Any], Any]] = {"mail": mail, "webhook": webhook, "push": push, "dialler": dialler, "mms": mms}
ONLY_TRUE_OR_FALSE = ("push",)  # a no from these may be an answer that never came


@pytest.fixture(params=WAYS)
async def way(request: pytest.FixtureRequest, mail: Any, web: Any) -> AsyncIterator[Way]:
    async with WAYS[request.param]({"mail": mail, "web": web}) as made:
        yield made


def text(way: Way, **more: Any) -> Text:
    return Text("5000", way.address, "More data", True, offer="5da2-17", msisdn="12025550123", subject="Hi", **more)


async def test_what_is_taken_is_sent(way: Way) -> None:
    outcome = await way.channel.send(text(way))
    assert (outcome.status, bool(outcome.peer_id), way.got()) == ("sent", True, 1)


@pytest.mark.parametrize(
    ("word", "status"), [("later", "retry"), ("never", "failed"), ("lost", "unknown"), ("hang", "unknown")]
)
async def test_each_answer_means_what_the_page_says(
    way: Way, word: str, status: str, request: pytest.FixtureRequest
) -> None:
    way.say(word)
    if word == "hang":
        way.hurry()
    outcome = await way.channel.send(text(way))
    known = request.node.callspec.params["way"] not in ONLY_TRUE_OR_FALSE
    assert outcome.status == (status if known else "unknown")
    assert outcome.reason.isprintable()


async def test_one_that_hangs_holds_up_no_other(way: Way) -> None:
    hangs = asyncio.Event()
    way.counterpart.hangs = hangs.set
    way.say("hang")
    slow = asyncio.create_task(way.channel.send(text(way)))
    await hangs.wait()
    assert (await way.channel.send(text(way))).status == "sent"
    assert not slow.done()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


@pytest.mark.parametrize("word", ["lost", "hang"])
async def test_after_an_answer_that_never_came_nothing_is_sent_again(
    way: Way, word: str, mail_bench: Any, request: pytest.FixtureRequest
) -> None:
    """Through the dispatcher, with a kill between: what was marked is not tried a second time."""
    bench = selling_by_mail(mail_bench)
    way.say(word)
    if word == "hang":
        way.hurry()
    async with dispatching(bench, way.channel) as loop:
        await loop.submit(bench.event("data_session", app="video", bytes=1.0))
        await settled(bench, "failed")
    reached = way.got()
    assert reached <= 1
    async with dispatching(bench, way.channel):
        await asyncio.sleep(0.1)
    assert way.got() == reached
    assert len(bench.state().contacts) == 1  # they may have read it: it counts


async def test_what_was_marked_when_the_process_died_is_not_sent(way: Way, mail_bench: Any) -> None:
    bench = selling_by_mail(mail_bench)
    hangs = asyncio.Event()
    way.counterpart.hangs = hangs.set
    way.say("hang")
    async with dispatching(bench, way.channel) as loop:
        await loop.submit(bench.event("data_session", app="video", bytes=1.0))
        await settled(bench, "sending")
        await hangs.wait()
    reached = way.got()
    async with dispatching(bench, way.channel):
        await settled(bench, "failed")
    assert way.got() == reached


def selling_by_mail(bench: Any) -> Any:
    bench.profile(email="ada@mail.example")
    return bench


class Away:
    """A counterpart that refuses for now, a given number of times."""

    def __init__(self, times: int, after: float) -> None:
        self.times, self.after, self.tries = times, after, 0

    async def send(self, _: Text) -> Outcome:
        self.tries += 1
        return Outcome("retry", reason="later", after=self.after) if self.tries <= self.times else Outcome("sent", "1")


async def test_what_is_to_come_back_is_pending_meanwhile_so_a_kill_loses_nothing(
    mail_bench: Any,
) -> None:
    bench = selling_by_mail(mail_bench)
    async with dispatching(bench, Away(1, after=30)) as loop:
        await loop.submit(bench.event("data_session", app="video", bytes=1.0))
        await settled(bench, "pending")
        while bench.engine.statistics.counts["outgoing.pending"] < 1:
            await asyncio.sleep(0.005)
    away = Away(0, 0)
    async with dispatching(bench, away):
        await settled(bench, "sent")
    assert away.tries == 1


async def test_what_comes_back_too_late_gives_back_its_limit_and_its_offer(mail_bench: Any) -> None:
    bench = selling_by_mail(mail_bench)
    away = Away(99, after=0.02)
    async with dispatching(bench, away) as loop:
        await loop.submit(bench.event("data_session", app="video", bytes=1.0))
        async with asyncio.timeout(60):
            while not away.tries:
                await asyncio.sleep(0.005)
        bench.now += 3_600_000
        await settled(bench, "dropped")
    assert bench.state().contacts == []
    assert bench.state().offers[0].status == "withdrawn"
