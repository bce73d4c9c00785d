"""When and where a subscriber usually answers: counted in their state at each answer, and read when a row is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kairos.domain.subscriber import Habits, State

if TYPE_CHECKING:
    from kairos.enrich.plan import Plan

HOUR: Final = 3_600_000
FEWEST: Final = 3  # answers, before anything is usual
MOST: Final = 16  # answers of one hour or channel: then all are halved, so that newer ones count more
CHANNELS: Final = 16  # that are told apart: who asks names them at will


def answered(plan: Plan, state: State, happened: int, channel: str = "") -> None:
    """Count an answer in the hour of its time (ms) at their wall clock, and in the channel of the offer, if of one.

    Nothing is counted where the vocabulary has no word for it. Until an hour or a channel has `MOST`, the order in
    which answers come does not matter.
    """
    if not plan.vocabulary.habitual:
        return
    habits = state.habits = state.habits or Habits()
    hours = list(habits.hours or bytes(24))
    hours[plan.plain_row(state, {}, happened, happened)[-1] // HOUR % 24] += 1
    if max(hours) >= MOST:
        hours = [count // 2 for count in hours]
    habits.hours = bytes(hours)
    habits.hour = usual_hour(hours)
    if channel:
        channels = habits.channels
        if channel not in channels and len(channels) >= CHANNELS:
            del channels[min(sorted(channels), key=channels.__getitem__)]
        channels[channel] = channels.get(channel, 0) + 1
        if channels[channel] >= MOST:
            channels = habits.channels = {name: count // 2 for name, count in channels.items() if count > 1}
        known = sum(channels.values()) >= FEWEST
        habits.channel = max(sorted(channels), key=channels.__getitem__) if known else None


def usual_hour(hours: list[int]) -> int | None:
    """The hour around which most of them are, its neighbours counting half; of equals the first of the day.

    >>> usual_hour([1, *[0] * 8, 2, *[0] * 12, 1, 2])  # two at 9; two at 23, and more around it
    23
    >>> usual_hour([2, *[0] * 23])  # two answers are no habit
    """
    if sum(hours) < FEWEST:
        return None
    return max(range(24), key=lambda hour: hours[hour - 1] + 2 * hours[hour] + hours[(hour + 1) % 24])


def hours_away(habits: Habits, local: int) -> int | None:
    """Hours on the clock, 0 to 12, between a wall clock's reading (ms) and the usual hour.

    >>> hours_away(Habits(hour=23), 1 * HOUR), hours_away(Habits(hour=9), 21 * HOUR + 59 * 60_000)
    (2, 12)
    """
    if habits.hour is None:
        return None
    apart = abs(local // HOUR % 24 - habits.hour)
    return min(apart, 24 - apart)
