"""Consents to the use of data, and the proof of each consent's last change."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from kairos.adapters.explanations import plain
from kairos.cli.explanation import picture
from kairos.decide import Verdict, explain
from kairos.domain.decision import Decision
from kairos.domain.subscriber import Bucket, Proof, State, read_state
from kairos.engine.explain import Explainer
from kairos.engine.program import compile_program
from kairos.errors import PlaybookError
from kairos.playbook import check, read

DAY = 86_400_000
POLICY = """
contact_only_when: {marketing consent: marketing_consent}
data_only_when: {location: location_consent, dpi: {when: marketing_consent, except: [upsell]}}
limits: [{at_most: 9, per: 1 day}]
"""
NEARBY = """
action: nearby
kind: care
purpose: %s
title: nearby
issue: nearby
variants: {only: {value: 9}}
answers: {end_of_call: 5 minutes}
%s
treatments: {ride: {channel: notification, message: %s}}
accept_within: 1 hour
after_decline: never
"""
BY_RULE = ("relevant_when: {in town: town = 'Springfield'}", "hint_line")
BY_MESSAGE = ("", "town_line")


def world(texts: dict[str, str], purpose: str = "care", reads: tuple[str, str] = BY_RULE) -> dict[str, str]:
    vocabulary = texts["vocabulary.yaml"].replace(
        "language: text,", "language: text, town: text, location: boolean,", 1
    )
    town = "  town: {type: text, from: [profile.town], uses: location}\n"
    agreed = "  location_consent: {type: boolean, from: [profile.location]}\n"
    return {
        "vocabulary.yaml": vocabulary.replace("attributes:\n", "attributes:\n" + town + agreed),
        "actions/nearby.yaml": NEARBY % (purpose, *reads),
        "messages.yaml": texts["messages.yaml"] + 'town_line: {en: "Hello {town}"}\n',
        "contact_policy.yaml": POLICY,
    }


def call(bench: Any) -> dict[str, Verdict]:
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    work = bench.apply(bench.event("end_of_call", notification="Ref 1", service="voice", cost=1, balances=balances))
    made = msgspec.msgpack.decode(work.batch.decisions[0][3], type=Decision)
    return {v.action: v for v in explain(bench.program.decide, made)}


@pytest.mark.parametrize("reads", [BY_RULE, BY_MESSAGE])
@pytest.mark.parametrize(
    ("agreed", "purpose", "refused"),
    [
        (None, "care", True),
        (False, "marketing", True),
        (True, "care", False),
        (True, "marketing", False),
        (None, "service", False),
    ],
)
def test_what_reads_of_a_source_needs_the_consent_to_it(
    bench_with: Callable[..., Any],
    texts: dict[str, str],
    reads: tuple[str, str],
    agreed: bool | None,
    purpose: str,
    refused: bool,
) -> None:
    changes = world(texts, "care", reads)
    changes["actions/nearby.yaml"] = changes["actions/nearby.yaml"].replace("purpose: care", f"purpose: {purpose}")
    bench = bench_with(changes)
    bench.profile(town="Springfield", location=agreed)
    verdicts = call(bench)
    found = verdicts["nearby"]
    assert (found.state, found.reason) == (("gate", "consent to location") if refused else (found.state, found.reason))
    assert (found.state == "gate") == refused
    assert verdicts["booster"].state == ("outranked" if purpose != "marketing" and not refused else "chosen")


def test_a_source_that_nobody_is_asked_about_is_told(texts: dict[str, str]) -> None:
    changes = world(texts)
    changes["contact_policy.yaml"] = "contact_only_when: {marketing consent: marketing_consent}\n"
    warned = [str(found) for found in check(read(texts | changes))]
    assert any("`town` uses `location`, and nobody's consent to that is asked for" in one for one in warned)
    assert not any("uses `location`" in str(found) for found in check(read(texts | world(texts))))


def test_a_source_that_cannot_be_is_refused(texts: dict[str, str]) -> None:
    changes = world(texts)
    changes["contact_policy.yaml"] = POLICY.replace("location:", "locaton:")
    with pytest.raises(PlaybookError, match=r"policy.yaml:3: unknown source `locaton`; did you mean `location`"):
        read(texts | changes)
    vocabulary = changes["vocabulary.yaml"].replace("uses: location", "uses: gps")
    with pytest.raises(PlaybookError, match=r"uses: unknown source `gps`; there are `usage`, `dpi` and `location`"):
        read(texts | world(texts) | {"vocabulary.yaml": vocabulary})


def test_the_last_change_of_a_consent_is_its_proof(bench: Any) -> None:
    agreed = bench.event("profile", identity="crm/1", marketing_consent=True)
    bench.apply(agreed)
    bench.now += DAY
    bench.apply(bench.event("profile", identity="crm/2", marketing_consent=True))  # no change
    assert bench.state().proofs == {"marketing_consent": Proof(True, agreed.happened, "crm/1")}
    bench.apply(bench.event("profile", identity="crm/3", plan="prepaid"))
    stop = bench.reply("STOP")
    bench.apply(stop)
    assert bench.state().proofs == {"marketing_consent": Proof(False, bench.now, stop.identity)}
    late = msgspec.structs.replace(bench.event("profile", identity="crm/4", marketing_consent=True), happened=1)
    bench.apply(late)
    assert bench.state().proofs["marketing_consent"].by == stop.identity, "an older word overrules nothing"


def test_who_explains_shows_the_proof(bench: Any) -> None:
    bench.apply(bench.event("profile", identity="crm/1", plan="prepaid", marketing_consent=True))
    call(bench)
    bench.store.save_playbook(bench.program.playbook.revision, "", bench.program.playbook.texts)
    explanation = Explainer(bench.store, lambda texts: compile_program(read(texts))).decision(1)
    assert explanation is not None
    Console(width=120, file=(out := StringIO())).print(picture(explanation))
    assert "marketing_consent yes since 2026-03-04 12:00:00 UTC crm/1" in " ".join(out.getvalue().split())
    assert plain(explanation)["consents"]["marketing_consent"]["by"] == "crm/1"


def test_a_state_from_before_has_no_proof(bench: Any) -> None:
    bench.profile()
    record = msgspec.msgpack.decode(msgspec.msgpack.encode(bench.state()))
    (place,) = [at for at, name in enumerate(State.__struct_fields__) if name == "proofs"]
    assert read_state(msgspec.msgpack.encode(record[:place])).proofs == {}
