"""Promises: the rule each was made with outlives its playbook, and redeems once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kairos.domain.subscriber import OpenOffer, State
from kairos.playbook.playbook import Playbook
from kairos.playbook.vocabulary import Attribute, Vocabulary
from kairos.respond import Replies, accept, compile_replies, redeemed
from kairos.rules import Constant, from_text, parse, to_text

NOW = 1_772_625_600_000
HOUR = 3_600_000
MakeOffer = Callable[..., OpenOffer]
MakeState = Callable[..., State]

VOCABULARY = Vocabulary(
    {"recharge": {"amount": "money", "bonus": "money", "x": "number", "text": "text", "b": "boolean", "at": "time"}},
    {},
    {"birthday": Attribute("birthday", "date")},
)
CONSTANTS = {"price": Constant("money", 1050), "size": Constant("text", "it's \\ big"), "loss": Constant("money", -250)}

RULES = [
    "TRUE",
    "recharge.amount >= price",
    "recharge.amount >= 10.50 AND recharge.text = size",
    "recharge.amount IN (5, 10, price)",
    "recharge.amount NOT IN (5, loss)",
    "recharge.amount - recharge.bonus > loss",
    "recharge.amount * 1.5 > price",
    "recharge.amount / price > 2",
    "recharge.amount / recharge.bonus > 0.5",
    "coalesce(recharge.bonus, 0) + recharge.amount > price",
    "least(recharge.amount, price) > 3",
    "abs(recharge.amount - price) < 1",
    "recharge.at > TIMESTAMP '2026-01-02 10:00:00'",
    "recharge.at < TIMESTAMP '1969-01-02 10:00:00'",
    "date_of(local) IN (DATE '2026-01-01', DATE '1960-01-01')",
    "days_since(recharge.at) < 1 AND hour_of_day() BETWEEN 8 AND 20",
    "is_weekend() OR day_of_week() = 5",
    "recharge.x * 2.5 > 1e9 OR NOT recharge.b",
    "recharge.x NOT IN (1e300, 1e-7, -3)",
    "-recharge.x > 2 AND recharge.x % 3 = 1",
    "recharge.x IS NULL OR recharge.b IS NOT NULL",
    "recharge.text LIKE 'a%''_' AND recharge.text NOT LIKE '%money_1%'",
    "starts_with(recharge.text, 'date_7') AND NOT contains(recharge.text, size)",
    "days_until(birthday) = 0",
]


@pytest.mark.parametrize("rule", RULES)
def test_a_stored_rule_is_read_as_it_was(rule: str) -> None:
    condition = parse(rule, VOCABULARY.names, constants=CONSTANTS)
    assert from_text(to_text(condition), VOCABULARY.names) == condition  # without the variant's constants


def test_no_rule_asks_for_the_event_alone() -> None:
    assert from_text("", VOCABULARY.names) == parse("TRUE", VOCABULARY.names)


@pytest.fixture
def promise(answered: Playbook, make_offer: MakeOffer) -> Callable[..., OpenOffer]:
    def make(rule: str = "recharge.amount >= price", **changes: Any) -> OpenOffer:
        condition = parse(rule, answered.vocabulary.names, constants=CONSTANTS)
        known = {
            "number": 1,
            "kind": "promise",
            "redeemed_by": "recharge",
            "redeemed_when": to_text(condition),
        }
        return make_offer(**(known | changes))

    return make


def row_of(playbook: Playbook, **values: Any) -> tuple[Any, ...]:
    known = {"now": NOW, "local": NOW} | {name.replace("__", "."): value for name, value in values.items()}
    return tuple(known.get(column) for column in playbook.vocabulary.columns)


@pytest.mark.parametrize(("amount", "redeems"), [(1050, True), (1051, True), (1049, False), (0, False), (None, False)])
def test_the_rule_must_be_true(
    answered: Playbook,
    replies: Replies,
    make_state: MakeState,
    promise: Callable[..., OpenOffer],
    amount: int | None,
    redeems: bool,
) -> None:
    state = make_state(promise())
    found = redeemed(replies, state, "recharge", row_of(answered, recharge__amount=amount))
    assert found == (state.offers if redeems else [])


@pytest.mark.parametrize(
    ("kind", "changes", "happened", "redeems"),
    [
        ("recharge", {}, None, True),
        ("recharge", {}, NOW - 1, True),
        ("data_session", {}, None, False),
        ("recharge", {"redeemed_by": ""}, None, False),
        ("recharge", {"status": "accepted"}, None, False),
        ("recharge", {"status": "expired"}, None, False),
        ("recharge", {"expires": NOW}, None, False),
        ("recharge", {"expires": NOW}, NOW - 1, True),  # announced late, but it happened in time
        ("recharge", {"made": NOW}, NOW, True),
        ("recharge", {"made": NOW}, NOW - 1, False),  # it happened before anything was promised
        ("recharge", {"made": NOW + HOUR, "expires": NOW + 2 * HOUR}, NOW - 1, True),  # the clock went back since
        ("recharge", {"redeemed_when": ""}, None, True),
    ],
)
def test_which_promises_an_event_redeems(
    answered: Playbook,
    replies: Replies,
    make_state: MakeState,
    promise: Callable[..., OpenOffer],
    kind: str,
    changes: dict[str, Any],
    happened: int | None,
    redeems: bool,
) -> None:
    state = make_state(promise(**changes))
    row = row_of(answered, recharge__amount=2000)
    assert bool(redeemed(replies, state, kind, row, happened)) is redeems


def test_each_is_redeemed_once(
    answered: Playbook, replies: Replies, make_state: MakeState, promise: Callable[..., OpenOffer]
) -> None:
    state = make_state(promise(), promise("recharge.way = 'voucher'", number=2), promise("TRUE", number=3))
    row = row_of(answered, recharge__amount=5000)
    found = redeemed(replies, state, "recharge", row)
    assert [offer.number for offer in found] == [1, 3]
    assert all(accept(state, offer.key, NOW) for offer in found)
    assert redeemed(replies, state, "recharge", row) == []


def test_a_rule_that_a_new_vocabulary_cannot_read_redeems_nothing_and_is_reported(
    answered: Playbook, make_state: MakeState, promise: Callable[..., OpenOffer]
) -> None:
    poorer = replace(answered, vocabulary=Vocabulary({"recharge": {"way": "text"}}))
    compiled = compile_replies(poorer)
    state = make_state(promise())
    assert redeemed(compiled, state, "recharge", row_of(poorer, recharge__way="cash")) == []
    assert list(compiled.unreadable) == ["recharge.amount >= money_1050"]
    assert "recharge.amount" in compiled.unreadable["recharge.amount >= money_1050"]
    assert [offer.status for offer in state.offers] == ["open"]
