"""The words of the landing page that a link opens: messages that a playbook may have, and what is said without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LINK: Final = "link"  # the placeholder that opens it
URL: Final = "https://offers.example"  # how long an address is taken to be where none is known
TOKEN_LENGTH: Final = 25  # characters, until four thousand million decisions were made

# Each in English, the longest that can be said first. The outcome is told by the answers to a reply: `confirmed`,
# `refused_funds`, `refused`, `expired`, `declined`, `sim_changed`, `stopped`.
PAGE: Final[Mapping[str, tuple[str, ...]]] = {
    "page_brand": (),  # whose page it is
    "page_heading": ("Your offer",),
    "page_free": ("Free",),
    "page_until": ("Open until {expires}",),
    "page_tax": ("{tax} of it is tax",),
    "page_terms": (
        "{price} is charged once, to the number that this offer was sent to.",
        "It costs nothing.",
    ),
    "page_take": ("Get it for {price}", "Get it free"),
    "page_sure": ("Are you sure? {title} costs {price}.", "Are you sure? {title} is free."),
    "page_again": ("Yes, get it for {price}", "Yes, get it free"),
    "page_decline": ("No, thanks",),
    "page_accepted": ("It is on its way. A message tells you when it is active.",),
    "page_reply": ("Reply {number} to {short_code}",),
    "page_reply_why": (
        "To get it, reply {number} to {short_code} from the phone that this offer was sent to.",
        "To get it, answer the message that told you of it.",
    ),
    "page_not_now": ("This cannot be done right now, and nothing was charged. The offer stays open.",),
    "page_ended": ("This offer is not open any more.",),
    "page_unknown": ("This link opens no offer. Was all of it copied?",),
    "page_not_yours": ("This offer was sent to another number.",),
    "page_busy": ("That was too fast, or we are busy. Please try again in a moment.",),
    "page_stop_ask": ("Shall we send you no more offers?",),
    "page_stop": ("No more offers",),
    "page_stop_mail_ask": ("Shall we send you no more offers by e-mail?",),
    "page_stop_mail": ("You will get no more offers by e-mail.",),
}
OF_OFFER: Final = ("title", "price", "net", "tax", "number", "expires", "short_code")  # what those about one may say
OF_NONE: Final = frozenset(
    {"page_brand", "page_ended", "page_unknown", "page_not_yours", "page_busy"}
    | {name for name in PAGE if name.startswith("page_stop")}
)


def sayable(message: str) -> tuple[str, ...]:
    """The placeholders that a message of the page may use."""
    return () if message in OF_NONE else OF_OFFER
