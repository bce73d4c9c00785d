"""USSD: one dialogue, whatever the gateway speaks. Pure."""

from kairos.ussd.dialogue import (
    Ask,
    Book,
    Do,
    Look,
    Say,
    Session,
    Show,
    asked,
    begin,
    chosen,
    keyed,
    last_word,
    looked,
    pressed,
    pushed,
    said,
)
from kairos.ussd.screens import SCREEN, Room, cut, pages
from kairos.ussd.steps import Heard, Steps

__all__ = [
    "SCREEN",
    "Ask",
    "Book",
    "Do",
    "Heard",
    "Look",
    "Room",
    "Say",
    "Session",
    "Show",
    "Steps",
    "asked",
    "begin",
    "chosen",
    "cut",
    "keyed",
    "last_word",
    "looked",
    "pages",
    "pressed",
    "pushed",
    "said",
]
