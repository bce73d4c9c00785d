"""query_sm, cancel_sm, replace_sm: under the ids that an account was given, wherever the message is now."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from kairos.smpp import CancelSm, MessageState, QuerySm, ReplaceSm, Status, SubmitSm, split

NOTIFICATION = "Your call cost T$0.35. Balance T$12.40. Ref 8f3a21"
PART = SubmitSm(source_addr="5000", destination_addr="12025550123")
KINDS = [QuerySm, CancelSm, ReplaceSm]


async def ask(esme: Any, kind: Any, message_id: str) -> Any:
    return await esme.client.request(kind(message_id=message_id, source_addr="5000"), 10)


async def sent(world: Any, esme: Any) -> str:
    """A notification that the SMSC has under `1`; our id."""
    ours: str = (await esme.submit(NOTIFICATION)).message_id
    await world.until(lambda: world.rows("notification")[0].peer_id == "1")
    return ours


async def waiting(world: Any, esme: Any) -> str:
    """A notification that waits, because the SMSC is full; our id."""
    world.peer.answers.extend([Status.ESME_RMSGQFUL] * 1000)
    ours: str = (await esme.submit(NOTIFICATION)).message_id
    await world.until(lambda: world.peer.submitted)
    return ours


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("forwarded", [True, False])
async def test_what_the_smsc_has_is_asked_of_the_smsc(start: Any, bind: Any, kind: Any, forwarded: bool) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    id_ = (await esme.submit("hello")).message_id if forwarded else await sent(world, esme)
    answer = await ask(esme, kind, id_)
    assert answer.ok
    (asked,) = world.peer.asked
    assert (asked.message_id, asked.source_addr) == ("1", "5000")
    if kind is QuerySm:
        assert (answer.message_id, answer.message_state, answer.final_date) == (id_, 2, "260304120100000+")


@pytest.mark.parametrize("kind", KINDS)
async def test_after_a_restart_too(start: Any, bind: Any, kind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    id_ = (await esme.submit("hello")).message_id
    world.smsc._forwarded.clear()
    assert (await ask(esme, kind, id_)).ok


async def test_each_part_of_a_message_that_waits_is_known(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.peer.answers.extend([Status.ESME_RMSGQFUL] * 1000)
    cut = split("z" * 300, 7)
    parts = [replace(PART, esm_class=one.esm_class, short_message=one.short_message) for one in cut]
    ids = [(await esme.client.request(part, 10)).message_id for part in parts]
    await world.until(lambda: world.peer.submitted)
    assert [(await ask(esme, QuerySm, id_)).message_state for id_ in ids] == [MessageState.ENROUTE] * 2


async def test_who_asks_much_at_once_holds_up_nobody(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    at_once = [0, 0]
    find = world.store.notification

    def slowly(key: str) -> Any:
        at_once[0] += 1
        at_once[1] = max(at_once)
        time.sleep(0.01)
        at_once[0] -= 1
        return find(key)

    world.store.notification = slowly
    answers = await asyncio.gather(*(ask(esme, QuerySm, f"{number}") for number in range(10)))
    assert {answer.status for answer in answers} == {Status.ESME_RINVMSGID}
    assert at_once == [0, 1]


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_asks_about_anothers_messages(start: Any, bind: Any, kind: Any) -> None:
    world = await start()
    esme, other = await bind(world, "ocs"), await bind(world, "info")
    ids = [await sent(world, esme), (await esme.submit("hello")).message_id, "4711"]
    assert {(await ask(other, kind, id_)).status for id_ in ids} == {Status.ESME_RINVMSGID}
    assert world.peer.asked == []


async def test_what_waits_is_on_its_way_until_it_is_cancelled(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    ours = await waiting(world, esme)
    answer = await ask(esme, QuerySm, ours)
    assert (answer.message_id, answer.message_state) == (ours, 1)
    assert (await ask(esme, ReplaceSm, ours)).status == Status.ESME_RREPLACEFAIL
    while not (await ask(esme, CancelSm, ours)).ok:  # an attempt was under way
        pass
    tried = len(world.peer.submitted)
    assert world.rows("notification")[0].status == "dropped"
    world.peer.answers.clear()
    await esme.submit("another")
    await world.until(lambda: len(world.peer.submitted) == tried + 1)
    assert world.peer.texts[-1] == "another"
    assert (await ask(esme, QuerySm, ours)).message_state == 5
    assert (await ask(esme, CancelSm, ours)).status == Status.ESME_RCANCELFAIL
    assert world.peer.asked == []


async def test_what_may_have_gone_out_is_not_cancelled(start: Any, bind: Any) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    world.peer.answers.extend([-1] * 10)  # no answers come
    ours = (await esme.submit(NOTIFICATION)).message_id
    await world.until(lambda: world.peer.submitted)
    assert (await ask(esme, CancelSm, ours)).status == Status.ESME_RCANCELFAIL


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (QuerySm, Status.ESME_RQUERYFAIL),
        (CancelSm, Status.ESME_RCANCELFAIL),
        (ReplaceSm, Status.ESME_RREPLACEFAIL),
    ],
)
async def test_where_there_is_no_answer_it_says_so(start: Any, bind: Any, kind: Any, status: int) -> None:
    world = await start()
    esme = await bind(world, "ocs")
    ours = await sent(world, esme)
    assert (await ask(esme, kind, "")).status == status
    await world.smsc.client.close()
    assert (await ask(esme, kind, ours)).status == status
