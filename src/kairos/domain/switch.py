"""Switches that people turn: what is off, since when, by whom and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from kairos.domain import purpose as purposes

MARKETING: Final = "marketing"  # everything that kairos says of its own accord but what is regulatory
CHARGING: Final = "charging"  # orders to the charging system
PARTS: Final = ("channel", "action", "issue")  # of marketing: `channel:sms`, `action:booster`, `issue:upsell`
SHAPES: Final = "marketing, charging, channel:NAME, action:NAME and issue:NAME"


class Switch(Struct, frozen=True, array_like=True, gc=False):
    """One change of a switch; the latest of its name holds. A switch that was never turned is on."""

    name: str
    on: bool
    reason: str
    who: str
    at: int  # ms


class Switches(Struct, frozen=True, gc=False):
    """All that is off, by name. `read` is False where nobody knows: then marketing is off."""

    off: Mapping[str, Switch] = {}
    read: bool = True

    @property
    def marketing(self) -> str:
        """The switch that stops all marketing, or an empty text."""
        return MARKETING if not self.read or MARKETING in self.off else ""

    @property
    def charging(self) -> bool:
        return CHARGING not in self.off

    def stopping(self, channel: str, action: str, issue: str, purpose: str = "") -> str:
        """The switch that stops a message of this action about this issue on this channel, or an empty text.

        What regulation asks for passes the switch of all marketing, not those of what it is.

        >>> switches = Switches({"issue:upsell": Switch("issue:upsell", False, "prices are wrong", "ada", 0)})
        >>> switches.stopping("sms", "booster", "upsell"), switches.stopping("sms", "hint", "care")
        ('issue:upsell', '')
        """
        if self.marketing and (purpose or purposes.MARKETING) in purposes.minding("switches"):
            return MARKETING
        if not self.off:
            return ""
        parts = (f"channel:{channel}", f"action:{action}", f"issue:{issue}")
        return next((part for part in parts if part in self.off), "")


UNREAD: Final = Switches(read=False)  # before the first look, and while the store cannot be read


def stated(name: str) -> str:
    """How a refusal names the switch that caused it.

    >>> stated("marketing"), stated("channel:sms")
    ('switch marketing', 'switch channel:sms')
    """
    return f"switch {name}"


def wrong_name(name: str, known: Mapping[str, tuple[str, ...]]) -> str:
    """What is wrong with a switch's name, or an empty text. `known`: what each part may name; one left out is not held.

    >>> wrong_name("marketting", {})
    'there is no switch `marketting`: there are marketing, charging, channel:NAME, action:NAME and issue:NAME'
    >>> wrong_name("action:boster", {"action": ("booster",)})
    'there is no action `boster` in the playbook'
    >>> wrong_name("action:booster", {"action": ("booster",)}), wrong_name("charging", {})
    ('', '')
    """
    part, _, rest = name.partition(":")
    if name in (MARKETING, CHARGING):
        return ""
    if part not in PARTS or not rest:
        return f"there is no switch `{name}`: there are {SHAPES}"
    if part in known and rest not in known[part]:
        return f"there is no {part} `{rest}` in the playbook"
    return ""


def wrong_turn(on: bool, reason: str) -> str:
    """What is wrong with a change, or an empty text: who finds something off must find out why."""
    return "" if on or reason.strip() else "say why it is turned off"
