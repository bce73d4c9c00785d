"""vocabulary.yaml: events, wallets, attributes and counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast, get_args

from kairos.domain.inputs import CHANGES
from kairos.errors import RuleError
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, refused
from kairos.playbook.section import Section, entries, items
from kairos.playbook.values import MILLISECONDS, NAME, boolean, duration, known, nearest, several, text, typed, whole
from kairos.playbook.vocabulary import (
    Attribute,
    Counter,
    CounterFunction,
    FieldType,
    Habit,
    Source,
    Vocabulary,
    Wallet,
    is_column,
)
from kairos.rules import RESERVED, Condition, Type, parse

INBOUND = "inbound"  # the moment of a subscriber who asks; no event has its name
HABITS: Mapping[Habit, Type] = {"hours_away": "number", "channel": "text"}
HAPPENED = "happened"  # of every event, as a source: when it happened
STEPS = (*(m * MILLISECONDS["minute"] for m in (1, 5, 15, 60, 360)), MILLISECONDS["day"])
MOST_STEPS = 1_000

Events = Mapping[str, Mapping[str, FieldType]]


def read_vocabulary(node: Node, context: Context) -> Vocabulary:
    """The vocabulary; what is wrong is noted in the context's problems."""
    section = Section(node, "vocabulary", context.problems)
    events = {
        key.text: _fields(value, context)
        for _, (key, value) in section.named("events")
        if _usable(key, "an event", context) and not _of_kairos(key, context)
    }
    wallets = {
        key.text: _wallet(key.text, value, context)
        for _, (key, value) in section.named("wallets")
        if _usable(key, "a wallet", context)
    }
    attributes = {
        key.text: _attribute(key.text, value, events, wallets, context)
        for _, (key, value) in section.named("attributes")
        if _usable(key, "an attribute", context)
    }
    counters: dict[str, Counter] = {}
    for _, (key, value) in section.named("counters"):
        if key.text in attributes:
            context.problems.add(key, f"`{key.text}` is an attribute already", "give the counter another name")
        elif _usable(key, "a counter", context):
            counters[key.text] = _counter(key.text, value, events, context)
    if not events:
        context.problems.add(node, "there is no event", "add one under `events`, as in `recharge: {amount: money}`")
    return Vocabulary(events, wallets, attributes, counters)


def _usable(key: Scalar, what: str, context: Context) -> bool:
    """Whether a name can be used in a rule; noted where not."""
    if not NAME.fullmatch(key.text):
        hint = "use small letters, digits and `_`, with a letter first"
        context.problems.add(key, f"`{key.text}` cannot name {what}", hint)
        return False
    if key.text in RESERVED or key.text == INBOUND:
        context.problems.add(key, f"`{key.text}` cannot name {what}: it has a meaning of its own", "take another name")
        return False
    try:
        parse(f"{key.text} IS NULL", {key.text: "text"})
    except RuleError:
        context.problems.add(key, f"`{key.text}` cannot name {what}: the rules use that word", "take another name")
        return False
    return True


def _of_kairos(key: Scalar, context: Context) -> bool:
    if key.text in CHANGES:
        context.problems.add(key, f"`{key.text}` is an event of every kairos", "take another name; see docs/events.md")
    return key.text in CHANGES


def _fields(node: Node, context: Context) -> dict[str, FieldType]:
    fields: dict[str, FieldType] = {}
    for _, (key, value) in entries(node, context.problems):
        kind = context.problems.attempt("text", key.text, known("type", get_args(FieldType)), value)
        if key.text == HAPPENED:
            context.problems.add(key, f"`{HAPPENED}` is every event's own time", "take another name")
        elif _usable(key, "a field", context):
            fields[key.text] = cast(FieldType, kind)
    return fields


def _wallet(wallet: str, node: Node, context: Context) -> Wallet:
    section = Section(node, "wallet", context.problems)
    unit = section.need("unit", text, "", "MB")
    digits = section.take("digits", whole(0, 6), context.currency.digits if unit == "money" else 0)
    if unit == "money" and digits != context.currency.digits:
        message = f"money has {context.currency.digits} digits, as playbook.yaml says"
        context.problems.add(section.at("digits"), message, "leave `digits` out")
    return Wallet(wallet, unit, digits, section.take("means", text, ""))


def _attribute(
    attribute: str, node: Node, events: Events, wallets: Mapping[str, Wallet], context: Context
) -> Attribute:
    section = Section(node, "attribute", context.problems)
    kind = cast(Type, section.need("type", known("type", get_args(Type)), "text", "number"))
    known_wallet = known("wallet", wallets)
    total = section.take("total", known_wallet, "")
    soonest = section.take("soonest_expiry", lambda n: tuple(map(known_wallet, _list(n, context))), ())
    usual = cast("Habit | None", section.take("usual", known("habit", HABITS), None))
    sources = section.take("from", lambda n: tuple(_source(i, kind, events) for i in _list(n, context)), ())
    ways = [key for key in ("from", "total", "soonest_expiry", "usual") if key in section]
    if len(ways) > 1:
        context.problems.add(section.at(ways[1]), f"`{ways[0]}` and `{ways[1]}` exclude each other", "keep one")
    wanted: Type = "number" if soonest else HABITS[usual] if usual else kind
    if total:
        wanted = "money" if wallets[total].unit == "money" else "number"
    if kind != wanted:
        context.problems.add(section.at("type"), f"`{attribute}` is {wanted}, not {kind}", f"write `type: {wanted}`")
    default = section.take("default", typed(kind, context.currency), None)
    owed = section.take("owed", boolean, False)
    if owed and (kind != "money" or total or soonest):
        message = f"`{attribute}` cannot be what is owed: that is money, and events say what is left of it"
        context.problems.add(section.at("owed"), message, "write `type: money`, with `from`")
    if owed and default is None:
        default = 0
    return Attribute(
        attribute, kind, section.take("means", text, ""), default, sources, total, soonest, owed, _uses(section), usual
    )


def _uses(section: Section) -> tuple[str, ...]:
    """The sources of data that a word is made of, as far as somebody must agree to their use."""
    return section.take("uses", several(known("source", get_args(Source))), ())


def _list(node: Node, context: Context) -> list[Node]:
    return [node] if isinstance(node, Scalar) and node.text else items(node, context.problems)


def _source(node: Node, kind: Type, events: Events) -> tuple[str, str]:
    event, field = event_field(node, events)
    given = "time" if field == HAPPENED else events[event][field]
    if given != kind:
        raise refused(node, f"`{event}.{field}` is {given}, not {kind}", "make the types the same")
    return event, field


def event_field(node: Node, events: Events) -> tuple[str, str]:
    """An event's kind and one of its fields, as in `recharge.amount`."""
    word = text(node)
    event, _, field = word.partition(".")
    names = [f"{kind}.{name}" for kind, fields in events.items() for name in (*fields, HAPPENED)]
    if word not in names:
        what = f"unknown field `{word}`" if event in events else f"unknown event `{event}`"
        raise refused(node, what, nearest(word, names) or "write an event and its field, as in `recharge.amount`")
    return event, field


def _counter(counter: str, node: Node, events: Events, context: Context) -> Counter:
    section = Section(node, "counter", context.problems)
    functions = [function for function in get_args(CounterFunction) if function in section]
    if len(functions) != 1:
        message = f"`{counter}` needs one of `sum`, `count`, `max` and `min`"
        context.problems.add(node, message, "as in `sum: recharge.amount` or `count: recharge`")
    function: CounterFunction = functions[0] if functions else "count"
    if function == "count":
        event, field = section.take("count", known("event", events), ""), ""
    else:
        event, field = section.take(function, lambda n: _amount(n, events), ("", ""))
    over = section.need("over", duration, MILLISECONDS["day"], "7 days")
    step = section.take("step", duration, default_step(over))
    if over % step or over // step > MOST_STEPS:
        message = f"`over` must be a whole number of steps, {MOST_STEPS} at most"
        context.problems.add(section.at("step" if "step" in section else "over"), message, "change `step`")
    kind = cast(Type, events[event][field]) if event and field else "number"
    where = section.take("where", lambda n: _where(n, event, events, context), None) if event else None
    return Counter(
        counter, function, event, field, over, step, kind, where, section.take("means", text, ""), _uses(section)
    )


def _amount(node: Node, events: Events) -> tuple[str, str]:
    event, field = event_field(node, events)
    kind = "time" if field == HAPPENED else events[event][field]
    if kind not in ("number", "money"):
        raise refused(node, f"`{event}.{field}` is {kind}: it cannot be added up or compared", "take a number or money")
    return event, field


def _where(node: Node, event: str, events: Events, context: Context) -> Condition:
    return context.condition(node, event_names(event, events))


def event_names(event: str, events: Events) -> dict[str, Type]:
    """The names of an event's own fields, as a rule over that event alone may use them."""
    return {f"{event}.{name}": kind for name, kind in events[event].items() if is_column(kind)}


def default_step(over: int) -> int:
    """The largest step that divides the window into at least 24, else one minute.

    >>> default_step(7 * 86_400_000) // 3_600_000, default_step(3_600_000) // 60_000
    (6, 1)
    """
    fitting = [step for step in STEPS if over % step == 0 and over // step >= 24]
    return max(fitting, default=STEPS[0])
