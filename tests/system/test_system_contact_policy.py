"""No limit is ever exceeded by the running server, over HTTP and SMPP at once; whoever is held out hears no marketing.

Many subscribers, of whom each may be called, surf, complain, answer and be written to by other systems in several tasks
at once, so that one's events meet in one batch, in two that are under way, or in either order. The playbook's limits
are tight. What came of it is judged by the operator's side alone (`tests.system.contacts`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.noon import noon
from tests.system.contacts import (
    CARE,
    Contact,
    No,
    Rests,
    Rule,
    Seen,
    Silence,
    broken_silence,
    exceeded,
    fullest,
    most_held,
    reached,
    unheeded,
)

from kairos.simulate import Operator, OperatorSettings
from kairos.smpp import BindTransceiver, Client, Pdu, Session, SubmitSm

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
SEED = "tight"
HOLDOUT, CONTROL = 0.3, 0.4
VOLUME, SPEND = 6, 1500  # offers of alpha a day; minor units of what epsilon costs a day
WAIT = 60.0  # seconds for an answer; only ever used up where something is broken

# name: issue, purpose, price, value, accept_within, after_decline, more
MINDED = f"volume: {{at_most: {VOLUME}, per: calendar day}}"
PAID_FOR = f"budget: {{spend: {SPEND // 100}, per: calendar day}}"
ACTIONS = {
    "alpha": ("upsell", "marketing", 1, 9, "1 hour", "{offer: 1 hour, issue: 5 seconds}", MINDED),
    "epsilon": ("upsell", "marketing", 3, 8, "1 hour", "1 hour", PAID_FOR),
    "beta": ("upsell", "marketing", 1, 7, "1 second", "4 seconds", f"control: {CONTROL:.0%}"),
    "delta": ("extra", "marketing", 2, 6, "1 second", "{offer: 3 seconds, everything: 1 second}", ""),
    "gamma": ("partner", "third_party", 1, 5, "1 second", "never", ""),
}
RESTS = {
    "alpha": Rests(3600, 5),
    "epsilon": Rests(3600),
    "beta": Rests(4),
    "delta": Rests(3, everything=1),
    "gamma": Rests(10**9),
    "hint": Rests(0),
}
ISSUES = {name: issue for name, (issue, *_) in ACTIONS.items()} | {"hint": "care", "games": ""}
PURPOSES = {name: purpose for name, (_, purpose, *_) in ACTIONS.items()} | {"hint": CARE, "games": "third_party"}

RULES = (
    Rule("{at_most: 4, per: 2 seconds, riding: yes}", 4, 2.0, lambda c: c.riding),
    Rule("{at_most: 1, per: 1 second, riding: no}", 1, 1.0, lambda c: not c.riding),
    Rule("{at_most: 2, per: 4 seconds, channel: sms}", 2, 4.0, lambda c: not c.riding),
    Rule("{at_most: 3, per: 3 seconds, issue: upsell}", 3, 3.0, lambda c: c.issue == "upsell"),
    Rule("{at_most: 2, per: 4 seconds, purpose: third_party}", 2, 4.0, lambda c: c.purpose == "third_party"),
    Rule("{at_most: 2, per: 3 seconds, each: offer}", 2, 3.0, group=lambda c: c.action),
    Rule("{at_most: 2, per: 3 seconds, each: issue, riding: yes}", 2, 3.0, lambda c: c.riding, lambda c: c.issue),
    Rule("{at_most: 1, per: 3 seconds, offer: hint}", 1, 3.0, lambda c: c.action == "hint"),
    Rule("{at_most: 3, per: calendar day, riding: no}", 3, "day", lambda c: not c.riding),
    Rule("{at_most: 7, per: calendar week, purpose: marketing}", 7, "week", lambda c: c.purpose == "marketing"),
    Rule("{at_most: 3, per: calendar day, offer: beta}", 3, "day", lambda c: c.action == "beta"),
)

OFFER = """
offer: {name}
title: {title}
issue: {issue}
purpose: {purpose}
product: MARKET_{product}
variants: {{one: {{price: {price}, value: {value}}}}}
answers: {{end_of_call: 5 minutes, data_session: 5 minutes}}
treatments:
  ride: {{channel: notification, message: {name}_line}}
  own: {{channel: sms, message: {name}_sms}}
accept_within: {accept_within}
after_decline: {after_decline}
fulfil: {{charge: price, provision: product}}
{more}
"""
HINT = """
action: hint
kind: care
title: Hint
issue: care
variants: {one: {value: 1}}
answers: {end_of_call: 5 minutes}
relevant_when: {a dear call: end_of_call.cost >= 0.40}
treatments: {ride: {channel: notification, message: hint_line}}
accept_within: 1 second
after_decline: 1 second
"""
POLICY = """
contact_only_when: {{marketing consent: marketing_consent}}
pause_while: {{open complaint: open_tickets > 0}}
limits:
{limits}
holdout: {holdout:.0%}
"""
VOCABULARY = """
events:
  end_of_call: {service: text, cost: money, balances: balances}
  recharge: {amount: money, balances: balances}
  data_session: {app: text, bytes: number}
  profile: {plan: text, language: text, time_zone: text, marketing_consent: boolean}
  ticket: {open: number}
wallets:
  main: {unit: money}
  data: {unit: MB, digits: 3}
  voice: {unit: min, digits: 3}
attributes:
  plan: {type: text, from: [profile.plan]}
  language: {type: text, from: [profile.language]}
  time_zone: {type: text, from: [profile.time_zone]}
  marketing_consent: {type: boolean, from: [profile.marketing_consent]}
  open_tickets: {type: number, from: [ticket.open], default: 0}
  balance: {type: money, total: main}
"""
ANSWERS = """
hint_line: {en: "Hint: calls cost half at night."}
confirmed: {en: "Done: {title} for {price}."}
refused_funds: {en: "Not enough balance for {title}."}
refused: {en: "Sorry, {title} is not possible."}
expired: {en: "{title} has ended."}
already_taken: {en: "You have {title} already."}
declined: {en: "All right, no {title} ({number})."}
stopped: {en: "No more offers."}
help: {en: "Say the number of an offer, NO, or STOP."}
which_one: {en: "Which one? Say its number."}
nothing_open: {en: "There is no open offer."}
"""
REPLIES = """
"5000":
  accept: {en: [YES]}
  decline: {en: [NO]}
  stop: {en: [STOP]}
  help: {en: [HELP]}
  withdraws: [marketing_consent]
"""


# Other systems: `games`, of the example, over HTTP; over SMPP, by accounts of their own, another with the same right,
# and one for alarms.
OTHERS = """
[accounts.play]
[senders.play]
ids = ["Games"]
sends = "third_party"
[accounts.alert]
[senders.alert]
ids = ["Alert"]
sends = "emergency"
"""
MESSAGE = "/tmf-api/communicationManagement/v4/communicationMessage"


def write_playbook(folder: Path, zone: str) -> Path:
    """The playbook, with the example's settings; the settings file."""
    texts = {
        "playbook.yaml": f"name: tight\ncurrency: {{code: XTS, digits: 2, sign: T$}}\nlanguages: [en]\n"
        f"time_zone: {zone}\nseed: {SEED}\n",
        "vocabulary.yaml": VOCABULARY,
        "contact_policy.yaml": POLICY.format(
            limits="\n".join(f"  - {rule.written}" for rule in RULES), holdout=HOLDOUT
        ),
        "replies.yaml": REPLIES,
        "actions/hint.yaml": HINT,
    }
    messages = ANSWERS
    for name, (issue, purpose, price, value, accept_within, after_decline, more) in ACTIONS.items():
        texts[f"offers/{name}.yaml"] = OFFER.format(
            name=name,
            title=name.capitalize(),
            product=name.upper(),
            issue=issue,
            purpose=purpose,
            price=price,
            value=value,
            accept_within=accept_within,
            after_decline=after_decline,
            more=more,
        )
        messages += f'{name}_line: {{en: "{{title}} {{price}}. Reply {{number}}"}}\n'
        messages += f'{name}_sms: {{en: "{{title}} {{price}} {{data_session.app}}. Reply {{number}}"}}\n'
    texts["messages.yaml"] = messages
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    shutil.copy(EXAMPLE / "kairos.toml", folder / "kairos.toml")
    with (folder / "kairos.toml").open("a", encoding="utf-8") as settings:
        settings.write(OTHERS)
    return folder / "kairos.toml"


@dataclass
class Life:
    """What subscribers do, and what is known of it. Times in seconds of the operator's timer."""

    system: Any
    seed: int
    people: list[str]
    seen: Seen
    posted: dict[str, float] = field(default_factory=dict)  # when an event was handed over, by the mark that it carries
    serial: Iterator[int] = field(default_factory=count)
    answering: dict[str, asyncio.Lock] = field(default_factory=dict)  # one reply at a time, so that answers are its own
    complaining: dict[str, asyncio.Lock] = field(default_factory=dict)
    lives: int = 0
    declined: set[tuple[str, str]] = field(default_factory=set)  # who said no, and to which number
    odd: list[str] = field(default_factory=list)  # what doors answered and should not have
    binds: dict[str, Client] = field(default_factory=dict)  # of other systems
    alarms: list[tuple[str, str]] = field(default_factory=list)  # that were acknowledged: to whom, and the text

    @property
    def operator(self) -> Operator:
        operator: Operator = self.system.operator
        return operator

    async def live(self, seconds: float, people: Sequence[str], workers: int = 12, pause: float = 0.08) -> None:
        """A while of all that, and until nothing of it is under way any more."""
        self.lives += 1
        over = time.perf_counter() + seconds

        async def work(number: int) -> None:
            chance = random.Random(f"{self.seed}/{self.lives}/{number}")
            while time.perf_counter() < over:
                await self.something(chance.choice(people), chance)
                await asyncio.sleep(chance.uniform(0, pause))

        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(work(number))
        await self.system.until(lambda: self.operator.quiet, "an end of what is under way")
        await self.system.drained()
        await asyncio.sleep(0.1)  # what the SMSC has taken reaches its handset

    async def something(self, msisdn: str, chance: random.Random) -> None:
        what = chance.choices(
            ("call", "session", "twice", "burst", "yes", "no", "stop", "complain", "agree", "try", "games", "alarm"),
            (18, 14, 4, 14, 18, 20, 2, 4, 6, 2, 8, 2),
        )[0]
        match what:
            case "call":
                await self.call(msisdn, chance)
            case "session":
                await self.session(msisdn)
            case "twice":
                await self.session(msisdn, times=2)
            case "burst":
                doings = [self.call(msisdn, chance), self.session(msisdn), self.call(msisdn, chance)]
                await asyncio.gather(*doings, self.session(msisdn), self.session(msisdn))
            case "complain":
                await self.complain(msisdn, chance)
            case "agree":
                await self.agree(msisdn)
            case "try":
                await self.tried(msisdn, chance.choice(list(ACTIONS)))
            case "games":
                await asyncio.gather(self.partner(msisdn), self.partner(msisdn, "play"), self.session(msisdn))
            case "alarm":
                await self.alarm(msisdn)
            case _:
                await self.answer(msisdn, what, chance)

    # -- over SMPP -----------------------------------------------------------------------------------------------------

    async def call(self, msisdn: str, chance: random.Random) -> None:
        notification = await self.operator.end_of_call(msisdn, "voice", chance.choice((1, 1, 1, 9)))
        assert notification is not None

    async def answer(self, msisdn: str, what: str, chance: random.Random) -> None:
        async with self.answering.setdefault(msisdn, asyncio.Lock()):
            handset = self.operator.handsets[msisdn]
            numbers = [offer.number for offer in handset.offers[-3:] if offer.number] or ["1"]
            text = {"yes": chance.choice((numbers[-1], "YES", *numbers)), "stop": "STOP"}.get(
                what, chance.choice(("NO", f"NO {numbers[-1]}"))
            )
            before, asked = len(handset.inbox), time.perf_counter()
            self.operator.reply(msisdn, text)
            while time.perf_counter() < asked + WAIT:
                for seen in handset.inbox[before:]:
                    if seen.kind == "answer":
                        self.heard(msisdn, asked, seen.text, seen.at)
                        return
                await asyncio.sleep(0.005)
            handset.waiting = None
            self.odd.append(f"{msisdn} got no answer to {text}")

    def heard(self, msisdn: str, asked: float, text: str, told: float) -> None:
        """What came back to a reply."""
        declined = re.fullmatch(r"All right, no (\w+) \((\d+)\)\.", text)
        if declined and (msisdn, declined[2]) not in self.declined:  # to say so again begins nothing anew
            self.declined.add((msisdn, declined[2]))
            self.seen.nos.append(No(msisdn, declined[1].lower(), asked, told))
        if text == "No more offers.":
            self.seen.stops.append(No(msisdn, "", asked, told))
            self.seen.silences.append(Silence(msisdn, "STOP", told))
        if text.startswith(("Sorry", "Not enough")):
            self.odd.append(text)

    # -- over HTTP -----------------------------------------------------------------------------------------------------

    async def post(self, kind: str, msisdn: str, data: dict[str, object], times: int = 1) -> None:
        """An event, posted so often at the same time; returns when it is acknowledged."""
        body = msgspec.json.encode([self.operator.feed.event(kind, msisdn, data)])
        answers = await asyncio.gather(*[self.system.post(body) for _ in range(times)])
        results = sorted(answer.json()["results"][0]["status"] for answer in answers)
        if results != ["applied", *["duplicate"] * (times - 1)]:
            self.odd.append(f"an event posted {times} times: {results}")

    async def session(self, msisdn: str, times: int = 1) -> None:
        mark = f"x{next(self.serial)}x"
        self.posted[mark] = time.perf_counter()
        await self.post("data_session", msisdn, {"app": mark, "bytes": 1000}, times)

    async def complain(self, msisdn: str, chance: random.Random) -> None:
        async with self.complaining.setdefault(msisdn, asyncio.Lock()):
            await self.post("ticket", msisdn, {"open": 1})
            silence = Silence(msisdn, "open complaint", time.perf_counter())
            self.seen.silences.append(silence)
            doings = [self.call(msisdn, chance), self.session(msisdn), asyncio.sleep(chance.uniform(0, 0.5))]
            await asyncio.gather(*doings)
            silence.until = time.perf_counter()
            await self.post("ticket", msisdn, {"open": 0})

    async def agree(self, msisdn: str) -> None:
        """Whoever said STOP thinks better of it."""
        async with self.answering.setdefault(msisdn, asyncio.Lock()):
            for silence in self.seen.silences:
                if silence.msisdn == msisdn and silence.why == "STOP":
                    silence.until = min(silence.until, time.perf_counter())
            await self.post("profile", msisdn, {"marketing_consent": True})

    async def tried(self, msisdn: str, action: str) -> None:
        """Somebody asks for an offer to be sent now: nobody here is a test subscriber."""
        body = {"msisdn": f"+{msisdn}", "offer": action}
        answer = await self.system.http.post(f"{self.system.server.url}/v1/trials", json=body)
        if answer.is_success:
            self.odd.append(f"a trial was taken: {answer.text}")

    # -- other systems -------------------------------------------------------------------------------------------------

    async def partner(self, msisdn: str, account: str = "") -> None:
        """Another system's marketing: over HTTP, or over SMPP by that account."""
        mark = f"x{next(self.serial)}x"
        self.posted[mark] = time.perf_counter()
        if account:
            await self.submit(account, "Games", msisdn, f"Games {mark}")
            return
        to = [{"phoneNumber": f"+{msisdn}"}]
        body = {"messageType": "SMS", "content": f"Games {mark}", "sender": {"name": "Games"}, "receiver": to}
        answer = await self.system.http.post(f"{self.system.server.url}{MESSAGE}", json=body)
        if answer.status_code != 201:
            self.odd.append(f"a message was not taken: {answer.text}")

    async def alarm(self, msisdn: str) -> None:
        text = f"Leave now x{next(self.serial)}x"
        if (await self.submit("alert", "Alert", msisdn, text)).ok:
            self.alarms.append((msisdn, text))
        else:
            self.odd.append("an alarm was refused")

    async def submit(self, account: str, source: str, msisdn: str, text: str) -> Any:
        pdu = SubmitSm(source_addr=source, destination_addr=msisdn, short_message=text.encode("ascii"))
        return await self.binds[account].request(pdu, WAIT)

    # -- what was seen -------------------------------------------------------------------------------------------------

    def gather(self) -> Seen:
        """With all that handsets saw."""
        self.seen.contacts.clear()
        for msisdn in self.people:
            for seen in self.operator.handsets[msisdn].inbox:
                action = next((name for name in PURPOSES if name.capitalize() in seen.text), "")
                if seen.kind == "answer" or seen.repeated or not action:
                    continue
                riding = seen.kind == "notification"
                mark = re.search(r"x\d+x", seen.text)
                assert riding or mark, seen
                after = self.operator.notifications[seen.ref].submitted if riding else self.posted[mark[0]]  # type: ignore[index]
                told = Contact(msisdn, action, ISSUES[action], PURPOSES[action], riding, after, seen.at)
                self.seen.contacts.append(told)
        return self.seen


@asynccontextmanager
async def introduced(launch: Any, folder: Path, port: int, seed: int, breaking: str = "") -> AsyncIterator[Life]:
    """Subscribers who live by that seed. `breaking`: code that the server runs before it starts."""
    print(f"seed {seed}")  # noqa: T201
    zone = noon()
    settings = write_playbook(folder / "tight", zone)
    around = OperatorSettings(subscribers=140, smsc_port=port, receipt_after=0.02)
    secrets = {f"ACCOUNTS_{name}_PASSWORD": "pw" for name in ("PLAY", "ALERT")}
    async with launch(operator=around, settings=settings, breaking=breaking, **secrets) as system:
        people = [one.msisdn for one in system.operator.subscribers if one.language == "en"]
        known = [system.introduction(msisdn, main=10_000_000, time_zone=zone) for msisdn in people]
        await system.tell(chain.from_iterable(known))
        wall = time.time() - time.perf_counter() - 3600 * int(zone.removeprefix("Etc/GMT") or 0)
        life = Life(system, seed, people, Seen(wall))
        for name in ("play", "alert"):
            life.binds[name] = Client("127.0.0.1", system.server.ports["smpp_port"], bound_as(name), nothing)
            await life.binds[name].start()
            await life.binds[name].bound()
        try:
            yield life
        finally:
            await asyncio.gather(*(client.close() for client in life.binds.values()))


def bound_as(name: str) -> BindTransceiver:
    return BindTransceiver(system_id=name, password="pw")


async def nothing(_: Session, pdu: Pdu) -> Pdu:
    return pdu.response()


def unheard(life: Life) -> list[str]:
    """Alarms that are not on their handset once, whatever silence holds there."""
    shown = Counter((who, seen.text) for who, of in life.operator.handsets.items() for seen in of.inbox)
    return [f"alarm: {who} saw `{text}` {shown[who, text]} times" for who, text in life.alarms if shown[who, text] != 1]


def drawn(salt: str, subscriber: int, share: float) -> bool:
    """Whether a group has a subscriber, as docs/playbook.md says: always the same ones."""
    return (
        int.from_bytes(hashlib.blake2b(f"{salt}/{subscriber}".encode(), digest_size=8).digest(), "big") < share * 2**64
    )


def broken(life: Life) -> list[str]:
    """Everything that was not kept."""
    seen, ocs = life.gather(), life.operator.ocs
    ids = {state.msisdn: state.id for state in life.system.states().values()}
    held_out = {one for one in life.people if drawn(SEED, ids[one], HOLDOUT)}
    control = {one for one in life.people if drawn(f"{SEED}/beta", ids[one], CONTROL)}
    assert held_out
    assert control - held_out
    assert set(life.people) - control - held_out
    found = [*life.odd, *unheard(life), *exceeded(seen, RULES), *unheeded(seen, RESTS, ISSUES), *broken_silence(seen)]
    found += [*reached(seen, "", held_out, "holdout"), *reached(seen, "beta", control, "control group")]
    held = most_held(seen, "alpha")
    found += [f"volume of alpha: {held} held"] if held > VOLUME else []
    owed = 300 * most_held(seen, "epsilon")
    found += [f"budget of epsilon: {owed} held"] if owed > SPEND else []
    charged = {name: [one.charged for one in ocs.orders.values() if one.request.action == name] for name in ACTIONS}
    found += [f"volume of alpha: {charged['alpha']} charged"] if len(charged["alpha"]) > VOLUME else []
    found += [f"budget of epsilon: {charged['epsilon']} charged"] if sum(charged["epsilon"]) > SPEND else []
    found += [f"holdout: {one} was charged" for one in held_out if ocs.orders_of.get(one)]
    return found


def strained(life: Life) -> dict[str, int]:
    """How far each limit was from being reached: 0 where it was."""
    left = {rule.written: rule.at_most - fullest(life.seen, rule)[0] for rule in RULES}
    return left | {
        "volume of alpha": VOLUME - most_held(life.seen, "alpha"),
        "budget of epsilon": SPEND // 300 - most_held(life.seen, "epsilon"),
    }


async def test_no_limit_is_exceeded_and_a_no_is_heeded_over_http_and_smpp_at_once(
    launch: Any, a_free_port: Any, tmp_path: Path
) -> None:
    async with introduced(launch, tmp_path, a_free_port(), seed=1) as life:
        await life.live(7, life.people[:30])
        assert broken(life) == []
        for start in range(30, len(life.people), 10):  # until every limit has been reached; if it is busy, nearly
            if not any(strained(life).values()):
                break
            await life.live(3, life.people[start : start + 10])
            assert broken(life) == []
        assert sum(left > 0 for left in strained(life).values()) <= 2, strained(life)
        assert {one.action for one in life.seen.nos} >= {"alpha", "beta", "delta"}
        assert {one.why for one in life.seen.silences} == {"STOP", "open complaint"}
        assert {one.action for one in life.seen.contacts} >= {"games", "hint"}
        assert life.alarms


@pytest.mark.long
async def test_nor_in_minutes_of_chance(launch: Any, a_free_port: Any, tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    async with introduced(launch, tmp_path, a_free_port(), seed) as life:
        await life.live(120, life.people)
        assert broken(life) == [], f"seed {seed}"


# What the server runs before it starts, and what has to be found then.
MUTANTS = {
    "no limit counts": (
        "import kairos.decide.limits as m; m._over = lambda *_: iter(())",
        r"at_most: 4, per: 2 seconds, riding: yes",
    ),
    "each limit allows one more": (
        "import kairos.decide.limits as m; from dataclasses import replace; over = m._over\n"
        "m._over = lambda program, limit, *rest: over(program, replace(limit, at_most=limit.at_most + 1), *rest)",
        r"at_most: 1, per: 1 second, riding: no",
    ),
    "windows are a fifth too short": (
        "import kairos.decide.limits as m; from dataclasses import replace; over = m._over\n"
        "m._over = lambda program, limit, *rest: over(program, replace(limit, per=limit.per * 4 // 5), *rest)",
        r"per: \d seconds",
    ),
    "calendars begin with the minute": (
        "import kairos.decide.limits as m; m.span = lambda unit, zone, now: (now // 1000 * 1000, now)",
        r"per: calendar",
    ),
    "purposes do not count": (
        "import kairos.decide.limits as m; matches = m._matches\n"
        "m._matches = lambda limit, contact: not limit.purposes and matches(limit, contact)",
        r"purpose: third_party",
    ),
    "what is under way is not seen": (
        "from kairos.engine.engine import Engine; Engine.overlay = lambda *_: None",
        r"at_most",
    ),
    "a no is not heeded": (
        "import kairos.decide.limits as m; m._resting = lambda program, cooldown: (0, '')",
        r"^declined: ",
    ),
    "an issue does not rest": (
        "import kairos.decide.limits as m; rests = m._resting\n"
        "m._resting = lambda program, cooldown: (0, '') if cooldown.issue else rests(program, cooldown)",
        r"^issue declined: ",
    ),
    "not everything rests": (
        "import kairos.decide.limits as m; rests = m._resting\n"
        "m._resting = lambda program, no: rests(program, no) if no.action or no.issue else (0, '')",
        r"^everything declined: ",
    ),
    "STOP stops nothing": (
        "import kairos.engine.replies as m; from kairos.domain import subscriber; done = m._carry_out\n"
        "m._carry_out = lambda engine, work, state, understood, reply: None if understood.meaning == 'stop' "
        "else done(engine, work, state, understood, reply)",
        r"^STOP: ",
    ),
    "a complaint pauses nothing": (
        "import kairos.decide.program as m; made = m._gates\n"
        "m._gates = lambda *of: [pair for pair in made(*of) if pair[1].name != 'open complaint']",
        r"^open complaint: ",
    ),
    "budgets allow one more": (
        "import kairos.decide.budgets as m; allowed = m.allowed_by\n"
        "m.allowed_by = lambda budget, *rest: allowed(budget, *rest) * 7 // 6",
        r"^volume of alpha: ",
    ),
    "money is not counted": (
        "import kairos.decide.budgets as m; allowed = m.allowed_by\n"
        "m.allowed_by = lambda budget, *rest: allowed(budget, *rest) * (2 if budget.counts == 'price' else 1)",
        r"^budget of epsilon: ",
    ),
    "other systems' messages are no contacts": (
        "import kairos.engine.passages as m; m.minding = lambda _: ()",
        r"riding: no",
    ),
    "other systems pass no policy": (
        "import kairos.engine.passages as m; m.passes = lambda *_: m.PASSES",
        r"^everything declined: games",
    ),
    "an alarm minds the policy": (
        "from kairos.domain.passage import SENDS; SENDS['emergency'] = 'marketing'",
        r"^an? alarm",
    ),
    "nobody is held out": (
        "import kairos.decide.gates as m; drawn = m.held_out\n"
        "m.held_out = lambda seed, *rest: '/' in seed and drawn(seed, *rest)",
        r"^holdout: ",
    ),
    "nobody is in a control group": (
        "import kairos.decide.gates as m; drawn = m.held_out\n"
        "m.held_out = lambda seed, *rest: '/' not in seed and drawn(seed, *rest)",
        r"^control group: ",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS)
async def test_whatever_is_broken_in_the_server_is_found(
    launch: Any, a_free_port: Any, tmp_path: Path, mutant: str
) -> None:
    breaking, sign = MUTANTS[mutant]
    async with introduced(launch, tmp_path, a_free_port(), 1, breaking) as life:
        await life.live(10, life.people[:40])
        found = broken(life)
    assert [one for one in found if re.search(sign, one)], found
