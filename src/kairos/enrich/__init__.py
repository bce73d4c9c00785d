"""Enrich: events fold into a subscriber's state, and a state becomes the row of values that rules read.

A `Plan` is compiled once per vocabulary; everything else runs for every event, and is written to be quick.

Repeats, lateness and order, in one place:

- An event whose identity is remembered (48 hours, the latest 32 of a subscriber) changes nothing.
- An attribute keeps the value of the event that *happened* last, whatever the order of arrival; of two that happened in
  the same millisecond the later arrival counts. Balances likewise, wallet by wallet.
- A counter counts an event in the bucket in which it happened, so the order of arrival does not matter, and an event
  that is too late for the window is not counted.
"""

from kairos.enrich.consents import prove
from kairos.enrich.counters import counter_buckets, put_buckets
from kairos.enrich.habits import answered
from kairos.enrich.identities import IDENTITIES_KEPT, IDENTITIES_KEPT_FOR, Remembered, knows, remember
from kairos.enrich.migrate import migrate
from kairos.enrich.plan import Plan, compile_plan, fold, new_state, row, set_attribute
from kairos.enrich.products import bought, bought_elsewhere, given_back, returned_elsewhere
from kairos.enrich.prune import prune

__all__ = [
    "IDENTITIES_KEPT",
    "IDENTITIES_KEPT_FOR",
    "Plan",
    "Remembered",
    "answered",
    "bought",
    "bought_elsewhere",
    "compile_plan",
    "counter_buckets",
    "fold",
    "given_back",
    "knows",
    "migrate",
    "new_state",
    "prove",
    "prune",
    "put_buckets",
    "remember",
    "returned_elsewhere",
    "row",
    "set_attribute",
]
