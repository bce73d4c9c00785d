"""What became of a sample, as a person reads it: its typed fields, what they feed, and who answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kairos.adapters.clock import now
from kairos.domain.event import Event
from kairos.domain.inputs import Change
from kairos.domain.money import Currency
from kairos.domain.subscriber import Bucket, Owned
from kairos.engine.explain import moment
from kairos.engine.program import Program


@dataclass
class Shown:
    """What became of one event of the sample, or of a payload of which there is none."""

    index: int
    status: str  # read, wrong, or ignored: no mapping or pattern is for it
    by: str = ""  # the mapping that made it, or the language of the pattern
    event: Event | Change | None = None
    why: str = ""
    about: str = ""  # the field that is wrong
    left_out: list[str] = field(default_factory=list)  # fields that nothing stood for


def answering(event: Event | Change, program: Program) -> tuple[list[str], dict[str, int]]:
    """The actions that answer it; and those whose moment is over already, after so many ms."""
    answers = {one.name: one.answers[event.kind] for one in program.playbook.actions if event.kind in one.answers}
    over = {name: limit for name, limit in answers.items() if 0 <= limit < now() - event.happened}
    return [name for name in answers if name not in over], over


def feeding(event: Event | Change, program: Program) -> list[str]:
    """The words of the vocabulary that it sets or is counted in."""
    words = program.playbook.vocabulary
    data = getattr(event, "data", {})
    sets = [one.name for one in words.attributes.values() if any(kind == event.kind for kind, _ in one.sources)]
    counts = [one.name for one in words.counters.values() if one.event == event.kind]
    wallets = {
        bucket.wallet
        for value in data.values()
        if isinstance(value, list)
        for bucket in value
        if hasattr(bucket, "wallet")
    }
    left = [one.name for one in words.attributes.values() if one.total in wallets or wallets & {*one.soonest_expiry}]
    return [*sets, *left, *counts]


def typed(event: Event | Change, program: Program) -> dict[str, tuple[str, str]]:
    """Each field with its type, and as a person reads it."""
    kinds = program.playbook.vocabulary.events.get(event.kind, {})
    own = event.data if isinstance(event, Event) else {"number": event.number}
    data: Mapping[str, Any] = {**(event.named or {}), **own}
    return {
        name: (kinds.get(name, "text"), _read(kinds.get(name, "text"), value, program))
        for name, value in data.items()
        if value != ""
    }


def _read(kind: str, value: Any, program: Program) -> str:
    match kind:
        case "money":
            return program.playbook.currency.show(value)
        case "time":
            return f"{moment(value)} UTC"
        case "date":
            return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
        case "boolean":
            return "yes" if value else "no"
        case "balances" | "products":
            return ", ".join(_bucket(one, program) if isinstance(one, Bucket) else _owned(one) for one in value)
        case "number":
            return f"{value:.15g}"
    return str(value)


def _bucket(bucket: Bucket, program: Program) -> str:
    wallet = program.playbook.vocabulary.wallets[bucket.wallet]
    amount = (
        program.playbook.currency.show(bucket.amount)
        if wallet.unit == "money"
        else Currency("", wallet.digits).show(bucket.amount) + f" {wallet.unit}"
    )
    return f"{wallet.name} {amount}" + (f" until {moment(bucket.expires)} UTC" if bucket.expires else "")


def _owned(owned: Owned) -> str:
    return owned.product + (f" until {moment(owned.until)} UTC" if owned.until else "")


def _span(ms: int) -> str:
    for unit, size in (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1000)):
        if ms >= size:
            return f"{ms // size} {unit}{'s' * (ms // size > 1)}"
    return "moments"


def plain(one: Shown, program: Program) -> dict[str, Any]:
    """As JSON can hold it: what the engine would get, and what it means here."""
    said = {"index": one.index, "status": one.status, "by": one.by, "why": one.why, "field": one.about}
    if one.event is None:
        return said
    return said | {
        "event": msgspec.to_builtins(msgspec.structs.asdict(one.event)),
        "shown": {name: value for name, (_, value) in typed(one.event, program).items()},
        "left_out": one.left_out,
        "feeds": feeding(one.event, program),
        "answered_by": answering(one.event, program)[0],
        "too_late_for": answering(one.event, program)[1],
    }


def picture(one: Shown, program: Program) -> RenderableType:
    """One of them, for a terminal."""
    number = Text(f"{one.index + 1}  ", "dim")
    if one.event is None:
        style = "red" if one.status == "wrong" else "yellow"
        return Text.assemble(number, (one.status, f"bold {style}"), f"  {one.why}")
    event = one.event
    head = Text.assemble(
        number, (event.kind, "bold green"), f"  {event.identity}", (f"  by {one.by}" if one.by else "", "dim")
    )
    table = Table.grid(padding=(0, 2))
    table.add_row("", Text("subscriber"), "", Text(event.msisdn))
    table.add_row(
        "", Text("happened"), "", Text(f"{moment(event.happened)} UTC, {_span(max(0, now() - event.happened))} ago")
    )
    for name, (kind, value) in typed(event, program).items():
        table.add_row("", Text(name, "bold"), Text(kind, "dim"), Text(value))
    lines: list[Sequence[str]] = [("left out", ", ".join(one.left_out)), ("feeds", ", ".join(feeding(event, program)))]
    actions, over = answering(event, program)
    lines.append(("answered by", ", ".join(actions) or "no action"))
    lines.append(("too late for", ", ".join(f"{name} (after {_span(limit)})" for name, limit in over.items())))
    lines.append(("note", one.why))
    for name, value in lines:
        if value:
            table.add_row("", Text(name, "dim"), "", Text(value))
    return Group(head, table)
