"""Purposes: what comes first, and what each minds; consents and pauses that concern a part of what can be said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.conftest import TEXTS

from kairos.decide import Verdict, explain
from kairos.domain.decision import Decision
from kairos.domain.purpose import STANDINGS
from kairos.domain.subscriber import Bucket, Contact
from kairos.domain.switch import Switch, Switches
from kairos.engine.playbook_tests import run_tests
from kairos.engine.program import compile_program
from kairos.errors import PlaybookError
from kairos.playbook import read
from kairos.ports import Batch

HOUR = 3_600_000
POLICY = "contact_only_when: {marketing consent: marketing_consent}\n"
NOTICE = """
action: notice
kind: care
purpose: %s
title: a notice
issue: notices
variants: {only: {value: 0.01}}
answers: {end_of_call: 5 minutes}
treatments:
  ride: {channel: notification, message: hint_line}
  own: {channel: sms, message: hint_line}
accept_within: 1 hour
after_decline: never
"""


def call(bench: Any, *, riding: bool = True, cost: int = 100) -> dict[str, Verdict]:
    """A call of one who may have everything; the verdicts by action, of the variant that is said if one is."""
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + 24 * HOUR)]
    text = "Your call cost T$1. Ref 1" if riding else ""
    work = bench.apply(bench.event("end_of_call", notification=text, service="voice", cost=cost, balances=balances))
    decision = msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)
    verdicts = explain(bench.program.decide, decision)
    return {v.action: v for v in sorted(verdicts, key=lambda v: v.state == "chosen")}


def said(bench: Any, **how: Any) -> str:
    return next((verdict.action for verdict in call(bench, **how).values() if verdict.state == "chosen"), "")


@pytest.mark.parametrize("purpose", STANDINGS)
def test_a_higher_purpose_comes_first_whatever_its_worth(bench_with: Callable[..., Any], purpose: str) -> None:
    bench = bench_with({"actions/notice.yaml": NOTICE % purpose})
    bench.profile()
    above = STANDINGS[purpose].rank > STANDINGS["marketing"].rank  # type: ignore[index]
    assert said(bench) == ("notice" if above else "booster")


MINDED = {
    "switches": ({}, {"marketing": Switch("marketing", False, "why", "ada", 0)}, True),
    "freezes": ({"contact_policy.yaml": POLICY + "freeze: [{from: wed 00:00, to: thu 00:00, why: f}]"}, {}, True),
    "limits": ({"contact_policy.yaml": POLICY + "limits: [{at_most: 1, per: 1 day}]"}, {}, True),
    "quiet hours": ({"contact_policy.yaml": POLICY + "quiet_hours: 11:00-13:00"}, {}, False),
    "consent": ({"contact_policy.yaml": "contact_only_when: {a consent: language = 'fr'}"}, {}, True),
    "pauses": ({"contact_policy.yaml": POLICY + "pause_while: {a pause: language = 'en'}"}, {}, True),
}


@pytest.mark.parametrize("what", MINDED)
@pytest.mark.parametrize("purpose", STANDINGS)
def test_each_purpose_minds_what_the_table_says(bench_with: Callable[..., Any], purpose: str, what: str) -> None:
    changes, off, riding = MINDED[what]
    bench = bench_with({"actions/notice.yaml": NOTICE % purpose} | changes)
    bench.profile()
    bench.engine.turn(Switches(off))
    if what == "limits":
        state = bench.state()
        state.contacts.append(Contact(bench.now - HOUR, 1, "sms", "x", "y", False))
        bench.store.commit(Batch(states={state.id: msgspec.msgpack.encode(state)}))
    minds = what in STANDINGS[purpose].minds or (what == "freezes" and purpose == "care")  # type: ignore[index]
    if what == "freezes" and purpose == "care":
        minds = False  # a window lets care pass, unless it says otherwise
    verdict = call(bench, riding=riding)["notice"]
    assert (verdict.state in ("gate", "limit")) == minds, verdict


@pytest.mark.parametrize("purpose", STANDINGS)
def test_the_holdout_holds_back_marketing_alone(bench_with: Callable[..., Any], purpose: str) -> None:
    bench = bench_with({"actions/notice.yaml": NOTICE % purpose})
    bench.profile()
    bench.engine.program = replace(bench.program, decide=replace(bench.program.decide, holdout=1.0))
    held = "holdout" in STANDINGS[purpose].minds  # type: ignore[index]
    assert said(bench) == ("" if held else "notice")


def test_a_switch_of_its_own_stops_even_what_regulation_asks_for(bench_with: Callable[..., Any]) -> None:
    bench = bench_with({"actions/notice.yaml": NOTICE % "regulatory"})
    bench.profile()
    bench.engine.turn(Switches({"action:notice": Switch("action:notice", False, "wrong text", "ada", 0)}))
    assert call(bench)["notice"].reason == "switch action:notice"


RETENTION = """
pause_while:
  churn sign: {when: open_tickets > 0, except: [upsell]}
"""


def test_a_pause_lets_the_issues_pass_that_it_names(bench_with: Callable[..., Any]) -> None:
    bench = bench_with({"contact_policy.yaml": POLICY + RETENTION})
    bench.profile(open_tickets=1.0)
    verdicts = call(bench)
    assert verdicts["booster"].state == "chosen"
    assert (verdicts["top_up"].state, verdicts["top_up"].reason) == ("gate", "churn sign")


@pytest.mark.parametrize("passed", ["third_party", "marketing"])
def test_a_pause_lets_the_purposes_pass_that_it_names(bench_with: Callable[..., Any], passed: str) -> None:
    bench = bench_with({"contact_policy.yaml": POLICY + RETENTION.replace("upsell", passed)})
    bench.profile(open_tickets=1.0)
    assert said(bench) == ("booster" if passed == "marketing" else "")


def test_the_first_gate_of_each_offer_is_its_reason(bench_with: Callable[..., Any]) -> None:
    consent = "contact_only_when: {marketing consent: {when: marketing_consent, except: [upsell]}}\n"
    bench = bench_with({"contact_policy.yaml": consent + "pause_while: {open complaint: open_tickets > 0}"})
    bench.profile(open_tickets=1.0, marketing_consent=False)
    verdicts = call(bench)
    assert (verdicts["booster"].reason, verdicts["top_up"].reason) == ("open complaint", "marketing consent")
    counted = bench.engine.statistics.reasons()
    assert (counted["open complaint"], counted["marketing consent"]) == (1, 1)


def test_a_consent_for_a_channel_closes_that_channel_alone(bench_with: Callable[..., Any]) -> None:
    consent = "contact_only_when: {sms consent: {when: marketing_consent, for: {channels: [sms]}}}\n"
    bench = bench_with({"contact_policy.yaml": consent})
    bench.profile(marketing_consent=False)
    refused = call(bench, riding=False)["booster"]
    assert (refused.state, refused.reason) == ("limit", "sms consent")
    assert said(bench) == "booster"


@pytest.mark.parametrize(
    ("regime", "known", "chosen"),
    [
        ("opt-in", None, ""),
        ("opt-in", True, "booster"),
        ("opt-out", None, "booster"),
        ("opt-out", True, "booster"),
        ("opt-out", False, ""),
    ],
)
def test_where_nobody_has_asked_the_market_says_what_that_means(
    bench_with: Callable[..., Any], regime: str, known: bool | None, chosen: str
) -> None:
    bench = bench_with({"contact_policy.yaml": f"{POLICY}consent: {regime}"})
    bench.profile(marketing_consent=known)
    assert said(bench) == chosen


def test_quiet_hours_and_the_holdout_bind_the_purposes_that_they_name(bench_with: Callable[..., Any]) -> None:
    policy = (
        POLICY + "quiet_hours: {hours: 11:00-13:00, purposes: [third_party]}\nholdout: {share: 99%, purposes: care}\n"
        "limits: [{at_most: 9, per: 1 day}]"
    )
    bench = bench_with({"contact_policy.yaml": policy, "actions/notice.yaml": NOTICE % "care"})
    bench.profile()
    assert call(bench, riding=False)["notice"].reason == "holdout"
    assert said(bench, riding=False) == "", "it is open already"
    assert [contact.action for contact in bench.state().contacts] == ["booster"]


def test_a_contact_keeps_its_purpose(bench_with: Callable[..., Any]) -> None:
    bench = bench_with({"actions/notice.yaml": NOTICE % "service"})
    bench.profile()
    assert said(bench) == "notice"
    assert bench.state().contacts[0].purpose == "service"


WRONG = {
    "purpose: charity": "unknown purpose `charity`; there are `regulatory`, `service`, `care`, `marketing`",
    "purpose: service": "what has a price cannot be `service`; only what costs nothing passes consent",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_purpose_that_cannot_be_is_refused(bench_with: Callable[..., Any], texts: dict[str, str], line: str) -> None:
    with pytest.raises(PlaybookError) as raised:
        bench_with({"offers/booster.yaml": texts["offers/booster.yaml"] + line})
    (found,) = raised.value.diagnostics
    assert (found.file, found.line) == ("offers/booster.yaml", 19)
    assert WRONG[line] in str(found)


WRONG_GATES = {
    "pause_while: {x: {when: open_tickets > 0, except: [upsel]}}": "except: unknown issue or purpose `upsel`",
    "pause_while: {x: {except: [upsell]}}": "`when` is missing; write the rule",
    "pause_while: {x: {when: open_ticket > 0}}": "unknown name `open_ticket`",
    "pause_while: {x: {when: open_tickets > 0, for: {channels: [fax]}}}": "channels: unknown channel `fax`",
    "pause_while: {x: {when: open_tickets > 0, fro: {}}}": "unknown key `fro`; did you mean `for`?",
    "pause_while: open_tickets > 0": "the rule `open_tickets > 0` has no name",
    "consent: opted-out": "consent: unknown regime `opted-out`; did you mean `opt-out`?",
    "holdout: {purposes: [care]}": "`share` is missing",
    "quiet_hours: {hours: 21:00-08:00, purposes: []}": "purposes: the list is empty",
}


@pytest.mark.parametrize("line", WRONG_GATES)
def test_a_gate_that_cannot_be_is_refused(bench_with: Callable[..., Any], line: str) -> None:
    with pytest.raises(PlaybookError) as raised:
        bench_with({"contact_policy.yaml": POLICY + line})
    found = raised.value.diagnostics[0]
    assert (found.file, found.line) == ("contact_policy.yaml", 2)
    assert WRONG_GATES[line] in str(found)


@pytest.mark.parametrize(("care_too", "hint"), [(False, "rule"), (True, "gate")])
def test_a_record_from_before_purposes_is_still_explained(bench: Any, care_too: bool, hint: str) -> None:
    bench.profile(marketing_consent=False)
    call(bench)
    blob = bench.store.decision(1)
    record = msgspec.structs.replace(msgspec.msgpack.decode(blob, type=Decision), care_too=care_too, gates=[])
    verdicts = {v.action: v for v in explain(bench.program.decide, record)}
    assert (verdicts["booster"].state, verdicts["booster"].reason) == ("gate", "marketing consent")
    assert verdicts["off_peak_hint"].state == hint


def test_a_tester_passes_registers_and_pauses_but_no_consent_that_is_denied(bench_with: Callable[..., Any]) -> None:
    seeds = 'testers: [{name: Ada, msisdn: "+12025550123"}]'
    policy = POLICY + "registers: {r: {when: open_tickets > 0}, f: {file: f}}\npause_while: {p: open_tickets > 0}"
    bench = bench_with({"contact_policy.yaml": policy, "seeds.yaml": seeds})
    bench.profile(open_tickets=1.0, marketing_consent=None)
    assert said(bench) == "booster"
    bench.profile(marketing_consent=False)
    assert call(bench)["booster"].reason == "marketing consent"


def test_a_control_group_never_hears_its_offer_and_all_the_others(bench_with: Callable[..., Any]) -> None:
    booster = TEXTS["offers/booster.yaml"]
    other = booster.replace("offer: booster", "offer: other") + "weight: 0.5\n"
    files = {"offers/booster.yaml": booster + "control: 50%\n", "offers/other.yaml": other}
    bench = bench_with(files | {"contact_policy.yaml": POLICY})
    heard: dict[str, set[int]] = {"booster": set(), "other": set()}
    for one in (*range(200), *range(200)):  # each twice, and the same
        msisdn = f"1202555{one:04d}"
        known = {"plan": "prepaid", "language": "en", "marketing_consent": True}
        bench.apply(bench.event("profile", msisdn=msisdn, **known))
        balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + HOUR)]
        ended = bench.event("end_of_call", msisdn=msisdn, notification="It cost T$1.", cost=100, balances=balances)
        ((_, _, _, blob),) = bench.apply(ended).batch.decisions
        made = msgspec.msgpack.decode(blob, type=Decision)
        if made.chosen:  # the second time it may be open
            heard[bench.program.decide.arms[made.chosen.arm].action.name].add(one)
            assert ("control group" in [shut.rule for shut in made.gates]) == (one in heard["other"] - heard["booster"])
    control = heard["other"] - heard["booster"]
    assert 60 < len(control) < 140
    assert len(control | heard["booster"]) == 200


def test_a_playbooks_tests_know_no_control_group() -> None:
    booster = TEXTS["offers/booster.yaml"] + "control: 99%\n"
    given = "{plan: prepaid, marketing_consent: yes, data_left_mb: 1, balance: 50}"
    test = f"test: said\ngiven: {given}\nwhen: {{end_of_call: {{cost: 0.1}}}}\nthen: {{offer: booster}}\n"
    assert run_tests(compile_program(read(TEXTS | {"offers/booster.yaml": booster, "tests/own.yaml": test}))) == []
