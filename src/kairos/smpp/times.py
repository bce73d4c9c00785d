"""Times as SMPP writes them (7.1.1): `YYMMDDhhmmsstnnp`, absolute with `+` or `-`, relative with `R`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from kairos.smpp.errors import EncodeError, PduError
from kairos.smpp.status import Status

_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d)(\d\d)([-+R])")


def relative(seconds: float) -> str:
    """A validity_period or schedule_delivery_time counted from when the SMSC receives it: whole seconds, up to 99 days.

    >>> relative(90061)
    '000001010101000R'
    """
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86_400)
    if days > 99:
        raise EncodeError(f"a relative time of {days} days does not fit; 99 days is the most")
    return f"0000{days:02d}{rest // 3600:02d}{rest // 60 % 60:02d}{rest % 60:02d}000R"


def absolute(moment: datetime) -> str:
    """A moment (with its time zone) in UTC, to the tenth of a second.

    >>> absolute(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc))
    '260102030405000+'
    """
    if moment.tzinfo is None:
        raise EncodeError("a time for SMPP needs its time zone")
    utc = moment.astimezone(UTC)
    return f"{utc:%y%m%d%H%M%S}{utc.microsecond // 100_000}00+"


def parse_time(text: str, now: datetime) -> datetime | None:
    """The moment a time field means, seen from `now` (with time zone); None for "" (the SMSC's default).

    A relative year counts 365 days, a month 30. Raises PduError where it is no time.

    >>> now = datetime(2026, 1, 2, tzinfo=timezone.utc)
    >>> parse_time("000000000100000R", now) - now
    datetime.timedelta(seconds=60)
    """
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise PduError(f"`{text}` is no SMPP time (YYMMDDhhmmsstnnp)", status=Status.ESME_RINVEXPIRY)
    *numbers, sign = match.groups()
    year, month, day, hour, minute, second, tenth, quarters = map(int, numbers)
    if sign == "R":
        return now + timedelta(days=365 * year + 30 * month + day, hours=hour, minutes=minute, seconds=second)
    offset = timedelta(minutes=15 * quarters) * (1 if sign == "+" else -1)
    try:
        zone = timezone(offset)
        return datetime(2000 + year, month, day, hour, minute, second, tenth * 100_000, zone)
    except ValueError as fault:
        raise PduError(f"`{text}` is no SMPP time: {fault}", status=Status.ESME_RINVEXPIRY) from None
