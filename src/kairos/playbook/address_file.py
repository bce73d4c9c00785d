"""Addresses of contact_policy.yaml: which attribute says where somebody is reached on a channel, and what STOP does."""

from __future__ import annotations

from collections.abc import Sequence

from kairos.domain.channel import ADDRESSED, LONG, OWN
from kairos.playbook.action import Action
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, refused
from kairos.playbook.section import Section
from kairos.playbook.values import known, nearest, several, text


def read_addresses(section: Section, actions: Sequence[Action], context: Context) -> dict[str, str]:
    """Attributes by channel; what is wrong is noted, with each channel that is used and has none."""
    found: dict[str, str] = {}
    for channel, (key, value) in section.named("addresses"):
        if channel not in LONG:
            context.problems.add(key, f"nothing is sent to an address on `{channel}`", nearest(channel, LONG))
            continue
        found[channel] = context.problems.attempt("", channel, lambda node: _text_of(node, context), value)
    for action in actions:
        for channel in (one.channel for one in action.treatments if one.channel in ADDRESSED):
            if channel not in found:
                message = f"`{action.name}` goes out on `{channel}`, and nothing says to which address"
                hint = f"name an attribute in contact_policy.yaml, as in `addresses: {{{channel}: {channel}_address}}`"
                context.problems.add(Scalar(action.file, action.line, action.name), message, hint)
    return found


def _text_of(node: Node, context: Context) -> str:
    attributes = context.vocabulary.attributes
    name = known("attribute", attributes)(node)
    if attributes[name].type != "text":
        raise refused(node, f"`{name}` is no text", "an address is one: write `type: text`")
    return name


def read_stops(section: Section, context: Context) -> dict[str, tuple[str, ...]]:
    """The consents that a STOP on a channel withdraws, in place of those of the replies."""
    found: dict[str, tuple[str, ...]] = {}
    for channel, (key, value) in section.named("stop_on"):
        if channel not in OWN:
            context.problems.add(key, f"nobody says STOP on `{channel}`", nearest(channel, OWN))
            continue
        read = several(lambda node: _boolean(node, context))
        found[channel] = context.problems.attempt((), channel, read, value)
    return found


def _boolean(node: Node, context: Context) -> str:
    attributes = context.vocabulary.attributes
    name = known("attribute", attributes)(node)
    if attributes[name].type != "boolean":
        raise refused(node, f"`{text(node)}` is no yes or no", "name the attribute that the consent hangs on")
    return name
