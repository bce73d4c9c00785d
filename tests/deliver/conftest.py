"""A playbook that only speaks: what a message can be made of, in a GSM-7 and in a UCS-2 language."""

from __future__ import annotations

import pytest

from kairos.domain.money import Currency
from kairos.playbook.action import Action, Variant
from kairos.playbook.playbook import Playbook
from kairos.playbook.policy import ContactPolicy
from kairos.playbook.vocabulary import Attribute, Vocabulary

MESSAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "booster_line": {
        "en": (
            "{title} for {price} until {expires}: reply {number} to {short_code}. You have {data_left_mb} MB",
            "{title} {price}: reply {number}",
            "{title}: {number}",
        ),
        "fr": ("{title} pour {price} jusqu'au {expires}: répondez {number}", "{title}: {number}"),
        "ar": ("{title} بسعر {price}: أرسل {number}",),
    },
    "care": {"en": ("Calls cost half after 8 pm.",)},
    "fickle": {"en": ("Dear {name}, hello.",), "fr": ("Votre appli {app} et {name}",)},
}


@pytest.fixture(scope="session")
def small_variant() -> Variant:
    return Variant("small", 1000, 500, "DATA500_1D", {"size": "500 MB", "validity": "1 day", "days": 1.0})


@pytest.fixture(scope="session")
def booster(small_variant: Variant) -> Action:
    return Action(
        "booster", "sell", "{size} for {validity}", "upsell", (small_variant,), {}, (), 86_400_000, 0, charges=True
    )


@pytest.fixture(scope="session")
def spoken(booster: Action) -> Playbook:
    attributes = {
        "balance": Attribute("balance", "money"),
        "data_left_mb": Attribute("data_left_mb", "number"),
        "name": Attribute("name", "text"),
        "consent": Attribute("consent", "boolean"),
        "birthday": Attribute("birthday", "date"),
        "last_recharge": Attribute("last_recharge", "time"),
    }
    return Playbook(
        name="spoken",
        revision="r1",
        texts={},
        currency=Currency("XTS", 2, "T$"),
        languages=("en", "fr", "ar"),
        time_zone="UTC",
        vocabulary=Vocabulary({"data_session": {"app": "text", "cost": "money"}}, {}, attributes),
        actions=(booster,),
        messages=MESSAGES,
        policy=ContactPolicy(),
        replies={},
    )
