"""contact_policy.yaml: whom we may speak to, when, and how often."""

from __future__ import annotations

from collections.abc import Sequence

from kairos.playbook.action import Action, NamedRule
from kairos.playbook.action_file import CHANNELS
from kairos.playbook.context import Context
from kairos.playbook.document import Node, refused
from kairos.playbook.freeze_file import read_freeze
from kairos.playbook.policy import ContactPolicy, Limit
from kairos.playbook.section import Section, items
from kairos.playbook.values import MILLISECONDS, boolean, duration, hours, known, price, share, text, whole

LONGEST = 400 * MILLISECONDS["day"]
SUBJECTS = {True: "riding line", False: "own message", None: "contact"}


def read_policy(node: Node, actions: Sequence[Action], context: Context) -> ContactPolicy:
    """The contact policy; what is wrong is noted in the context's problems."""
    section = Section(node, "contact_policy", context.problems)
    consents = context.named_rules(section.at("contact_only_when")) if "contact_only_when" in section else []
    pauses = context.named_rules(section.at("pause_while")) if "pause_while" in section else []
    _once(consents, pauses, context, section)
    limits: dict[str, Limit] = {}
    for one in items(section.at("limits"), context.problems) if "limits" in section else []:
        limit = _limit(one, actions, context)
        if limit.name in limits:
            context.problems.add(one, f"there are two limits `{limit.name}`", "give one a `name` of its own")
        limits[limit.name] = limit
    windows = items(section.at("freeze"), context.problems) if "freeze" in section else []
    return ContactPolicy(
        contact_only_when=tuple(consents),
        pause_while=tuple(pauses),
        quiet_hours=section.take("quiet_hours", hours, None),
        limits=tuple(limits.values()),
        holdout=section.take("holdout", share, 0.0),
        freezes=tuple(read_freeze(one, actions, context) for one in windows),
        confirm_above=section.take("confirm_above", price(context.currency), None),
        after_sim_swap=section.take("after_sim_swap", duration, 0),
    )


def _once(consents: list[NamedRule], pauses: list[NamedRule], context: Context, section: Section) -> None:
    names = {rule.name for rule in consents}
    for name, (key, _) in section.named("pause_while"):
        if name in names and any(rule.name == name for rule in pauses):
            context.problems.add(key, f"the rule `{name}` stands under `contact_only_when` already", "rename one")


def _limit(node: Node, actions: Sequence[Action], context: Context) -> Limit:
    section = Section(node, "limit", context.problems)
    action = known("offer", [one.name for one in actions])
    at_most = section.need("at_most", whole(1, 10_000), 1, "2")
    per = section.need("per", _window, MILLISECONDS["day"], "1 day")
    riding = section.take("riding", boolean, None)
    channel = section.take("channel", known("channel", CHANNELS), "")
    about = section.take("offer", action, "") or section.take("action", action, "")
    issue = section.take("issue", known("issue", sorted({one.issue for one in actions})), "")
    each = section.take("each", known("group", ("offer", "action", "issue")), "")
    shared = section.take("shared", boolean, False)
    if riding is not None and channel and riding != (channel == "notification"):
        message = "no contact is ever both: lines ride on `notification`, and messages of their own on the rest"
        context.problems.add(section.at("channel"), message, "leave out `riding` or `channel`")
    name = f"{at_most} {SUBJECTS[riding]}{'s' * (at_most > 1)}"
    name += f" by {channel}" * bool(channel) + f" of {about}" * bool(about) + f" about {issue}" * bool(issue)
    name += f" of each {each}" * bool(each) + " of the account" * shared + f" per {section.take('per', text, '')}"
    return Limit(
        section.take("name", text, name),
        at_most,
        per,
        riding,
        channel,
        about,
        issue,
        each.replace("offer", "action"),
        shared,
    )


def _window(node: Node) -> int:
    value = duration(node)
    if value > LONGEST:
        raise refused(node, f"`{text(node)}` is longer than 400 days", "contacts are not kept for longer")
    return value
