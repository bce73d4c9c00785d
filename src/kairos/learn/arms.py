"""The arms of a playbook as a model sees them."""

from __future__ import annotations

import re
from typing import Final

from kairos.learn.variants import Variant
from kairos.playbook.action import Action
from kairos.playbook.action import Variant as Written
from kairos.playbook.playbook import Playbook

DAY: Final = 86_400_000
SIZE: Final = re.compile(r"(\d+(?:[.,]\d+)?)\s*([^\W\d]+)")

# What a unit measures, and how much of it; a unit that is not here measures itself.
UNITS: Final = {
    "kb": ("data", 1e-3),
    "mb": ("data", 1.0),
    "gb": ("data", 1e3),
    "tb": ("data", 1e6),
    "min": ("voice", 1.0),
    "minutes": ("voice", 1.0),
    "hours": ("voice", 60.0),
    "sms": ("texts", 1.0),
    "texts": ("texts", 1.0),
}


def variants_of(playbook: Playbook) -> list[Variant]:
    """Every arm, in the order in which `kairos.decide` numbers them."""
    return [_variant(action, variant) for action in playbook.actions for variant in action.variants]


def _variant(action: Action, written: Written) -> Variant:
    """What it holds is its issue and what its size measures, so that 500 MB of two kinds are two contents."""
    measured, size = size_of(str(written.fields.get("size", "")))
    return Variant(
        name=f"{action.name}/{written.name}" if written.name else action.name,
        content=f"{action.issue} {measured}".strip(),
        size=size,
        price=float(written.price),
        validity=written.lasts / DAY,
    )


def size_of(text: str) -> tuple[str, float]:
    """What a size measures, and how much of it; nothing and 0 where no figure is said.

    >>> size_of("1.5 GB"), size_of("500 MB"), size_of("30 minutes"), size_of("all you can hear")
    (('data', 1500.0), ('data', 500.0), ('voice', 30.0), ('', 0.0))
    """
    found = SIZE.search(text)
    if not found:
        return "", 0.0
    measured, much = UNITS.get(found[2].lower(), (found[2].lower(), 1.0))
    return measured, float(found[1].replace(",", ".")) * much
