"""Respond: what an answer means, and what becomes of open offers."""

from kairos.respond.confirmation import CONFIRM_WITHIN, LEAST_GAP, Weight, prove, waits, weigh
from kairos.respond.numbers import ANSWERABLE_FOR, HIGHEST, forget, take_number
from kairos.respond.offers import (
    TAKEABLE,
    TRANSITIONS,
    accept,
    answered,
    cool_down,
    decline,
    expire,
    find,
    is_open,
    open_offer,
    set_status,
    status_at,
    stop,
    withdraw,
    withdraw_all,
)
from kairos.respond.redemption import redeemed
from kairos.respond.replies import Replies, compile_replies
from kairos.respond.understand import ANSWER, Meaning, Understood, understand

__all__ = [
    "ANSWER",
    "ANSWERABLE_FOR",
    "CONFIRM_WITHIN",
    "HIGHEST",
    "LEAST_GAP",
    "TAKEABLE",
    "TRANSITIONS",
    "Meaning",
    "Replies",
    "Understood",
    "Weight",
    "accept",
    "answered",
    "compile_replies",
    "cool_down",
    "decline",
    "expire",
    "find",
    "forget",
    "is_open",
    "open_offer",
    "prove",
    "redeemed",
    "set_status",
    "status_at",
    "stop",
    "take_number",
    "understand",
    "waits",
    "weigh",
    "withdraw",
    "withdraw_all",
]
