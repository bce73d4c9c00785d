"""Offers, replies and a playbook's words, to answer with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kairos.domain.inputs import Reply
from kairos.domain.money import Currency
from kairos.domain.subscriber import SCHEMA, OpenOffer, State
from kairos.playbook.playbook import Playbook
from kairos.playbook.policy import ContactPolicy
from kairos.playbook.replies import ReplyWords
from kairos.playbook.vocabulary import Attribute, Vocabulary
from kairos.respond import Replies, compile_replies

MSISDN = "12025550123"
HOUR = 3_600_000
NOW = 1_772_625_600_000

MakeOffer = Callable[..., OpenOffer]
MakeState = Callable[..., State]
MakeReply = Callable[..., Reply]

WORDS = ReplyWords(
    short_code="5000",
    accept={"en": ("YES", "OK", "I want it"), "fr": ("OUI", "d'accord", "Intéressé"), "ar": ("نعم", "موافق")},
    decline={"en": ("NO", "no thanks"), "fr": ("NON",), "ar": ("لا",)},
    stop={"en": ("STOP", "UNSUBSCRIBE"), "fr": ("ARRÊT",), "ar": ("إيقاف",)},
    help={"en": ("HELP", "INFO"), "fr": ("AIDE",)},
    withdraws=("marketing_consent",),
    other_services={"BAL": "info", "NEWS": "press"},
)


@pytest.fixture(scope="session")
def answered() -> Playbook:
    vocabulary = Vocabulary(
        {"recharge": {"amount": "money", "way": "text"}, "data_session": {"bytes": "number"}},
        {},
        {"plan": Attribute("plan", "text"), "birthday": Attribute("birthday", "date")},
    )
    return Playbook(
        name="answered",
        revision="r1",
        texts={},
        currency=Currency("XTS", 2, "T$"),
        languages=("en", "fr", "ar"),
        time_zone="UTC",
        vocabulary=vocabulary,
        actions=(),
        messages={},
        policy=ContactPolicy(),
        replies={"5000": WORDS, "5001": ReplyWords("5001", {"en": ("GO",)}, {}, {})},
    )


@pytest.fixture(scope="session")
def replies(answered: Playbook) -> Replies:
    return compile_replies(answered)


@pytest.fixture(scope="session")
def make_offer() -> MakeOffer:
    def make(number: int = 1, status: str = "open", **changes: Any) -> OpenOffer:
        known: dict[str, Any] = {
            "number": number,
            "key": f"key-{number}",
            "decision": number,
            "action": f"action-{number}",
            "variant": "small",
            "kind": "sell",
            "title": f"Offer {number}",
            "price": 1000,
            "product": "DATA500_1D",
            "charges": True,
            "language": "en",
            "short_code": "5000",
            "channel": "sms",
            "made": NOW - HOUR + number,
            "expires": NOW + HOUR,
            "after_decline": 24 * HOUR,
            "status": status,
        }
        return OpenOffer(**(known | changes))

    return make


@pytest.fixture(scope="session")
def make_state() -> MakeState:
    def make(*offers: OpenOffer) -> State:
        return State(SCHEMA, 1, MSISDN, "", 0, offers=list(offers))

    return make


@pytest.fixture(scope="session")
def make_reply() -> MakeReply:
    def make(text: str, short_code: str = "5000") -> Reply:
        return Reply("r1", MSISDN, short_code, text, NOW)

    return make
