"""What many tests start from: a small playbook, a clock that stands still, an engine on a store in memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import hypothesis
import pytest
import structlog

# One thread for matrix products and trees: more of them wait by spinning, on cores that other tests need.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

from kairos.adapters.memory import MemoryStore
from kairos.domain.event import Event, Notification
from kairos.domain.inputs import Reply
from kairos.domain.subscriber import State
from kairos.engine.engine import Engine
from kairos.engine.program import Program, compile_program
from kairos.engine.work import Answer, Input, Work, decode_state
from kairos.learn import FixedPropensity
from kairos.playbook import read

pytest.register_assert_rewrite("tests.system.ledgers")

# No example is judged by how long it takes: the machine may have been busy.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# A bug that is planted is logged in plain words: with all locals drawn, as structlog would, that takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

# Modules are compiled once, whatever the environment says: tests start processes by the hundred.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """No examples are looked for in the docstrings of tests, which have none: each worker would, for seconds."""
    found = yield
    return [one for one in found if type(one) is pytest.Module]


NOON = 1_772_625_600_000  # Wednesday 2026-03-04 12:00 UTC
HOUR = 3_600_000
MSISDN = "12025550123"

TEXTS = {
    "playbook.yaml": """
name: small
currency: {code: XTS, digits: 2, sign: T$}
languages: [en, fr]
time_zone: UTC
""",
    "vocabulary.yaml": """
events:
  end_of_call:  {service: text, cost: money, balances: balances}
  recharge:     {amount: money}
  data_session: {app: text, bytes: number}
  profile:      {plan: text, language: text, marketing_consent: boolean, open_tickets: number}
wallets:
  main: {unit: money}
  data: {unit: MB, digits: 3}
attributes:
  plan:              {type: text, from: [profile.plan]}
  language:          {type: text, from: [profile.language]}
  marketing_consent: {type: boolean, from: [profile.marketing_consent]}
  open_tickets:      {type: number, from: [profile.open_tickets], default: 0}
  balance:           {type: money, total: main}
  data_left_mb:      {type: number, total: data}
counters:
  recharges_30d: {count: recharge, over: 30 days}
""",
    "offers/booster.yaml": """
offer: booster
title: "{size} for {validity}"
issue: upsell
product: {small: DATA500, large: DATA2G}
variants:
  small: {size: 500 MB, validity: 1 day, price: 10, value: 5}
  large: {size: 2 GB, validity: 7 days, price: 45, value: 24}
answers: {end_of_call: 5 minutes, data_session: 5 minutes}
eligible_when: {prepaid customer: plan = 'prepaid'}
relevant_when: {running low: data_left_mb < 200}
suitable_when: {can afford it: balance >= price}
treatments:
  ride: {channel: notification, message: booster_line}
  own: {channel: sms, message: booster_line}
accept_within: 24 hours
after_decline: 14 days
fulfil: {charge: price, provision: product}
""",
    "offers/top_up.yaml": """
offer: top_up
kind: promise
title: "30 minutes for a recharge of {top_up}"
issue: top_up
product: {ten: VOICE30}
variants:
  ten: {price: 0, top_up: 10, value: 2}
answers: {end_of_call: 5 minutes}
relevant_when: {nearly empty: balance < 5}
treatments:
  ride: {channel: notification, message: top_up_line}
accept_within: 24 hours
after_decline: 14 days
fulfil: {provision: product}
redeemed_by: {recharge: recharge.amount >= top_up}
""",
    "offers/hint.yaml": """
offer: off_peak_hint
kind: care
title: cheaper nights
issue: care
variants:
  night: {price: 0, value: 1}
answers: {end_of_call: 5 minutes}
relevant_when: {dear call: end_of_call.cost >= 3}
treatments:
  ride: {channel: notification, message: hint_line}
accept_within: 1 hour
after_decline: never
""",
    "messages.yaml": """
booster_line:
  en:
    - "Running low? {title} for {price} until {expires}. Reply {number} to {short_code}."
    - "{title} {price}: reply {number}"
  fr: ["Repondez {number} au {short_code}: {title} a {price}", "{title}: {number}"]
top_up_line: {en: "Recharge {top_up} and get 30 minutes."}
hint_line: {en: "Calls cost half after 8 pm."}
confirmed: {en: "Done: {title} for {price}.", fr: "C'est fait: {title}."}
refused_funds: {en: "Not enough balance for {title}."}
refused: {en: "Sorry, {title} is not possible."}
expired: {en: "{title} has ended."}
already_taken: {en: "You have {title} already."}
declined: {en: "All right."}
stopped: {en: "No more offers."}
help: {en: "Reply with the number of an offer, NO, or STOP."}
which_one: {en: "Which one? Reply with its number."}
nothing_open: {en: "There is no open offer."}
""",
    "contact_policy.yaml": """
contact_only_when: {marketing consent: marketing_consent}
pause_while: {open complaint: open_tickets > 0}
quiet_hours: 21:00-08:00
limits:
  - {at_most: 3, per: 1 day, riding: yes}
  - {at_most: 1, per: 1 day, riding: no}
holdout: 0%
""",
    "replies.yaml": """
"5000":
  accept: {en: [YES, OK], fr: [OUI]}
  decline: {en: [NO], fr: [NON]}
  stop: {en: [STOP]}
  help: {en: [HELP]}
  withdraws: [marketing_consent]
  other_services: {BAL: info}
""",
}


@dataclass
class Bench:
    """An engine on a store in memory, whose clock the test turns. Every batch is committed at once."""

    program: Program
    store: MemoryStore = field(default_factory=MemoryStore)
    now: int = NOON
    serial: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine = Engine(self.store, self.program, FixedPropensity(), **self.options)

    def apply(self, *inputs: Input) -> Work:
        work = self.engine.apply(inputs, self.now)
        self.store.commit(work.batch)
        self.engine.flying.remove(work)
        return work

    def event(
        self, kind: str, *, notification: str = "", identity: str = "", msisdn: str = MSISDN, **data: Any
    ) -> Event:
        self.serial += 1
        identity = identity or f"test/{self.serial}"
        regulated = Notification("ocs", "m1", "5000", msisdn, notification, "en", True) if notification else None
        return Event(identity, kind, msisdn, self.now, data, regulated)

    def reply(self, text: str, *, short_code: str = "5000", msisdn: str = MSISDN) -> Reply:
        self.serial += 1
        return Reply(f"reply/{self.serial}", msisdn, short_code, text, self.now)

    def profile(self, **values: Any) -> Answer:
        known: dict[str, Any] = {"plan": "prepaid", "language": "en", "marketing_consent": True} | values
        return self.apply(self.event("profile", **known)).answers[0]

    def state(self, msisdn: str = MSISDN) -> State:
        loaded = self.store.load([msisdn], [])
        return decode_state(loaded.states[loaded.subscribers[msisdn]])


@lru_cache
def _compiled(files: tuple[tuple[str, str], ...]) -> Program:
    return compile_program(read(dict(files)))


def compiled(texts: Mapping[str, str]) -> Program:
    """The program of these files. Compiling takes longer than most tests, and no program ever changes: it is kept."""
    return _compiled(tuple(texts.items()))


@pytest.fixture
def texts() -> dict[str, str]:
    return dict(TEXTS)


@pytest.fixture
def small(texts: dict[str, str]) -> Program:
    return compiled(texts)


@pytest.fixture
def bench(small: Program) -> Bench:
    return Bench(small)


@pytest.fixture(scope="session")
def bench_with() -> Callable[..., Bench]:
    """A bench on the small playbook with other files, or other options of the engine."""

    def build(changes: dict[str, str] | None = None, **options: Any) -> Bench:
        return Bench(compiled(TEXTS | (changes or {})), options=options)

    return build
