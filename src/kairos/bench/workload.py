"""The workload of `bench events`: a playbook of 50 offers, a million subscribers, and events in a fixed mix.

Half of the events meet a gate (no consent). The other half reach arbitration with at least five candidates; half of
those are said in a message of their own, and half find no text that can be said (a placeholder's value is unknown). A
tenth of the events hits a hot hundredth of the subscribers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from kairos import enrich
from kairos.domain.event import Event
from kairos.domain.subscriber import Bucket, Contact, State
from kairos.engine.program import Program
from kairos.engine.work import encode
from kairos.playbook import ANSWERS

OFFERS = 50
ALWAYS = 8  # offers that every subscriber with consent may have
START = 1_772_625_600_000  # 2026-03-04 12:00 UTC
DAY = 86_400_000

PLAYBOOK = """
name: bench
currency: {code: XTS, digits: 2, sign: T$}
languages: [en]
time_zone: UTC
"""

VOCABULARY = """
events:
  end_of_call:  {service: text, cost: money, balances: balances, duration_s: number}
  recharge:     {amount: money}
  data_session: {app: text, bytes: number}
  profile:      {plan: text, language: text, segment: text, town: text, device: text, age: number, tenure: number,
                 arpu: money, score: number, consent: boolean, tickets: number, nickname: text}
wallets:
  main: {unit: money}
  data: {unit: MB, digits: 3}
  voice: {unit: min, digits: 3}
attributes:
  plan:         {type: text,    from: [profile.plan]}
  language:     {type: text,    from: [profile.language]}
  segment:      {type: text,    from: [profile.segment]}
  town:         {type: text,    from: [profile.town]}
  device:       {type: text,    from: [profile.device]}
  nickname:     {type: text,    from: [profile.nickname]}
  age:          {type: number,  from: [profile.age]}
  tenure:       {type: number,  from: [profile.tenure]}
  arpu:         {type: money,   from: [profile.arpu]}
  score:        {type: number,  from: [profile.score]}
  consent:      {type: boolean, from: [profile.consent]}
  tickets:      {type: number,  from: [profile.tickets], default: 0}
  last_service: {type: text,    from: [end_of_call.service]}
  balance:      {type: money,   total: main}
  data_left:    {type: number,  total: data}
  expires_in_h: {type: number,  soonest_expiry: [data, voice]}
counters:
  calls_7d:       {count: end_of_call, over: 7 days}
  spend_7d:       {sum: end_of_call.cost, over: 7 days}
  spend_1h:       {sum: end_of_call.cost, over: 1 hour}
  voice_s_30d:    {sum: end_of_call.duration_s, over: 30 days}
  data_7d:        {sum: data_session.bytes, over: 7 days}
  video_30d:      {count: data_session, where: "data_session.app = 'video'", over: 30 days}
  recharges_30d:  {count: recharge, over: 30 days}
  recharged_30d:  {sum: recharge.amount, over: 30 days}
  largest_30d:    {max: recharge.amount, over: 30 days}
"""

OFFER = """
offer: offer_{n}
title: "{{size}} for {{validity}}"
issue: issue_{issue}
product: {{only: PRODUCT_{n}}}
variants:
  only: {{size: {size} MB, validity: {days} days, price: {price}, value: {value}}}
answers: {{end_of_call: 5 minutes}}
eligible_when: {{{eligible}}}
relevant_when: {{{relevant}}}
suitable_when: {{{suitable}}}
treatments:
  own: {{channel: sms, message: line_{n}}}
accept_within: 5 minutes
after_decline: 14 days
fulfil: {{charge: price, provision: product}}
"""

POLICY = """
contact_only_when: {consent given: consent}
pause_while: {open complaint: tickets > 0}
quiet_hours: 23:00-05:00
limits:
  - {at_most: 500, per: 1 day, riding: no}
  - {at_most: 100, per: 1 hour, channel: sms}
  - {at_most: 300, per: 1 day, each: issue}
holdout: 0%
"""

REPLIES = """
"5000":
  accept: {en: [YES]}
  decline: {en: [NO]}
  stop: {en: [STOP]}
  withdraws: [consent]
"""

MESSAGES = "\n".join(f'{name}: {{en: "All right."}}' for name in ANSWERS)


def texts(seed: int) -> dict[str, str]:
    """The playbook: ALWAYS offers for anybody, the rest under three rules that each hold about half the time."""
    chance = random.Random(seed)
    files = {
        "playbook.yaml": PLAYBOOK,
        "vocabulary.yaml": VOCABULARY,
        "contact_policy.yaml": POLICY,
        "replies.yaml": REPLIES,
    }
    lines = []
    for n in range(OFFERS):
        price = chance.randrange(5, 15)
        files[f"offers/offer_{n}.yaml"] = OFFER.format(
            n=n,
            issue=n % 7,
            size=100 * (n + 1),
            days=1 + n % 30,
            price=price,
            value=f"{chance.uniform(1, price):.2f}",
            eligible=f"age {n}: age >= {18 if n < ALWAYS else chance.randrange(40, 60)}",
            relevant=f"spend {n}: spend_7d >= 0"
            if n < ALWAYS
            else f"score {n}: score < {chance.uniform(0.4, 0.6):.3f}",
            suitable="can afford it: balance >= price"
            if n < ALWAYS
            else f"tenure {n}: tenure > {chance.randrange(40, 80)}",
        )
        lines.append(
            f'line_{n}: {{en: "Dear {{nickname}}: {{title}} for {{price}}. Reply {{number}} to {{short_code}}."}}'
        )
    files["messages.yaml"] = "\n".join(lines) + "\n" + MESSAGES + "\n"
    return files


def msisdn(subscriber: int) -> str:
    """A number under country code 999, which is nobody's."""
    return f"999{subscriber:09d}"


def state(program: Program, subscriber: int, chance: random.Random) -> bytes:
    """A subscriber of about 1 KB: every attribute known, counters filled, a few contacts and identities."""
    made: State = enrich.new_state(program.plan, subscriber, msisdn(subscriber), START - 400 * DAY)
    values: dict[str, Any] = {
        "plan": "prepaid",
        "language": "en",
        "segment": chance.choice(["youth", "family", "business", "senior"]),
        "town": f"Town of {chance.randrange(300)}",
        "device": f"Handset model {chance.randrange(500)}",
        "nickname": "friend" if subscriber // 2 % 2 else None,
        "age": float(chance.randrange(18, 80)),
        "tenure": float(chance.randrange(1, 120)),
        "arpu": chance.randrange(100, 5000),
        "score": chance.random(),
        "consent": subscriber % 2 == 0,
        "tickets": 0.0,
        "last_service": "voice",
    }
    for name, value in values.items():
        enrich.set_attribute(program.plan, made, name, value, START - 40 * DAY)
    for place, counter in enumerate(program.playbook.vocabulary.counters.values()):
        first = START // counter.step - 6
        buckets = [part for n in range(4) for part in (first + n, chance.randrange(1, 1_000_000))]
        enrich.put_buckets(made, place, buckets, program.plan.totals[place])
    made.buckets = [
        Bucket("main", chance.randrange(1500, 9000)),
        Bucket("data", chance.randrange(1, 900_000), START + 3 * DAY),
        Bucket("voice", chance.randrange(1, 90_000), START + 2 * DAY),
    ]
    made.announced = dict.fromkeys(("main", "data", "voice"), START - DAY)
    made.contacts = [Contact(START - n * 3_600_000, n, "sms", "offer_0", "issue_0", False) for n in range(5, 0, -1)]
    for n in range(14):
        enrich.remember(made, f"earlier/{n}", START - 3_600_000 + n)
    return encode(made)


def events(subscribers: int, count: int, seed: int) -> Iterator[Event]:
    """`count` events, 10 ms apart."""
    chance = random.Random(seed)
    hot = subscribers // 100
    for n in range(count):
        subscriber = chance.randrange(hot) if chance.random() < 0.1 else chance.randrange(subscribers)
        yield event(chance, n, msisdn(subscriber + 1), START + n * 10)


def event(chance: random.Random, n: int, number: str, happened: int) -> Event:
    """The end of a call."""
    balances = [
        Bucket("main", chance.randrange(1500, 9000)),
        Bucket("data", chance.randrange(900_000), START + 3 * DAY),
    ]
    data = {"service": "voice", "cost": chance.randrange(300), "balances": balances, "duration_s": 60.0}
    return Event(f"ocs/{n}", "end_of_call", number, happened, data)
