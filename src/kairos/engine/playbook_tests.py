"""Marketers' own tests: given a subscriber, when an event happens, then this is said, or nothing, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo, available_timezones

from kairos import enrich, respond
from kairos.decide import Decided, Ledger, Verdict, decide, explain
from kairos.decide.decide import keyed_draw
from kairos.domain.budget import Standing
from kairos.domain.channel import NOTIFICATION, OWN
from kairos.domain.moment import Moment
from kairos.domain.subscriber import Contact, Owned
from kairos.engine.compose import Composer
from kairos.engine.menu_tests import wrong_screen
from kairos.engine.program import Program
from kairos.errors import Diagnostic, did_you_mean
from kairos.learn import FixedPropensity
from kairos.playbook.page_words import TOKEN_LENGTH, URL
from kairos.playbook.playbook import PlaybookTest
from kairos.playbook.vocabulary_file import INBOUND

NOON = "2026-03-04T12:00"  # a Wednesday; where the subscriber is
NOTHING = "none"


def run_tests(program: Program) -> list[Diagnostic]:
    """Run every test of the playbook; a diagnostic for each that fails.

    No group is drawn; clock and chance are fixed.
    """
    return [failure for test in program.playbook.tests if (failure := _run(program, test))]


def _run(program: Program, test: PlaybookTest) -> Diagnostic | None:
    if test.dial:
        wrong = wrong_screen(program, test, _moment(program, test), partial(_decided, program, test))
        return Diagnostic(test.file, test.line, f"`{test.name}`: {wrong}") if wrong else None
    made = decide_test(program, test)
    verdicts = explain(program.decide, made.decision)
    wrong = _wrong_choice(test, made, verdicts) or _wrong_reason(test, verdicts)
    return Diagnostic(test.file, test.line, f"`{test.name}`: {wrong}") if wrong else None


def _wrong_choice(test: PlaybookTest, made: Decided, verdicts: list[Verdict]) -> str:
    said = made.arm.name if made.arm else NOTHING
    expected = f"{test.offer}/{test.variant}" if test.variant else test.offer
    chosen = made.arm.action.name if made.arm and not test.variant else said
    if chosen == expected:
        return ""
    why = next((v for v in verdicts if v.action == test.offer and v.state != "chosen"), None)
    because = f": `{why.arm}` fell to `{why.reason}`" if why else ""
    return f"expected `{expected}`, got `{said}`{because}"


def _wrong_reason(test: PlaybookTest, verdicts: list[Verdict]) -> str:
    for action, reason in test.because.items():
        reasons = [verdict.reason for verdict in verdicts if verdict.action == action]
        if not any(reason in (found, found.partition(" by ")[0]) for found in reasons):
            hint = did_you_mean(reason, reasons)
            found = ", ".join(f"`{found}`" for found in dict.fromkeys(reasons)) or "no such action"
            return f"expected `{action}` to fall to `{reason}`, it fell to {found}" + (f"; {hint}" if hint else "")
    return ""


def decide_test(program: Program, test: PlaybookTest) -> Decided:
    """The decision that a test asks about, made by the real stages on the values that the test gives."""
    moment = _moment(program, test)
    if test.event == INBOUND:
        moment.where, moment.riding = INBOUND, False
    return _decided(program, test, moment)


def _decided(program: Program, test: PlaybookTest, moment: Moment) -> Decided:
    """What the real stages make of a moment, with what the test gives of budgets."""
    nobody = dict.fromkeys((gate.file for gate in program.decide.lists), ())
    open_to_all = replace(program.decide, holdout=0.0, controls=(), listed=nobody)
    draw = keyed_draw(program.playbook.seed)

    compose = Composer(program, {}, 1, lambda _decision: f"{URL}/o/{'x' * TOKEN_LENGTH}")
    spent = {name: Standing(spent=amount) for name, amount in test.taken.items()}
    ledger = Ledger(program.decide, moment.now, lambda keys: {key: spent[key[0]] for key in keys if key[0] in spent})
    return decide(open_to_all, [moment], FixedPropensity(), draw, compose, ledger)[0]


def _moment(program: Program, test: PlaybookTest) -> Moment:
    """What the test gives, over a subscriber of whom nothing is known. It rides as it says, or where an action can."""
    wall = datetime.fromisoformat(test.at or NOON)
    local, now = _ms(wall, ZoneInfo("UTC")), _ms(wall, _zone(program, test))
    state = enrich.new_state(program.plan, 1, "15550100", now)
    sold = {variant.product: action.name for action in program.playbook.actions for variant in action.variants}
    riding = _rides(program, test)
    state.products = [Owned(product, 0, local, sold.get(product, "")) for product in test.products]
    for action in program.playbook.actions:
        if action.name in test.declined:
            respond.cool_down(state, action, action.name, now - test.declined[action.name], now)
    state.contacts = _contacts(program, test, now, riding=riding)
    blank = enrich.row(program.plan, state, test.event, test.data, now, now)
    values = dict(zip(program.decide.columns, blank, strict=True)) | dict(test.given)
    values["now"], values["local"] = now, local
    return Moment(0, "test", test.event, now, now, tuple(values.values()), state, riding)


def _rides(program: Program, test: PlaybookTest) -> bool:
    if test.riding is not None:
        return test.riding
    answering = [action for action in program.playbook.actions if test.event in action.answers]
    return any(treatment.channel == NOTIFICATION for action in answering for treatment in action.treatments)


def _contacts(program: Program, test: PlaybookTest, now: int, *, riding: bool) -> list[Contact]:
    """What they were told and did not answer, the oldest first, each as it would go out in this test."""
    told = []
    for action in program.playbook.actions:
        channels = [one.channel for one in action.treatments]
        own = [channel for channel in channels if channel in OWN]
        rides = not own or (riding and NOTIFICATION in channels)
        channel = NOTIFICATION if rides else own[0]
        told += [
            Contact(now - ago, 1, channel, action.name, action.issue, rides, action.purpose)
            for ago in test.unanswered.get(action.name, ())
        ]
    return sorted(told, key=lambda contact: contact.at)


def _zone(program: Program, test: PlaybookTest) -> ZoneInfo:
    """Where the test's subscriber is: as given, else the playbook's own."""
    given = test.given.get("time_zone", "")
    return ZoneInfo(given if given in available_timezones() else program.playbook.time_zone)


def _ms(wall: datetime, zone: ZoneInfo) -> int:
    return int(wall.replace(tzinfo=zone).timestamp() * 1000)
