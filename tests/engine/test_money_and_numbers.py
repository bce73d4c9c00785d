"""Whatever is bought, answered, reversed and told of numbers, in any order: nobody pays for another, names agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.domain.inputs import CHANGES, Change, Fulfilment, Reversal
from kairos.domain.message import Order, Outgoing, Text
from kairos.domain.subscriber import Bucket, State
from kairos.engine.work import Input, Work, decode_state
from kairos.fulfil import FORWARD, ONE_CALL, takes

NUMBERS = ("12025550123", "12025550124")
DAY = 86_400_000
NUMBER, LATE = st.sampled_from(NUMBERS), st.integers(0, 4)
ENDS = ("done", "done", "refused", "insufficient_funds", "unanswered")
CALLS = st.tuples(st.just("calls"), NUMBER)
TAKES = st.tuples(st.just("replies"), NUMBER, st.sampled_from(["1", "2", "yes"]), LATE)
ANSWERED = st.tuples(st.just("answered"), st.integers(0, 1), st.sampled_from(ENDS))
CHANGED = st.tuples(
    st.just("changed"), st.sampled_from(CHANGES), NUMBER, NUMBER, st.sampled_from(["", "A-1", "A-2"]), LATE
)
REVERSED = st.tuples(
    st.just("reversed"),
    st.integers(0, 5),
    st.sampled_from(["reversed", "done", "refused"]),
    st.sampled_from([None, 100, 4500]),
)
OTHERS = (st.tuples(st.just("consents"), NUMBER), st.tuples(st.just("waits"), st.integers(1, 3)), CALLS, REVERSED)
STEPS = st.one_of(TAKES, TAKES, ANSWERED, ANSWERED, ANSWERED, CHANGED, *OTHERS)


class Town:
    """Two numbers, a charging system that answers when it is told to, and the operator's own records."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.asked: list[tuple[Outgoing, Order]] = []

    def do(self, what: str, *how: Any) -> None:
        source = getattr(self, what)(*how)
        if source:
            self.check(self.bench.apply(source))

    def consents(self, msisdn: str) -> Input:
        known = {"plan": "prepaid", "language": "en", "marketing_consent": True}
        event: Input = self.bench.event("profile", msisdn=msisdn, **known)
        return event

    def calls(self, msisdn: str) -> Input:
        balances = [Bucket("main", 5000), Bucket("data", 1000, self.bench.now + DAY)]
        event: Input = self.bench.event(
            "end_of_call", notification="x", msisdn=msisdn, service="v", cost=1, balances=balances
        )
        return event

    def replies(self, msisdn: str, text: str, late: int) -> Input:
        reply: Input = msgspec.structs.replace(
            self.bench.reply(text, msisdn=msisdn), happened=self.bench.now - 1000 * late
        )
        return reply

    def answered(self, place: int, end: str) -> Input | None:
        if not self.asked:
            return None
        row, order = self.asked.pop(place % len(self.asked))
        status, reason = ("refused", end) if end == "insufficient_funds" else (end, "")
        return Fulfilment(row.id, row.subscriber, order.key, status, self.bench.now, reason)

    def changed(self, kind: str, msisdn: str, number: str, account: str, late: int) -> Input | None:
        if kind == "number_changed" and msisdn == number:
            return None
        self.bench.serial += 1
        named = {"account": account} if account else {}
        happened = self.bench.now - 1000 * late
        return Change(
            f"crm/{self.bench.serial}", kind, msisdn, happened, named, number if kind == "number_changed" else ""
        )

    def reversed(self, place: int, status: str, amount: int | None) -> Input | None:
        known = self.bench.store.purchases("", 50)
        if not known:
            return None
        one = known[place % len(known)]
        return Reversal(one.key, one.subscriber, status, self.bench.now, "", amount if status == "reversed" else None)

    def waits(self, seconds: int) -> None:
        self.bench.now += 1000 * seconds

    def state(self, id_: int) -> State:
        return decode_state(self.bench.store.load([], [id_]).states[id_])

    def check(self, work: Work) -> None:
        for row in work.batch.outgoing:
            if row.channel == "ocs":
                order = msgspec.msgpack.decode(row.payload, type=Order)
                self.asked.append((row, order))
                if takes(order.step):
                    assert order.msisdn == self.state(row.subscriber).msisdn != ""
            elif row.channel == "sms":
                text = msgspec.msgpack.decode(row.payload, type=Text)
                assert text.destination == self.state(row.subscriber).msisdn

    def check_names(self) -> None:
        for name in (*NUMBERS, "account:A-1", "account:A-2"):
            holder = self.bench.store.load([name], []).subscribers.get(name, 0)
            if holder and name in NUMBERS:
                assert self.state(holder).msisdn == name
            elif holder:
                known = self.state(holder).known
                assert self.state(holder).msisdn
                assert known
                assert f"account:{known.names['account'].value}" == name
        assert all(0 <= one.kept <= one.price for one in self.bench.store.purchases("", 50))


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(STEPS, min_size=12, max_size=40), one_call=st.booleans())
def test_nobody_pays_or_is_told_for_another(
    bench_with: Callable[..., Any], steps: list[tuple[Any, ...]], one_call: bool
) -> None:
    town = Town(bench_with(steps=ONE_CALL if one_call else FORWARD))
    offered = [(what, number) for what in ("consents", "calls") for number in NUMBERS]
    for what, *how in (*offered, *steps):
        town.do(what, *how)
    town.check_names()
