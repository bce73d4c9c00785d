"""End-of-call notifications: what the charging system tells a subscriber after a call, in the subscriber's language.

A text names the cost, the main balance, and each allowance that is there or was just used up; so there are texts
of several lengths. `patterns()` gives the matching templates for whoever has to read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kairos.simulate.ocs import Balances, Usage, show

SIGN = "T$"


@dataclass(frozen=True, slots=True)
class Wording:
    """A language's words. `opening` serves the full forms, `brief` the one without allowances."""

    opening: str
    brief: str
    data: str
    voice: str
    joint: str  # before each allowance
    reference: str
    services: Mapping[str, str]  # service -> words


# French texts with `û` and Arabic ones are UCS-2 on the air; the brief French form fits GSM-7.
WORDINGS: Mapping[str, Wording] = {
    "en": Wording(
        opening="Your {service} cost {cost}. Balance {main}",
        brief="Your {service} cost {cost}. Balance {main}",
        data="data {data} MB until {data_until}",
        voice="voice {voice} min until {voice_until}",
        joint=", ",
        reference=". Ref {id}",
        services={
            "voice": "call",
            "data": "data session",
            "sms": "text",
            "mms": "picture message",
            "vas": "purchase",
        },
    ),
    "fr": Wording(
        opening="Votre {service} a coûté {cost}. Solde {main}",
        brief="Votre {service}: {cost}. Solde {main}",
        data="data {data} Mo jusqu'au {data_until}",
        voice="voix {voice} min jusqu'au {voice_until}",
        joint=", ",
        reference=". Réf {id}",
        services={"voice": "appel", "data": "session data", "sms": "SMS", "mms": "MMS", "vas": "achat"},
    ),
    "ar": Wording(
        opening="تكلفة {service} {cost}. الرصيد {main}",
        brief="تكلفة {service} {cost}. الرصيد {main}",
        data="بيانات {data} م.ب حتى {data_until}",
        voice="صوت {voice} دقيقة حتى {voice_until}",
        joint="، ",
        reference=". المرجع {id}",
        services={
            "voice": "المكالمة",
            "data": "جلسة البيانات",
            "sms": "الرسالة",
            "mms": "رسالة الصور",
            "vas": "الشراء",
        },
    ),
}
_FORMS = (("data", "voice"), ("data",), ("voice",), ())  # which allowances a form names, longest first
_REF = re.compile(r"(?:Ref|Réf|المرجع) ([0-9a-z]+)")

_PLACES = {
    "service": "{service:word...}",
    "cost": "{cost:money}",
    "main": "{balances.main:money}",
    "data": "{balances.data:number}",
    "data_until": "{balances.data.expires:time}",
    "voice": "{balances.voice:number}",
    "voice_until": "{balances.voice.expires:time}",
    "id": "{id}",
}


@dataclass(slots=True)
class Notification:
    """One notification in the charging system's ledger. Times are seconds of a clock that never goes back."""

    ref: str
    msisdn: str
    usage: Usage
    text: str
    submitted: float = 0.0  # the first try
    attempts: int = 0
    acknowledged: float = 0.0  # 0.0: not (yet)
    refused: str = ""  # the SMPP status that refused it for good
    message_id: str = ""  # that the receiver gave it
    delivered: list[float] = field(default_factory=list)  # at the handset: more than one is a duplicate

    @property
    def seconds(self) -> float:
        """From the first try to the handset. Only for a delivered one."""
        return self.delivered[0] - self.submitted


def text(language: str, usage: Usage, ref: str, before: Balances | None = None) -> str:
    """The notification's text. `before`: balances before the usage, so that an allowance just used up is still named.

    >>> left = Balances(main=1240, data_kb=0, data_until=0, voice_min=12, voice_until=1_795_424_400_000)
    >>> text("en", Usage("12025550100", "voice", 7, 35, left), "8f3a21")
    'Your call cost T$0.35. Balance T$12.40, voice 12 min until 2026-11-23 09:00. Ref 8f3a21'
    """
    left = usage.balances
    had = before or left
    named = tuple(
        name
        for name, there in (("data", left.data_kb or had.data_kb), ("voice", left.voice_min or had.voice_min))
        if there
    )
    return _template(language, named).format(
        service=WORDINGS[language].services[usage.service],
        cost=SIGN + show(usage.cost),
        main=SIGN + show(left.main),
        data=_megabytes(left.data_kb),
        data_until=_minute(left.data_until),
        voice=left.voice_min,
        voice_until=_minute(left.voice_until),
        id=ref,
    )


def patterns() -> dict[str, tuple[str, ...]]:
    """Per language, a template for every form there is, longest first.

    >>> patterns()["en"][-1]
    'Your {service:word...} cost {cost:money}. Balance {balances.main:money}. Ref {id}'
    """
    return {language: tuple(_template(language, form).format(**_PLACES) for form in _FORMS) for language in WORDINGS}


def services() -> dict[str, dict[str, str]]:
    """Per language, the words of the texts and the service that each means.

    >>> services()["fr"]["achat"]
    'vas'
    """
    return {
        language: {words: service for service, words in wording.services.items()}
        for language, wording in WORDINGS.items()
    }


def reference(seen: str) -> str:
    """The Ref that a text carries, or an empty text.

    >>> reference("Your call cost T$0.35. Balance T$12.40. Ref 8f3a21 500 MB for T$2? Reply 1")
    '8f3a21'
    """
    found = _REF.search(seen)
    return found[1] if found else ""


def _template(language: str, named: tuple[str, ...]) -> str:
    wording = WORDINGS[language]
    parts = {"data": wording.data, "voice": wording.voice}
    opening = wording.opening if named else wording.brief
    return opening + "".join(wording.joint + parts[name] for name in named) + wording.reference


def _megabytes(kilobytes: int) -> str:
    """Exact decimal MB.

    >>> _megabytes(118_500), _megabytes(2_000_000), _megabytes(0)
    ('118.5', '2000', '0')
    """
    whole, rest = divmod(kilobytes, 1000)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".") if rest else str(whole)


def _minute(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
