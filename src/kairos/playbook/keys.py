"""Every key a playbook's files may have, by what they stand in. docs/playbook.md explains each; a test compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "playbook": ("name", "currency", "languages", "time_zone", "seed", "tax"),
    "currency": ("code", "digits", "sign", "rounding"),
    "vocabulary": ("events", "wallets", "attributes", "counters"),
    "wallet": ("unit", "digits", "means"),
    "attribute": ("type", "means", "default", "from", "total", "soonest_expiry", "owed"),
    "counter": ("sum", "count", "max", "min", "over", "step", "where", "means"),
    "action": (
        "offer",
        "action",
        "kind",
        "title",
        "issue",
        "weight",
        "product",
        "variants",
        "answers",
        "eligible_when",
        "relevant_when",
        "suitable_when",
        "treatments",
        "accept_within",
        "after_decline",
        "fulfil",
        "redeemed_by",
        "send_within",
        "only_on",
        "not_with",
        "excludes",
        "repurchase",
        "confirm",
        "tax",
    ),
    "variant": ("price", "value", "top_up", "size", "validity"),  # and any further field of its own
    "treatment": ("channel", "message"),
    "fulfil": ("charge", "provision", "payer"),
    "payer": ("attribute",),
    "contact_policy": (
        "contact_only_when",
        "pause_while",
        "quiet_hours",
        "freeze",
        "limits",
        "holdout",
        "after_sim_swap",
        "confirm_above",
    ),
    "freeze": ("from", "to", "why", "zone", "channels", "issues", "except_care"),
    "seeds": ("testers",),
    "tester": ("name", "msisdn", "offer"),
    "limit": ("at_most", "per", "riding", "channel", "offer", "action", "issue", "each", "shared", "name"),
    "replies": ("accept", "decline", "stop", "help", "withdraws", "other_services"),
    "test": ("test", "given", "when", "then", "at", "riding"),
    "then": ("offer", "variant", "because"),
}
