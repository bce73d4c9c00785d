"""Forgetting what can no longer matter, so that a state stays about a kilobyte."""

from __future__ import annotations

from collections.abc import Collection

from kairos.domain.subscriber import State
from kairos.enrich.counters import prune_counters
from kairos.enrich.plan import Plan
from kairos.enrich.products import prune_products


def prune(
    plan: Plan,
    state: State,
    now: int,
    contacts_for: int,
    purchases_for: int = 0,
    unanswered: Collection[int] = (),
) -> None:
    """Drop from the state what no rule and no limit can ask for after `now` (all in ms).

    - contacts older than `contacts_for`, the longest window of any limit, but for the `unanswered` (by decision);
    - products that have ended, and purchases older than `purchases_for` (-1: none);
    - cool-downs that are over; balance buckets that are empty or expired; counter buckets that left their window.
    """
    if state.contacts and state.contacts[0].at <= now - contacts_for:
        since = now - contacts_for
        state.contacts = [one for one in state.contacts if one.at > since or one.decision in unanswered]
    if state.cooldowns:
        state.cooldowns = [c for c in state.cooldowns if c.until < 0 or c.until > now]
    if state.products:
        prune_products(state, now, purchases_for)
    for bucket in state.buckets:
        if not bucket.amount or 0 < bucket.expires <= now:
            state.buckets = [b for b in state.buckets if b.amount and not 0 < b.expires <= now]
            break
    prune_counters(state, plan.first_buckets(now), plan.totals)
