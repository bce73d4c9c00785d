"""The store: how long it keeps what, and whom it has forgotten."""

from __future__ import annotations

import os
from secrets import token_hex

from kairos.engine.suppression import Suppression
from kairos.ports import Store
from kairos.settings import Retention as Kept
from kairos.settings import milliseconds


def kept_for(kept: Kept) -> dict[str, int]:
    """How long what is kept, in ms; 0 is for ever."""
    ages = {
        "decisions": kept.decisions,
        "outbox": kept.outbox,
        "responses": kept.responses,
        "answered": kept.answered,
        "dead_letters": kept.dead_letters,
        "purchases": kept.purchases,
        "ended_subscriptions": kept.ended_subscriptions,
        "switches": kept.switches,
        "passages": kept.passages,
        "communications": kept.passages,
    }
    return {what: milliseconds(age) for what, age in ages.items()}


def suppression_of(store: Store) -> Suppression:
    """Who said STOP and was forgotten. The key is a secret of the environment's, else one that the store keeps."""
    key = os.environ.get("KAIROS_SUPPRESSION_KEY") or store.keep("suppression_key", token_hex(32))
    return Suppression(key.encode(), store.suppressed())
