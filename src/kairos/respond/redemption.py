"""Promises: which of them an event redeems, by the rule that each was made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kairos.domain.subscriber import OpenOffer, State
from kairos.errors import RuleError
from kairos.respond.replies import Holds, Replies
from kairos.rules import compile_true, from_text

_KEPT: Final = 10_000  # compiled rules; beyond that all are compiled anew


def redeemed(
    replies: Replies, state: State, kind: str, row: Sequence[Any], happened: int | None = None
) -> list[OpenOffer]:
    """The open promises that an event of this kind redeems: their rule is TRUE on its row (in vocabulary order).

    An event counts from when the promise was made until it expires, by when it `happened` (None: the row's `now`).
    Where the clock went back behind the promise, it cannot say which was first, and what comes now counts.
    `accept` each of them: then none is redeemed twice.
    """
    waiting = [offer for offer in state.offers if offer.redeemed_by == kind and offer.status == "open"]
    if not waiting:
        return []
    now = row[replies.vocabulary.columns.index("now")]
    at = now if happened is None else happened
    return [
        o for o in waiting if (o.made <= at or now < o.made) and at < o.expires and _rule(replies, o.redeemed_when)(row)
    ]


def _rule(replies: Replies, text: str) -> Holds:
    rule = replies.rules.get(text)
    if rule is None:
        if len(replies.rules) >= _KEPT:
            replies.rules.clear()
        rule = replies.rules[text] = _compile(replies, text)
    return rule


def _compile(replies: Replies, text: str) -> Holds:
    try:
        return compile_true(from_text(text, replies.vocabulary.names), replies.vocabulary.columns)
    except RuleError as error:
        replies.unreadable[text] = str(error)
        return lambda _row: False
