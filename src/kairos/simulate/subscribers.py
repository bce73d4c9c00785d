"""The synthetic population: who they are, what they use, and what they like. All of it invented from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

# Numbers +1 NPA 555 0100 to 0199 are reserved for fiction in every area code: a hundred subscribers each.
_RESERVED_IN = """
202 206 210 212 213 214 215 216 229 240 248 253 267 269 281 301 302 303 304 305
307 308 309 310 312 313 314 315 316 317 319 320 323 330 334 337 346 351 352 360
385 401 402 404 405 406 407 408 409 410 412 413 414 415 417 419 423 424 425 432
434 435 440 443 469 470 478 479 480 484 501 502 503 504 505 507 508 509 510 512
513 515 516 517 518 520 530 540 541 551 559 561 562 563 567 570 571 573 574 580
"""
AREA_CODES = tuple(_RESERVED_IN.split())
MOST = len(AREA_CODES) * 100

# Somewhere in the world it is day: own messages have quiet hours where the subscriber is, and a demo runs at any hour.
TIME_ZONES = (
    "America/Los_Angeles",
    "America/New_York",
    "Europe/Paris",
    "Asia/Dubai",
    "Asia/Tokyo",
    "Pacific/Auckland",
)
LANGUAGES: Mapping[str, int] = {"en": 60, "fr": 25, "ar": 15}  # weights


@dataclass(frozen=True, slots=True)
class Persona:
    """A sort of subscriber. Ranges are inclusive; money in minor units, data in MB, voice in minutes."""

    name: str
    weight: int
    uses: Mapping[str, int]  # service -> weight
    apps: Mapping[str, int]  # app -> weight
    main: tuple[int, int]
    data_mb: tuple[int, int]
    voice_min: tuple[int, int]
    top_ups: tuple[int, ...]  # the amounts that they usually recharge
    sessions: tuple[int, int]  # data sessions of the last 30 days
    session_mb: tuple[int, int]
    calls: tuple[int, int]  # calls of the last 7 days
    call_cost: tuple[int, int]  # minor units
    recharges: tuple[int, int]  # of the last 30 days


PERSONAS = (
    Persona(
        name="streamer",
        weight=30,
        uses={"data": 8, "voice": 1, "vas": 1},
        apps={"video": 8, "social": 2},
        main=(150, 1200),
        data_mb=(0, 180),
        voice_min=(0, 0),
        top_ups=(500, 1000),
        sessions=(7, 12),
        session_mb=(120, 400),
        calls=(0, 3),
        call_cost=(10, 90),
        recharges=(2, 4),
    ),
    Persona(
        name="listener",
        weight=15,
        uses={"data": 6, "voice": 2, "sms": 2},
        apps={"music": 8, "social": 1, "web": 1},
        main=(120, 900),
        data_mb=(0, 400),
        voice_min=(0, 20),
        top_ups=(500, 1000),
        sessions=(7, 12),
        session_mb=(20, 120),
        calls=(1, 6),
        call_cost=(10, 90),
        recharges=(2, 4),
    ),
    Persona(
        name="gamer",
        weight=15,
        uses={"data": 7, "vas": 2, "sms": 1},
        apps={"games": 8, "video": 2},
        main=(150, 900),
        data_mb=(0, 250),
        voice_min=(0, 0),
        top_ups=(500, 1000, 2000),
        sessions=(7, 12),
        session_mb=(30, 150),
        calls=(0, 2),
        call_cost=(10, 90),
        recharges=(2, 5),
    ),
    Persona(
        name="caller",
        weight=25,
        uses={"voice": 8, "sms": 2},
        apps={"web": 1},
        main=(60, 800),
        data_mb=(0, 0),
        voice_min=(0, 25),
        top_ups=(500, 1000),
        sessions=(0, 2),
        session_mb=(5, 30),
        calls=(8, 14),
        call_cost=(40, 220),
        recharges=(3, 6),
    ),
    Persona(
        name="thrifty",
        weight=15,
        uses={"voice": 4, "sms": 4, "mms": 1, "data": 1},
        apps={"web": 3, "social": 1},
        main=(20, 280),
        data_mb=(0, 30),
        voice_min=(0, 5),
        top_ups=(300, 500),
        sessions=(1, 4),
        session_mb=(2, 20),
        calls=(3, 7),
        call_cost=(10, 90),
        recharges=(1, 2),
    ),
)


@dataclass(frozen=True, slots=True)
class Opening:
    """What the wallets hold at the start: minor units, kB, minutes, and hours until the allowances expire."""

    main: int
    data_kb: int
    data_hours: int
    voice_min: int
    voice_hours: int


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One synthetic subscriber. `msisdn` in E.164 without `+`; `yes` is the chance that an offer is taken, by theme."""

    msisdn: str
    persona: Persona
    plan: str
    language: str
    time_zone: str
    consent: bool
    top_up: int  # usual recharge, minor units
    app: str  # favourite app
    hours: tuple[int, int]  # usual hours of use, UTC: first, last
    yes: Mapping[str, float]
    opening: Opening


def msisdn(index: int) -> str:
    """The number of the subscriber with this index, E.164 without `+`, always from the range reserved for fiction.

    >>> msisdn(0), msisdn(199)
    ('12025550100', '12065550199')
    """
    if not 0 <= index < MOST:
        raise ValueError(f"{index} is no synthetic subscriber; there are {MOST} numbers reserved for fiction here")
    return f"1{AREA_CODES[index // 100]}55501{index % 100:02d}"


def population(size: int, seed: int) -> list[Subscriber]:
    """That many subscribers; the same seed makes the same ones. Raises ValueError where numbers run out."""
    return [_subscriber(index, random.Random(f"{seed}/subscriber/{index}")) for index in range(size)]


def _subscriber(index: int, rng: random.Random) -> Subscriber:
    persona = rng.choices(PERSONAS, [one.weight for one in PERSONAS])[0]
    first = rng.randrange(24)
    return Subscriber(
        msisdn=msisdn(index),
        persona=persona,
        plan="prepaid" if rng.random() < 0.95 else "postpaid",
        language=_pick(LANGUAGES, rng),
        time_zone=rng.choice(TIME_ZONES),
        consent=rng.random() < 0.9,
        top_up=rng.choice(persona.top_ups),
        app=_pick(persona.apps, rng),
        hours=(first, (first + rng.randint(3, 8)) % 24),
        yes=_tastes(rng),
        opening=Opening(
            main=rng.randint(*persona.main),
            data_kb=_amount(persona.data_mb, rng) * 1000,
            data_hours=rng.randint(3, 72),
            voice_min=_amount(persona.voice_min, rng),
            voice_hours=rng.randint(3, 72),
        ),
    )


def _tastes(rng: random.Random) -> Mapping[str, float]:
    """Far readier to say yes than people are: a demo has to show every way in seconds."""
    return {
        "promise": rng.uniform(0.5, 0.9),
        "content": rng.uniform(0.4, 0.8),
        "care": rng.uniform(0.4, 0.8),
        "bundle": rng.uniform(0.3, 0.7),
    }


def _amount(bounds: tuple[int, int], rng: random.Random) -> int:
    """An allowance; a third of the subscribers have used up theirs."""
    return 0 if rng.random() < 0.33 else rng.randint(*bounds)


def _pick(weights: Mapping[str, int], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def pick_service(subscriber: Subscriber, rng: random.Random) -> str:
    """What they do next, by habit: voice, data, sms, mms or vas."""
    return _pick(subscriber.persona.uses, rng)


def pick_app(subscriber: Subscriber, rng: random.Random) -> str:
    """Mostly the favourite."""
    return subscriber.app if rng.random() < 0.8 else _pick(subscriber.persona.apps, rng)
