"""Phone numbers: one form for one subscriber."""

from __future__ import annotations

from typing import Final

import phonenumbers

from kairos.errors import EventError

SHORTEST, LONGEST = 7, 15  # digits of an international number (ITU-T E.164 ends at 15)
LONGEST_TEXT: Final = 40


def normalise(text: str, region: str = "") -> str:
    """The MSISDN as digits: international, no plus.

    Digits that do not begin with 0 are taken as international, with or without a plus. Anything else (spaces, dashes,
    00, a national number) is read as a person in `region` (ISO 3166, two letters) would dial it; without a region only
    international forms can be read. Raises EventError.

    >>> normalise("+447700900123"), normalise("447700900123"), normalise("07700 900123", "GB")
    ('447700900123', '447700900123', '447700900123')
    >>> normalise("07700 900123")
    Traceback (most recent call last):
    ...
    kairos.errors.EventError: `07700 900123` is not an international phone number; write `+` and its country code first
    """
    digits = text[1:] if text[:1] == "+" else text
    if digits.isascii() and digits.isdigit() and SHORTEST <= len(digits) <= LONGEST and digits[0] != "0":
        return digits
    return _dialled(text, region)


def _dialled(text: str, region: str) -> str:
    """Read a number as it is written or dialled in a region."""
    written = text.strip()
    if len(written) <= LONGEST_TEXT:
        international = "+" + written[2:] if written.startswith("00") and not region else written
        try:
            number = phonenumbers.parse(international, region or None)
        except phonenumbers.NumberParseException:
            number = None
        if number is not None and phonenumbers.is_possible_number(number) and not number.extension:
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
    what = f"a phone number in {region} or an international one" if region else "an international phone number"
    raise EventError(f"`{text[:LONGEST_TEXT]}` is not {what}; write `+` and its country code first")
