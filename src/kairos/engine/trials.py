"""Trying an offer: a test subscriber gets it now, so that a marketer sees it on their own phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos import enrich
from kairos.decide import wanted
from kairos.domain.event import Event
from kairos.domain.moment import Moment
from kairos.engine.answers import plain_row
from kairos.engine.work import DUPLICATE, Answer, Work
from kairos.errors import did_you_mean

if TYPE_CHECKING:
    from kairos.engine.engine import Engine

TRIAL = "trial"  # the kind of the moment


def take_trial(engine: Engine, work: Work, index: int, event: Event) -> Moment | None:
    """A moment that asks for one offer; nobody but a test subscriber has one."""
    if event.msisdn not in engine.program.decide.testers:
        work.answers[index] = Answer("rejected", f"`{event.msisdn}` is no test subscriber; add it to seeds.yaml")
        return None
    arms = wanted(engine.program.decide, event.trial)
    state = engine.subscriber(work, event.msisdn, event.happened) if arms else None
    if state is None:
        known = [name for arm in engine.program.decide.arms for name in (arm.action.name, arm.name)]
        hint = did_you_mean(event.trial, known)
        offer = f"unknown offer `{event.trial}`{'; ' if hint else ''}{hint}"
        what = f"unknown subscriber `{event.msisdn}`" if arms else offer
        work.answers[index] = Answer("rejected", what)
        return None
    if not enrich.remember(state, event.identity, work.now).new:
        work.answers[index] = DUPLICATE
        return None
    work.changed.add(state.id)
    decision = work.ids.take("decision")
    work.answers[index] = Answer("applied", decision=decision)
    row = plain_row(engine, state, work.now)
    moment = Moment(decision, event.identity, TRIAL, work.now, work.now, row, state, False)
    moment.test, moment.wanted, moment.asked = True, arms, event.trial
    moment.past_switches = event.past_switches
    return moment
