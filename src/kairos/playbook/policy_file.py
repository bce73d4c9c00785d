"""contact_policy.yaml: whom we may speak to, when, and how often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from kairos.domain.channel import NOTIFICATION, SENT
from kairos.domain.purpose import STANDINGS, Minded, minding
from kairos.playbook.action import Action
from kairos.playbook.address_file import read_addresses, read_stops
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, Table, listed, refused
from kairos.playbook.freeze_file import read_freeze
from kairos.playbook.gate_file import read_data_consents, read_gates, read_registers
from kairos.playbook.margin_file import read_floor
from kairos.playbook.policy import KEPT, ContactPolicy, Limit
from kairos.playbook.section import Section
from kairos.playbook.values import MILLISECONDS, boolean, duration, hours, known, price, several, share, text, whole
from kairos.playbook.vocabulary_file import event_field
from kairos.playbook.window_file import read_windows

T = TypeVar("T")
D = TypeVar("D")

CALENDAR = {  # each may be an hour longer than usual, when clocks go back
    "hour": 2 * MILLISECONDS["hour"],
    "day": 25 * MILLISECONDS["hour"],
    "week": MILLISECONDS["week"] + MILLISECONDS["hour"],
    "month": 31 * MILLISECONDS["day"] + MILLISECONDS["hour"],
}
NOTHING, LIST = ASKED = ("nothing", "in_market")
OPT_IN, OPT_OUT = REGIMES = ("opt-in", "opt-out")
SUBJECTS = {True: "riding line", False: "own message", None: "contact"}


def read_policy(node: Node, actions: Sequence[Action], context: Context) -> ContactPolicy:
    """The contact policy; what is wrong is noted in the context's problems."""
    section = Section(node, "contact_policy", context.problems)
    consents = read_gates(section, "contact_only_when", "consent", actions, context)
    pauses = read_gates(section, "pause_while", "pauses", actions, context)
    data = read_data_consents(section, actions, context)
    registers = read_registers(section, actions, context)
    _once(context, section)
    limits: dict[str, Limit] = {}
    for key, read in (("limits", _limit), ("saturation", _saturation)):
        for one in section.items(key):
            limit = read(one, actions, context)
            if limit.name in limits:
                context.problems.add(one, f"there are two limits `{limit.name}`", "give one a `name` of its own")
            limits[limit.name] = limit
    quiet_hours, quiet_for = _for_purposes(section, "quiet_hours", "hours", hours, None, "quiet hours")
    held, held_of, listed = _holdout(section)
    return ContactPolicy(
        contact_only_when=tuple(consents),
        data_only_when=tuple(data),
        registers=tuple(registers),
        pause_while=tuple(pauses),
        opt_out=section.take("consent", known("regime", REGIMES), OPT_IN) == OPT_OUT,
        quiet_hours=quiet_hours,
        quiet_for=quiet_for,
        windows=read_windows(section, context),
        limits=tuple(limit for limit in limits.values() if not limit.unanswered),
        saturation=tuple(limit for limit in limits.values() if limit.unanswered),
        say_first=section.take("say_first", _first(actions), ()),
        margin_floor=section.take("margin_floor", read_floor(context.currency), None),
        holdout=held,
        holdout_of=held_of,
        holdout_list=listed,
        freezes=tuple(read_freeze(one, actions, context) for one in section.items("freeze")),
        declined_by=section.take("declined_by", lambda n: _told_by(n, "declines", context), ()),
        bought_by=section.take("bought_by", lambda n: _told_by(n, "buys", context), ()),
        returned_by=section.take("returned_by", lambda n: _told_by(n, "returns", context), ()),
        templates_required=section.take("templates", known("rule", ["required", "optional"]), "optional") == "required",
        confirm_above=section.take("confirm_above", price(context.currency), None),
        after_sim_swap=section.take("after_sim_swap", duration, 0),
        addresses=read_addresses(section, actions, context),
        stop_on=read_stops(section, context),
    )


def _for_purposes(
    section: Section, key: str, inner: str, read: Callable[[Node], T], default: D, what: Minded
) -> tuple[T | D, tuple[str, ...]]:
    """A value that stands alone, or in a table with the purposes that it is for."""
    table = section.section(key)
    if table is None:
        return section.take(key, read, default), minding(what)
    return table.need(inner, read, default), table.take("purposes", several(known("purpose", STANDINGS)), minding(what))


def _holdout(section: Section) -> tuple[float, tuple[str, ...], bool]:
    """The share, what is held back of whom, and whether they are told a list for all when they ask."""
    table = section.section("holdout")
    if table is None:
        return section.take("holdout", share, 0.0), minding("holdout"), False
    held_of = table.take("purposes", several(known("purpose", STANDINGS)), minding("holdout"))
    return table.need("share", share, 0.0), held_of, table.take("when_asked", known("answer", ASKED), NOTHING) == LIST


def _once(context: Context, section: Section) -> None:
    """A rule's name is its reason code: it stands for one of them."""
    first: dict[str, str] = {}
    for table in ("contact_only_when", "registers", "pause_while"):
        for name, (key, _) in section.named(table) if isinstance(section.at(table), Table) else ():
            if name in first:
                context.problems.add(key, f"the rule `{name}` stands under `{first[name]}` already", "rename one")
            first.setdefault(name, table)


def _told_by(node: Node, what: str, context: Context) -> tuple[tuple[str, str], ...]:
    """The events that tell what was done through another door, each with its text field that names the offer."""
    events = context.vocabulary.events
    found: dict[str, str] = {}
    for item in listed(node):
        event, named = event_field(item, events)
        if named not in events[event] or events[event][named] != "text":
            raise refused(item, f"`{text(item)}` is no text", "name the field that has the offer's name")
        if event in found:
            raise refused(item, f"`{event}` stands here twice", f"an event {what} one offer")
        found[event] = named
    return tuple(found.items())


def _limit(node: Node, actions: Sequence[Action], context: Context) -> Limit:
    section = Section(node, "limit", context.problems)
    at_most = section.need("at_most", whole(1, 10_000), 1, "2")
    calendar, per = section.need("per", _window, ("", MILLISECONDS["day"]), "1 day")
    counted = _counted(section, at_most, STANDINGS, actions, context)
    name = f"{counted.name} per {section.take('per', text, '')}"
    return replace(counted, name=section.take("name", text, name), per=per, calendar=calendar)


def _saturation(node: Node, actions: Sequence[Action], context: Context) -> Limit:
    section = Section(node, "saturation", context.problems)
    at_most = section.need("unanswered", whole(1, 50), 1, "5")
    rest = section.need("rest", _kept, MILLISECONDS["day"], "14 days")
    counted = _counted(section, at_most, minding("limits"), actions, context)
    return replace(counted, name=section.take("name", text, f"{counted.name} unanswered"), per=rest, unanswered=True)


def _counted(
    section: Section, at_most: int, purposes: Iterable[str], actions: Sequence[Action], context: Context
) -> Limit:
    """The contacts that a limit counts, and what it is called but for its window."""
    action = known("offer", [one.name for one in actions])
    riding = section.take("riding", boolean, None)
    channel = section.take("channel", known("channel", SENT), "")
    about = section.take("offer", action, "") or section.take("action", action, "")
    issue = section.take("issue", known("issue", sorted({one.issue for one in actions})), "")
    each = section.take("each", known("group", ("offer", "action", "issue")), "")
    shared = section.take("shared", boolean, False)
    counted = section.take("purpose", several(known("purpose", purposes)), ())
    if riding is not None and channel and riding != (channel == NOTIFICATION):
        message = "no contact is ever both: lines ride on `notification`, and messages of their own on the rest"
        context.problems.add(section.at("channel"), message, "leave out `riding` or `channel`")
    name = f"{at_most} {SUBJECTS[riding]}{'s' * (at_most > 1)}"
    name += f" by {channel}" * bool(channel) + f" of {about}" * bool(about) + f" about {issue}" * bool(issue)
    name += f" of each {each}" * bool(each) + " of the account" * shared
    name += f" for {' and '.join(counted)}" * bool(counted)
    each = each.replace("offer", "action")
    return Limit(name, at_most, 0, riding, channel, about, issue, each, shared, counted or minding("limits"))


def _first(actions: Sequence[Action]) -> Callable[[Node], tuple[str, ...]]:
    """A reader of what is said first: offers, variants of offers, and issues, each once."""
    names = [name for one in actions for name in (one.name, *(f"{one.name}/{v.name}" for v in one.variants), one.issue)]

    def read(node: Node) -> tuple[str, ...]:
        found = several(known("offer or issue", dict.fromkeys(names)))(node)
        for place, name in enumerate(found):
            if name in found[:place]:
                raise refused(node, f"`{name}` stands here twice", "it has one place")
        return found

    return read


def _window(node: Node) -> tuple[str, int]:
    """A window that slides, or the unit of the calendar that it is; and how long it is at most (ms)."""
    before, _, unit = text(node).partition("calendar ")
    if unit and not before:
        return known("unit", CALENDAR)(Scalar(node.file, node.line, unit)), CALENDAR.get(unit, 0)
    return "", _kept(node)


def _kept(node: Node) -> int:
    """A duration for which contacts are kept."""
    value = duration(node)
    if value > KEPT:
        raise refused(node, f"`{text(node)}` is longer than 400 days", "contacts are not kept for longer")
    return value
