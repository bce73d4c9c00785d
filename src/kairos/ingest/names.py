"""How an input names a subscriber: by MSISDN, IMSI or account."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from kairos.domain.identity import name_of
from kairos.errors import EventError, did_you_mean
from kairos.ingest.numbers import normalise
from kairos.ingest.values import quoted

_IMSI: Final = re.compile(r"\d{6,15}", re.ASCII)  # ITU-T E.212: country, network, subscriber; 15 digits at most
_IMEI: Final = re.compile(r"\d{14,16}", re.ASCII)  # 3GPP TS 23.003: with or without its check digit, or IMEISV
_ACCOUNT: Final = re.compile(r"[!-~]{1,64}", re.ASCII)


def read_name(text: str, region: str = "") -> str:
    """The name in a subject: digits of an MSISDN, or another kind before its value. Raises EventError.

    >>> read_name("+12025550123"), read_name("msisdn:12025550123"), read_name("imsi:001010000000001")
    ('12025550123', '12025550123', 'imsi:001010000000001')
    """
    kind, colon, value = text.partition(":")
    if not colon:
        return normalise(text, region)
    if kind == "msisdn":
        return normalise(value, region)
    if kind not in NAMES:
        known = ("msisdn", *NAMES)
        hint = did_you_mean(quoted(kind), known) or f"known: {', '.join(f'`{name}:`' for name in known)}"
        raise EventError(f"`{quoted(kind)}:` names no subscriber; {hint}")
    return name_of(kind, NAMES[kind](value))


def imsi(text: str) -> str:
    return _matching(_IMSI, text, "an IMSI: 6 to 15 digits")


def imei(text: str) -> str:
    return _matching(_IMEI, text, "an IMEI: 14 to 16 digits")


def account(text: str) -> str:
    return _matching(_ACCOUNT, text, "an account: 1 to 64 letters, digits and marks without spaces")


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise EventError(f"`{quoted(text)}` is not {what}")
    return text


NAMES: Final[dict[str, Callable[[str], str]]] = {"imsi": imsi, "account": account}
FACTS: Final[dict[str, Callable[[str], str]]] = {**NAMES, "imei": imei}
