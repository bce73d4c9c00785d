"""Freeze windows of contact_policy.yaml: when nothing is said, once or every week."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from kairos.domain.channel import CHANNELS
from kairos.domain.instant import instant
from kairos.playbook.action import Action
from kairos.playbook.context import Context
from kairos.playbook.document import Node, refused
from kairos.playbook.policy import Freeze
from kairos.playbook.section import Section
from kairos.playbook.values import boolean, known, nearest, several, text

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEKLY = re.compile(
    rf"({'|'.join(DAYS)})(?:day|sday|nesday|rsday|urday)? +([01]\d|2[0-3]):([0-5]\d)", re.ASCII | re.IGNORECASE
)
EXAMPLE = "write it as in `2026-12-24 00:00`, `2026-12-24T00:00Z` or, for every week, `fri 22:00`"

Time = tuple[bool, int]  # weekly; ms (UTC), or minutes since Monday 00:00


def read_freeze(node: Node, actions: Sequence[Action], context: Context) -> Freeze:
    """One window; what is wrong is noted in the context's problems."""
    section = Section(node, "freeze", context.problems)
    zone = section.take("zone", time_zone, context.time_zone)
    begin = section.need("from", _time(zone), None, "2026-12-24 00:00")
    end = section.need("to", _time(zone), None, "2026-12-27 00:00")
    why = section.need("why", text, "", "network freeze")
    issues = sorted({action.issue for action in actions})
    channels = section.take("channels", several(known("channel", CHANNELS)), ())
    about = section.take("issues", several(known("issue", issues)), ())
    except_care = section.take("except_care", boolean, True)
    if begin is None or end is None:
        return Freeze(why, 0, 0, False, zone)
    weekly, start = begin
    if weekly != end[0]:
        message = "`from` and `to` are both dates, or both days of the week"
        context.problems.add(section.at("to"), message, EXAMPLE)
    elif end[1] == start or (end[1] < start and not weekly):
        context.problems.add(section.at("to"), f"`{text(section.at('to'))}` is not after `from`", "name a later time")
    return Freeze(why, start, end[1], weekly, zone, channels, about, except_care)


def time_zone(node: Node) -> str:
    """An IANA name."""
    word = text(node)
    if word not in available_timezones():
        names = sorted(available_timezones())
        raise refused(node, f"unknown time zone `{word}`", nearest(word, names) or "write it as in `UTC`")
    return word


def _time(zone: str) -> Callable[[Node], Time]:
    """A reader of a date and time, in `zone` where it states none of its own, or of a day of the week and a time."""

    def read(node: Node) -> Time:
        word = text(node)
        if found := WEEKLY.fullmatch(word):
            minutes = (DAYS.index(found[1].lower()) * 24 + int(found[2])) * 60 + int(found[3])
            return True, minutes
        try:
            if not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", word, re.ASCII):
                raise ValueError
            moment = datetime.fromisoformat(word)
        except ValueError:
            raise refused(node, f"`{word}` is no time", EXAMPLE) from None
        return False, instant(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone)))

    return read
