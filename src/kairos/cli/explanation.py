"""One decision as a person reads it: what was said, why the rest was not, what was known, what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kairos.decide import Verdict
from kairos.domain.decision import Drawn
from kairos.domain.inputs import Response
from kairos.domain.passage import Passage
from kairos.domain.purchase import Purchase
from kairos.domain.subscriber import Proof
from kairos.engine.explain import Explanation, moment

STYLES = {"chosen": "bold green", "outranked": "cyan", "gate": "red", "limit": "yellow"}
WORDS = {"rule": "not met", "gate": "closed by ", "moment": ""}
NOT_FOR_ALL = ("gate", "moment")  # what refuses many offers at once is said once


def picture(explanation: Explanation) -> Group:
    """The whole of it, for 80 columns or more."""
    verdicts = explanation.verdicts
    own = [verdict for verdict in verdicts if verdict.state not in NOT_FOR_ALL]
    parts: list[RenderableType] = [_head(explanation)]
    if own:
        parts += ["", _verdicts(own, explanation.decision.now)]
    for (state, reason, until), arms in _together(verdicts):
        because = WORDS[state] + reason + _until(until, explanation.decision.now)
        line = Text.assemble("\n", (because, STYLES.get(state, "bold")), ": ", ", ".join(arms))
        parts.append(line)
    may_be = {
        "consents, as they stand now": [*_consents(explanation.consents)],
        "budgets of that time, as they stand now": [*_budgets(explanation)],
        "what came of it": [*_responses(explanation.responses)],
        "messages of other systems, the newest first": [*_others(explanation.others)],
    }
    sections = [
        *((title, [*_pairs(values)]) for title, values in _known(explanation)),
        *((title, rows) for title, rows in may_be.items() if rows),
        *((_named(purchase), [*_purchase(purchase)]) for purchase in explanation.purchases),
    ]
    for title, rows in sections:
        parts += ["", Text(title, "bold"), _grid(rows)]
    return Group(*parts, "")


def _named(purchase: Purchase) -> str:
    back = f", {purchase.returned} of {purchase.price} {purchase.currency} went back" if purchase.returned else ""
    return f"purchase {purchase.key}: {purchase.status}{back}"


def _head(explanation: Explanation) -> Table:
    decision, chosen = explanation.decision, explanation.decision.chosen
    said = "nothing"
    if chosen:
        arm = next(verdict.arm for verdict in explanation.verdicts if verdict.state == "chosen")
        how = "riding on the notification" if explanation.channel == "notification" else f"by {explanation.channel}"
        how = f"to who asked on {decision.where}" if decision.where else how
        number = f"as offer {chosen.number}, " if chosen.number else ""
        said = f"{arm}, {number}{how}, with message {chosen.message}"
    subscriber = f"+{explanation.msisdn}" if explanation.msisdn else f"number {decision.subscriber}"
    subscriber += f", whose subscription ended at {moment(explanation.ended)} UTC" if explanation.ended else ""
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("decision", "bold"), Text(str(decision.id), "bold"))
    table.add_row("subscriber", subscriber)
    for held in explanation.held:
        until = f"until {moment(held.until)} UTC" if held.until else "now"
        table.add_row("", Text(f"subscriber {held.subscriber} from {moment(held.since)} UTC, {until}", "dim"))
    if decision.test:
        asked = f", to get {decision.asked}" if decision.asked else ""
        table.add_row("test", Text(f"a test subscriber{asked}: past limits, pauses and holdout; no report counts it"))
    table.add_row("at", f"{moment(decision.now)} UTC, after {decision.kind} at {moment(decision.happened)}")
    table.add_row(
        "with", Text(f"playbook {explanation.playbook}, revision {decision.revision}, model {decision.model}")
    )
    table.add_row("said", Text(said, "bold green" if chosen else ""))
    if chosen:
        table.add_row("chosen", Text(_likely(explanation.drawn)))
    if explanation.reasons:
        told = ((name, "for" if added > 0 else "against", added) for name, added in explanation.reasons)
        words = (f"{name} ({side} a yes, {added:+.2f})" for name, side, added in told)
        table.add_row("because of", Text(", ".join(words)))
    return table


def _likely(drawn: Drawn | None) -> str:
    """How likely the choice was, in words.

    >>> _likely(Drawn(1, 0.4312, "thompson-quadrature", 0.001)), _likely(Drawn(1, 1.0, "exact", 0.0))
    ('with probability 0.431 (thompson-quadrature, within 0.001)', 'with probability 1.000 (exact)')
    """
    if drawn is None:
        return "not replayable: the model's version is gone, and how likely this was is not logged"
    within = f", within {drawn.error:g}" if drawn.error else ""
    return f"with probability {drawn.probability:.3f} ({drawn.method}{within})"


def _verdicts(verdicts: Sequence[Verdict], now: int) -> Table:
    """The chosen one, those that it outranked, and then the rest in the playbook's order."""
    order = {"chosen": 0, "outranked": 1}
    scored = any(verdict.priority for verdict in verdicts)
    heads = ("offer", "verdict", "because", *(("chance", "worth") if scored else ()))
    table = Table(*heads, box=None, header_style="bold", padding=(0, 2, 0, 0), show_edge=False)
    for verdict in sorted(verdicts, key=lambda one: (order.get(one.state, 2), -one.priority)):
        chance = (f"{verdict.propensity:.3f}", f"{verdict.priority:.2f}") if verdict.priority else ("", "")
        because = f"{verdict.reason.removeprefix('outranked ')}{_until(verdict.until, now)}"
        state = Text(WORDS.get(verdict.state, verdict.state), STYLES.get(verdict.state, ""))
        table.add_row(Text(verdict.arm), state, Text(because), *(chance if scored else ()))
    return table


def _until(until: int, now: int) -> str:
    """When a limit is lifted, in words.

    >>> _until(1_772_625_600_000 + 7_200_000, 1_772_625_600_000), _until(-1, 0)
    (', until 2026-03-04 14:00 UTC (2 hours later)', ', never again')
    """
    if until == -1:
        return ", never again"
    return f", until {moment(until)[:16]} UTC ({span(until - now)} later)" if until else ""


def span(ms: int) -> str:
    """A time as words, in its largest unit.

    >>> span(90_000), span(7_200_000), span(26 * 3_600_000)
    ('2 minutes', '2 hours', '1 day')
    """
    for size, unit in ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second")):
        if ms >= size or size == 1000:
            count = round(ms / size)
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    raise AssertionError


def _together(verdicts: Sequence[Verdict]) -> Iterator[tuple[tuple[str, str, int], list[str]]]:
    """Offers that fell to the same gate, or to the moment itself."""
    refused = sorted((v for v in verdicts if v.state in NOT_FOR_ALL), key=_cause)
    for key, group in groupby(refused, key=_cause):
        yield key, [verdict.arm for verdict in group]


def _cause(verdict: Verdict) -> tuple[str, str, int]:
    return verdict.state, verdict.reason, verdict.until


def _known(explanation: Explanation) -> Iterator[tuple[str, Mapping[str, str]]]:
    """What was known: the event's own fields, and the rest."""
    kind = explanation.decision.kind + "."
    shown = {name: value for name, value in explanation.shown.items() if name != "now"}
    event = {name.removeprefix(kind): value for name, value in shown.items() if name.startswith(kind)}
    rest = {name: value for name, value in shown.items() if not name.startswith(kind)}
    if event:
        yield f"what happened: {explanation.decision.kind}", event
    yield "what was known of the subscriber", rest


def _consents(consents: Mapping[str, Proof]) -> Iterator[Sequence[str | Text]]:
    """What was last said of each, when, and the identity under which it came."""
    for name, proof in consents.items():
        value = {True: "yes", False: "no"}.get(proof.value, str(proof.value))
        yield Text(name, "dim"), Text(value), f"since {moment(proof.at)} UTC", Text(proof.by, "dim")


def _budgets(explanation: Explanation) -> Iterator[Sequence[str | Text]]:
    """What each has, what of it is reserved and spent, and until when its period lasts."""
    for one, shown in explanation.budgets:
        words = [f"{shown['reserved']} reserved", f"{shown['spent']} spent", f"{shown['left']} left of {shown['cap']}"]
        pace = "evenly, " if one.pace else ""
        yield Text(one.name, "dim"), *words, f"{pace}until {moment(one.until)[:16]} UTC", Text(one.of, "dim")


def _responses(responses: Sequence[Response]) -> Iterator[Sequence[str | Text]]:
    for response in responses:
        yield f"{moment(response.at)} UTC", response.outcome, response.reason


def _others(passages: Sequence[Passage]) -> Iterator[Sequence[str | Text]]:
    """Who sent what kind of message, how it stands, why, and until when."""
    for one in passages:
        until = f"until {moment(one.until)} UTC" if one.until else ""
        why = " ".join(filter(None, (one.why, until)))
        yield f"{moment(one.at)} UTC", Text(one.sender, "dim"), one.sends, one.stand, Text(why)


def _pairs(values: Mapping[str, str]) -> Iterator[Sequence[str | Text]]:
    """Names and values, two pairs a row."""
    items = [(Text(n, "dim", overflow="fold"), Text(value, overflow="fold")) for n, value in values.items()]
    half = (len(items) + 1) // 2
    for row in range(half):
        right = items[row + half] if row + half < len(items) else (Text(), Text())
        yield *items[row], *right


def _purchase(purchase: Purchase) -> Iterator[Sequence[str | Text]]:
    """What they said, each yes with the identity it came under, and how each step ended."""
    for said in purchase.proof:
        yield f"{moment(said.at)} UTC", "said", Text(said.text), Text(said.identity, "dim")
    for step in purchase.steps:
        at = f"{moment(step.at)} UTC" if step.at else ""
        yield at, step.name, step.status, Text(" ".join(filter(None, (step.product, step.reason))))


def _grid(rows: Iterable[Sequence[str | Text]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    return table
