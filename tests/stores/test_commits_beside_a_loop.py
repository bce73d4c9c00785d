"""What every Aside must do (`kairos.ports.Aside`), asked of each that kairos ships: commits that follow one another,
and reads that hold up nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kairos.adapters.memory import MemoryStore
from kairos.adapters.sqlite.process import SqliteProcess
from kairos.domain.message import Outgoing
from kairos.engine.aside import InThreads
from kairos.errors import FallenError, StoreError
from kairos.ports import Aside, Batch, Store


def aside_of(store: Store) -> Aside:
    return store.aside if isinstance(store, SqliteProcess) else InThreads(store)


def deciding(id_: int) -> Batch:
    return Batch(states={1: b"%d" % id_}, decisions=[(id_, 1, 1000, b"record %d" % id_)])


async def committed(aside: Aside, batches: Sequence[tuple[Batch, int]]) -> list[str]:
    """What came of each; all were asked for at once."""
    ends: list[str] = []

    async def one(batch: Batch, chain: int) -> str:
        try:
            await aside.commit(batch, chain)
        except StoreError as error:
            return type(error).__name__
        finally:
            ends.append(str(batch.decisions[0][0]))
        return "kept"

    known = await asyncio.gather(*(one(*each) for each in batches))
    assert ends == [str(batch.decisions[0][0]) for batch, _ in batches]
    return known


async def test_they_are_kept_in_their_order(store: Store) -> None:
    aside = aside_of(store)
    assert await committed(aside, [(deciding(n), 0) for n in range(1, 30)]) == ["kept"] * 29
    assert store.load([], [1]).states == {1: b"29"}
    assert sorted(store.decisions(range(40))) == list(range(1, 30))
    await aside.close()


async def test_nobody_overtakes_those_who_came_first(store: Store) -> None:
    """Some come before there is a way to the store, some while it opens, some after."""
    aside = aside_of(store)
    ends: list[int] = []

    async def one(id_: int) -> None:
        await aside.commit(deciding(id_), 0)
        ends.append(id_)

    coming = []
    for n in range(1, 60):
        coming.append(asyncio.create_task(one(n)))
        await asyncio.sleep(0)
    await asyncio.gather(*coming)
    assert ends == list(range(1, 60))
    await aside.close()


@pytest.mark.parametrize("bad", [1, 2, 5, 8])
async def test_where_one_fails_those_after_it_are_refused_and_those_before_it_kept(store: Store, bad: int) -> None:
    aside = aside_of(store)
    store.commit(deciding(100))
    batches = [deciding(100 if n == bad else n) for n in range(1, 9)]
    told = await committed(aside, [(batch, 0) for batch in batches])
    assert told == ["kept"] * (bad - 1) + ["StoreError"] + ["FallenError"] * (8 - bad)
    assert sorted(store.decisions(range(101))) == [*range(1, bad), 100]
    assert await committed(aside, [(deciding(50), 0)]) == [FallenError.__name__]
    assert await committed(aside, [(deciding(51), 1), (deciding(52), 1)]) == ["kept", "kept"]
    assert sorted(store.decisions(range(101))) == [*range(1, bad), 51, 52, 100]
    assert store.load([], [1]).states == {1: b"52"}
    await aside.close()


async def test_two_bad_ones_in_two_chains_are_two(store: Store) -> None:
    aside = aside_of(store)
    store.commit(deciding(100))
    assert await committed(aside, [(deciding(100), 0), (deciding(1), 0)]) == ["StoreError", "FallenError"]
    assert await committed(aside, [(deciding(100), 1), (deciding(2), 1)]) == ["StoreError", "FallenError"]
    assert await committed(aside, [(deciding(3), 2)]) == ["kept"]
    await aside.close()


async def test_reads_are_answered_in_the_order_in_which_they_are_asked(store: Store) -> None:
    aside = aside_of(store)
    store.commit(Batch(outgoing=[Outgoing(n, "k", 0, "sms", b"x" * n, 0, peer_id=f"p{n}") for n in range(1, 40)]))
    answered: list[int] = []

    async def one(id_: int) -> None:
        if id_ % 2:
            (row,) = await aside.read(Store.outgoing, [id_])
        else:
            found = await aside.read(Store.outgoing_by_peer_id, peer_id=f"p{id_}")
            assert found is not None
            row = found
        answered.append(row.id)

    await asyncio.gather(*(one(n) for n in range(1, 40)))
    assert answered == list(range(1, 40))
    await aside.close()


async def test_who_gives_up_a_first_call_takes_no_door_from_the_others(store: Store) -> None:
    aside = aside_of(store)
    first = [
        asyncio.create_task(aside.read(Store.purchase, "k")),
        asyncio.create_task(aside.load([], [1])),
    ]
    await asyncio.sleep(0)
    for task in first:
        task.cancel()
    await asyncio.gather(*first, return_exceptions=True)
    assert await aside.read(Store.purchase, "k") is None
    assert (await aside.load([], [1])).states == {}
    await aside.close()


async def test_a_read_that_cannot_be_done_raises_what_the_stores_own_would(store: Store) -> None:
    aside = aside_of(store)
    await aside.load([], [])
    store.close()
    if not isinstance(store, MemoryStore):  # which has nothing to close
        with pytest.raises(StoreError):
            await aside.read(Store.purchase, "k")
    await aside.close()
