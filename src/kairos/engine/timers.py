"""Waking up: timers that are due become inputs like any other."""

from __future__ import annotations

import asyncio

from kairos.engine.loop import Loop, Submission
from kairos.errors import KairosError
from kairos.ports import Clock, Store


async def run_timers(store: Store, loop: Loop, clock: Clock, *, every: float = 1.0, at_once: int = 1000) -> None:
    """Until cancelled: hand due timers to the engine, and go on only when they are committed."""
    while True:
        try:
            due = await asyncio.to_thread(store.timers_due, clock(), at_once)  # a disk may hang, or others read long
            posted: list[Submission] = [loop.post(timer, own=True) for timer in due]
            answers = await asyncio.gather(*(submission.answer for submission in posted), return_exceptions=True)
        except KairosError:
            answers = []
        if len(answers) < at_once or any(isinstance(answer, Exception) for answer in answers):
            await asyncio.sleep(every)
