"""Who tries again gets the first answer again, and nothing more happens; who says the same twice is heard twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from kairos.domain.inputs import Answered, end_of_a_run
from kairos.ports import Batch
from kairos.smpp import Status

WITH_ID = "Your call cost T$0.35. Balance T$12.40. Ref 8f3a21"
TEXT = "Your parcel is here."
NAME = 0x1501
HOUR = 3_600_000


@pytest.fixture
async def world(start: Any) -> Any:
    return await start()


async def lose(world: Any, account: str) -> None:
    """The account's connection breaks, with no farewell."""
    for session in world.esmes.server.sessions(account):
        session.abort("a broken line")
    await world.until(lambda: not world.esmes.server.sessions(account))


async def again(world: Any, bind: Any, account: str, *texts: str, **fields: Any) -> list[str]:
    """Bind anew and submit: the message ids."""
    esme = await bind(world, account)
    return [(await esme.submit(text, **fields)).message_id for text in texts]


async def test_the_same_text_twice_on_a_bind_that_holds_is_two(world: Any, bind: Any) -> None:
    esme, other = await bind(world, "info"), await bind(world, "info")
    ids = [(await one.submit(TEXT)).message_id for one in (esme, esme, other)]
    assert ids == ["1", "2", "3"]


async def test_after_a_lost_bind_the_same_text_is_a_retry_each_first_once(world: Any, bind: Any) -> None:
    first = [(await (await bind(world, "info")).submit(TEXT)).message_id for _ in range(2)]
    await lose(world, "info")
    assert await again(world, bind, "info", TEXT, TEXT, TEXT) == [*first, "3"]
    assert world.esmes.first.counts["retries"] == 2


async def test_what_was_surely_seen_is_no_retry(world: Any, bind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    esme = await bind(world, "info")
    await esme.submit(TEXT)
    monkeypatch.setattr("kairos.adapters.first_answers.SURELY", 0.0)  # heard so long after its answer
    await esme.submit("another")
    await lose(world, "info")
    assert await again(world, bind, "info", TEXT) == ["3"]


async def test_who_says_farewell_has_seen_all(world: Any, bind: Any) -> None:
    esme = await bind(world, "info")
    await esme.submit(TEXT)
    await esme.client.close()
    assert await again(world, bind, "info", TEXT) == ["2"]


async def test_who_says_farewell_and_does_not_wait_for_the_answer_has_not_seen_it(world: Any, bind: Any) -> None:
    esme = await bind(world, "info")
    (session,) = world.esmes.server.sessions("info")
    first = world.esmes.first.begin("info/x", "info", session, own=False)
    await esme.client.close()
    await world.until(lambda: session.close_reason)
    world.esmes.first.settle(first, "1")
    other = await bind(world, "info")
    assert world.esmes.first.again("info/x", other.client.session, own=False) is first


async def test_the_same_text_again_and_again_takes_no_more_memory(
    world: Any, bind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kairos.adapters.first_answers.SURELY", 0.0)  # heard so long after its answer
    esme = await bind(world, "info")
    for _ in range(50):
        await esme.submit(TEXT)
    assert max(map(len, world.esmes.first._known.values())) <= 2


async def test_what_was_surely_seen_is_let_go(world: Any, bind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kairos.adapters.first_answers.SURELY", 0.0)
    esme = await bind(world, "info")
    for number in range(50):
        await esme.submit(f"Your parcel {number} is here.")
    assert len(world.esmes.first._known) <= 2
    assert not world.esmes.first.counts["forgotten_early"]


async def test_what_is_refused_again_and_again_takes_no_more_memory(world: Any, bind: Any) -> None:
    esme = await bind(world, "ocs")
    await world.smsc.client.close()
    world.store.failing = True
    for _ in range(50):
        assert (await esme.submit(WITH_ID)).status == Status.ESME_RSYSERR
    assert max(map(len, world.esmes.first._known.values())) <= 1


async def test_who_comes_again_much_later_means_another(world: Any, bind: Any) -> None:
    await (await bind(world, "info")).submit(TEXT)
    await lose(world, "info")
    world.bench.now += HOUR
    assert await again(world, bind, "info", TEXT) == ["2"]


async def test_a_refused_first_is_tried_anew(world: Any, bind: Any) -> None:
    esme = await bind(world, "info")
    world.peer.answers.append(Status.ESME_RMSGQFUL)
    assert (await esme.submit(TEXT)).status == Status.ESME_RMSGQFUL
    await lose(world, "info")
    assert await again(world, bind, "info", TEXT) == ["2"]


async def test_a_retry_while_the_first_is_under_way_waits_for_its_answer(world: Any, bind: Any) -> None:
    esme = await bind(world, "ocs")
    world.store.gate.clear()
    lost = asyncio.create_task(esme.submit(WITH_ID))
    await world.until(lambda: world.loop.engine.flying)
    await lose(world, "ocs")
    retry = asyncio.create_task(again(world, bind, "ocs", WITH_ID))
    await world.until(lambda: world.esmes.first.counts["retries"])
    world.store.gate.set()
    ((id_,), _) = await asyncio.gather(retry, lost, return_exceptions=True)  # type: ignore[misc]
    assert len(id_) == 16
    await world.until(lambda: world.peer.texts)
    assert len(world.rows("notification")) == 1


async def test_a_retry_of_what_went_out_plain_gets_the_smscs_id_again(world: Any, bind: Any) -> None:
    esme = await bind(world, "ocs")
    world.store.failing = True
    first = (await esme.submit(WITH_ID)).message_id
    world.store.failing = False
    assert [(await esme.submit(WITH_ID)).message_id for _ in range(2)] == [first, first]
    assert world.peer.texts == [WITH_ID]


async def test_a_tlv_of_the_accounts_names_a_message(world: Any, bind: Any) -> None:
    esme = await bind(world, "named")
    for text in (TEXT, "Your call cost T$0.35. Balance T$12.40"):
        ids = [(await esme.submit(text, tlvs=((NAME, name),))).message_id for name in (b"a", b"a", b"b", b"a")]
        assert ids[0] == ids[1] == ids[3] != ids[2]
        world.peer.first_id += 100


async def test_after_a_restart_the_last_texts_may_not_have_been_seen(world: Any, bind: Any) -> None:
    now = world.bench.now
    esme = await bind(world, "info")
    await esme.submit(TEXT)
    told = world.store.latest_answered(10)
    assert [(one.account, one.message_id, one.peer_id) for one in told] == [("info", "1", "1")]
    print_ = told[0].identity
    world.esmes.first._known.clear()  # what a new process knows
    world.esmes.first.remember([Answered("info", "old", "old", print_, now - HOUR), *told], 0)
    assert await again(world, bind, "info", TEXT, TEXT) == ["1", "2"]


async def test_what_the_engine_took_without_an_id_is_kept_with_it(world: Any, bind: Any) -> None:
    esme = await bind(world, "named")
    ours = (await esme.submit("Your call cost T$0.35. Balance T$12.40")).message_id
    assert len(ours) == 16
    (told,) = world.store.latest_answered(10)
    assert (told.account, told.message_id, told.peer_id) == ("named", ours, "")
    await lose(world, "named")
    assert await again(world, bind, "named", "Your call cost T$0.35. Balance T$12.40") == [ours]
    await world.until(lambda: world.peer.texts)
    assert len(world.rows("notification")) == 1


# -- replies -----------------------------------------------------------------------------------------------------------


async def bring(world: Any, text: str = "help", **fields: Any) -> int:
    (part,) = world.peer.parts(text)
    status: int = await world.peer.deliver(replace(part, **fields))
    return status


async def rebound(world: Any) -> None:
    binds = world.smsc.client.binds
    world.peer.server.receiver("kairos").abort("a broken line")
    async with asyncio.timeout(60):
        while world.smsc.client.binds == binds or not world.peer.server.sessions("kairos"):
            await asyncio.sleep(0.01)


def replies(world: Any) -> int:
    return sum(n for name, n in world.loop.engine.statistics.counts.items() if name.startswith("replies."))


async def test_a_reply_counts_as_often_as_it_was_said(world: Any) -> None:
    assert [await bring(world), await bring(world)] == [0, 0]
    assert replies(world) == 2


async def test_a_reply_that_comes_again_after_a_lost_answer_counts_once(world: Any) -> None:
    assert await bring(world) == 0
    await rebound(world)
    assert [await bring(world), await bring(world)] == [0, 0]
    assert replies(world) == 2  # the second of these is another


async def test_a_reply_that_the_smsc_names_counts_once(world: Any) -> None:
    world.smsc.identity_tlv = NAME
    for name in (b"a", b"a", b"b"):
        assert await bring(world, tlvs=((NAME, name),)) == 0
    assert replies(world) == 2


def restart(world: Any, later: int = 0) -> None:
    """As a new process finds it; the one before wrote its last so much later (ms)."""
    world.bench.now += later
    told = world.store.latest_answered(100)
    world.smsc.first._known.clear()
    world.smsc.remember(told, world.bench.now)
    world.store.commit(Batch(answered=[end_of_a_run(world.bench.now)]))


async def test_a_reply_is_known_again_after_a_restart(world: Any) -> None:
    assert await bring(world) == 0
    restart(world)
    assert [await bring(world), await bring(world)] == [0, 0]
    assert replies(world) == 2


async def test_what_was_answered_long_before_the_end_was_seen(world: Any) -> None:
    assert await bring(world) == 0
    restart(world, 60_000)
    assert await bring(world) == 0
    assert replies(world) == 2


async def test_a_reply_is_known_again_though_it_does_not_come_before_the_run_after_the_next(world: Any) -> None:
    assert await bring(world) == 0
    restart(world)
    restart(world, 60_000)
    assert [await bring(world), await bring(world)] == [0, 0]
    assert replies(world) == 2


async def test_a_reply_that_came_again_in_the_next_run_is_a_new_one_in_the_run_after_it(world: Any) -> None:
    assert await bring(world) == 0
    restart(world)
    assert await bring(world) == 0
    await world.until(lambda: len([one for one in world.store.latest_answered(10) if one.identity]) == 2)
    restart(world, 60_000)
    assert await bring(world) == 0
    assert replies(world) == 2


async def test_a_reply_that_came_again_just_before_the_end_may_come_once_more(world: Any) -> None:
    assert await bring(world) == 0
    for _ in range(3):
        restart(world)
        world.bench.now += 1_500
        assert await bring(world) == 0
        await world.until(lambda: world.loop.waiting == 0 and not world.loop.engine.flying)
    assert replies(world) == 1


async def test_what_looks_like_a_repeat_and_is_a_yes_to_something_open_counts(world: Any, bind: Any) -> None:
    assert await bring(world, "1") == 0  # there is no offer yet
    esme = await bind(world, "ocs")
    await esme.submit("Your data session cost T$0.35. Balance T$12.40, data 118.5 MB. Ref 8f3a23")
    await world.until(lambda: world.bench.state().offers)
    await rebound(world)
    assert await bring(world, "1") == 0
    assert world.loop.engine.statistics.counts["replies.accept"] == 1
    await rebound(world)
    assert await bring(world, "1") == 0  # and its repeat does not
    assert world.loop.engine.statistics.counts["replies.accept"] == 1
    assert world.loop.engine.statistics.counts["duplicates"] == 1


async def test_a_yes_that_takes_nothing_is_told_so_though_it_may_be_a_repeat(world: Any) -> None:
    assert await bring(world, "7") == 0
    await world.until(lambda: len(world.peer.texts) == 1)
    await rebound(world)
    assert await bring(world, "7") == 0
    await world.until(lambda: len(world.peer.texts) == 2)
    assert world.peer.texts[0] == world.peer.texts[1]
