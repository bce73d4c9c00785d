"""A gateway that calls back over HTTP with form fields, and is answered `CON` (a key is awaited) or `END`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from kairos.errors import EventError
from kairos.ussd.dialogue import Show
from kairos.ussd.steps import Heard, Kind

LONGEST: Final = 500  # characters of a field
_CODE: Final = re.compile(r"[*#\d]{1,40}", re.ASCII)
INTERRUPTED: Final[Mapping[str, Kind]] = {
    "failed": "abort",
    "incomplete": "abort",
    "aborted": "abort",
    "timeout": "timeout",
}


class Fields(NamedTuple):
    """What the gateway calls each field. `step`, where it has one, counts the screens that it has shown."""

    session: str = "sessionId"
    msisdn: str = "phoneNumber"
    code: str = "serviceCode"
    text: str = "text"
    step: str = ""
    accumulated: bool = True  # `text` has every key so far, with `*` between them; else the latest alone


USUAL: Final = Fields()


def heard(form: Mapping[str, str], fields: Fields = USUAL) -> Heard:
    """What a request says. An accumulated text counts its own steps. Raises EventError that names the field.

    >>> form = {"sessionId": "s1", "phoneNumber": "+12025550123", "serviceCode": "*123#", "text": "1*2"}
    >>> found = heard(form)
    >>> (found.kind, found.text, found.step, found.ahead)
    ('input', '2', 2, ('1',))
    """
    session, msisdn = _field(form, fields.session), _field(form, fields.msisdn)
    code, text = _field(form, fields.code), form.get(fields.text, "")
    if not _CODE.fullmatch(code):
        raise EventError(f"`{fields.code}`: `{code[:40]}` is no service code", fields.code)
    if len(text) > LONGEST:
        raise EventError(f"`{fields.text}` has more than {LONGEST} characters", fields.text)
    code = code if code[0] in "*#" else f"*{code}"
    code = code if code.endswith("#") else f"{code}#"
    if fields.accumulated:
        keys = tuple(text.split("*")) if text else ()
        kind: Kind = "input" if keys else "begin"
        return Heard(session, msisdn, code, keys[-1] if keys else "", kind, len(keys), keys[:-1])
    step = form.get(fields.step, "") if fields.step else ""
    counted = int(step) if re.fullmatch(r"\d{1,6}", step, re.ASCII) else -1
    dialled = not text or (text[0] in "*#" and text.endswith("#"))
    return Heard(session, msisdn, text if text and dialled else code, text, "begin" if dialled else "input", counted)


def interrupted(form: Mapping[str, str], fields: Fields = USUAL) -> Heard | None:
    """What a notice of a dialogue's end says, where it was not brought to its own. Raises EventError."""
    kind = INTERRUPTED.get(form.get("status", "").lower())
    session, msisdn = _field(form, fields.session), _field(form, fields.msisdn)
    return Heard(session, msisdn, "", "", kind) if kind else None


def _field(form: Mapping[str, str], name: str) -> str:
    value = form.get(name, "").strip()
    if not value or len(value) > LONGEST:
        raise EventError(f"`{name}` is missing" if not value else f"`{name}` is too long", name)
    return value


def answer(show: Show) -> str:
    """The body of the answer.

    >>> answer(Show("1 Yes", more=True)), answer(Show("Thank you", more=False))
    ('CON 1 Yes', 'END Thank you')
    """
    return f"{'CON' if show.more else 'END'} {show.text}"


def read_answer(body: str) -> Show | None:
    """What another system says in this form; None where it says something else."""
    verb, _, text = body.strip().partition(" ")
    return Show(text.strip(), more=verb == "CON") if verb in ("CON", "END") else None
