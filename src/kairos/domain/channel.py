"""The channels by the words that a playbook has for them.

Three kinds, limited apart: a line that *rides* on a notification, a message of its *own*, which interrupts, and what is
*pulled* by a subscriber who asks.
"""

from __future__ import annotations

from typing import Final

NOTIFICATION: Final = "notification"  # lines that ride
SMS: Final = "sms"
EMAIL: Final = "email"
USSD_PUSH: Final = "ussd_push"  # a dialogue that we begin
LONG: Final = (EMAIL, "push", "whatsapp", "mms", "webhook", "ivr", "calls")  # not measured in SMS
OWN: Final = (SMS, USSD_PUSH, *LONG)  # messages of their own
ADDRESSED: Final = (EMAIL, "push")  # whose address no telephone number is
INBOUND: Final = "inbound"  # what is told to those who ask, wherever they do
USSD: Final = "ussd"  # what is told in a menu that they dialled; where it has no words, those of `inbound`
PAGE: Final = "page"  # the landing page, as answers name it
PULLED: Final = (INBOUND, USSD)  # which no limit counts

SENT: Final = (NOTIFICATION, *OWN)
CHANNELS: Final = (*SENT, *PULLED)
