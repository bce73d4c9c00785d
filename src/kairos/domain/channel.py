"""The channels by the words that a playbook has for them.

Three kinds, limited apart: a line that *rides* on a notification, a message of its *own*, which interrupts, and what is
*pulled* by a subscriber who asks.
"""

from __future__ import annotations

from typing import Final

NOTIFICATION: Final = "notification"  # lines that ride
LONG: Final = ("email", "push", "whatsapp", "mms", "webhook", "ivr", "calls")  # not measured in SMS
OWN: Final = ("sms", *LONG)  # messages of their own
ADDRESSED: Final = ("email", "push")  # whose address no telephone number is
INBOUND: Final = "inbound"  # what is told to those who ask, wherever they do
PAGE: Final = "page"  # the landing page, as answers name it
PULLED: Final = (INBOUND,)  # which no limit counts

SENT: Final = (NOTIFICATION, *OWN)
CHANNELS: Final = (*SENT, *PULLED)
