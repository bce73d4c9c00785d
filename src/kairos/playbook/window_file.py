"""Windows of contact_policy.yaml: when a channel may carry messages of its own."""

from __future__ import annotations

from collections.abc import Iterator

from kairos.domain.channel import OWN
from kairos.playbook.context import Context
from kairos.playbook.document import Scalar, Table, refused
from kairos.playbook.freeze_file import DAYS
from kairos.playbook.policy import DAY, Window
from kairos.playbook.section import Section, entries
from kairos.playbook.values import hours, nearest


def read_windows(section: Section, context: Context) -> dict[str, Window]:
    """The windows by channel; what is wrong is noted in the context's problems."""
    windows = {}
    for channel, (key, value) in section.named("windows"):
        if channel not in OWN:
            context.problems.add(key, f"no messages of their own go out on `{channel}`", nearest(channel, OWN))
        elif isinstance(value, Table):
            windows[channel] = tuple(sorted(_by_day(value, context)))
        else:
            every_day = context.problems.attempt(None, channel, hours, value)
            windows[channel] = tuple(_on(every_day, range(7))) if every_day else ()
    return windows


def _by_day(node: Table, context: Context) -> Iterator[tuple[int, int]]:
    for days, (key, value) in entries(node, context.problems):
        on = context.problems.attempt(range(0), "", _days, key)
        between = context.problems.attempt(None, days, hours, value)
        if between:
            yield from _on(between, on)


def _on(between: tuple[int, int], days: range) -> Iterator[tuple[int, int]]:
    start, end = between
    lasts = (end - start) % DAY
    return ((day * DAY + start, day * DAY + start + lasts) for day in days)


def _days(key: Scalar) -> range:
    """One day of the week, or from one to another."""
    first, _, last = key.text.lower().partition("-")
    for day in (first, last or first):
        if day not in DAYS:
            raise refused(key, f"`{day}` is no day of the week", f"there are {', '.join(DAYS)}; or `mon-fri`")
    if DAYS.index(last or first) < DAYS.index(first):
        raise refused(key, f"`{key.text}` goes over the end of the week", "write it in two, as in `sat-sun` and `mon`")
    return range(DAYS.index(first), DAYS.index(last or first) + 1)
