"""Addresses of contact_policy.yaml: which attribute says where somebody is reached on a channel, and what STOP does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kairos.domain.channel import ADDRESSED, LONG, OWN
from kairos.playbook.action import Action
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, refused
from kairos.playbook.section import Section
from kairos.playbook.values import known, nearest, several
from kairos.rules import Type

UNLIKE: Final[Mapping[Type, tuple[str, str]]] = {
    "text": ("no text", "an address is one: write `type: text`"),
    "boolean": ("no yes or no", "name the attribute that the consent hangs on"),
}


def read_addresses(section: Section, actions: Sequence[Action], context: Context) -> dict[str, str]:
    """Attributes by channel; what is wrong is noted, with each channel that is used and has none."""
    found: dict[str, str] = {}
    for channel, (key, value) in section.named("addresses"):
        if channel not in LONG:
            context.problems.add(key, f"nothing is sent to an address on `{channel}`", nearest(channel, LONG))
            continue
        found[channel] = context.problems.attempt("", channel, _attribute("text", context), value)
    for action in actions:
        for channel in (one.channel for one in action.treatments if one.channel in ADDRESSED):
            if channel not in found:
                message = f"`{action.name}` goes out on `{channel}`, and nothing says to which address"
                hint = f"name an attribute in contact_policy.yaml, as in `addresses: {{{channel}: {channel}_address}}`"
                context.problems.add(Scalar(action.file, action.line, action.name), message, hint)
    return found


def read_stops(section: Section, context: Context) -> dict[str, tuple[str, ...]]:
    """The consents that a STOP on a channel withdraws, in place of those of the replies."""
    found: dict[str, tuple[str, ...]] = {}
    for channel, (key, value) in section.named("stop_on"):
        if channel not in OWN:
            context.problems.add(key, f"nobody says STOP on `{channel}`", nearest(channel, OWN))
            continue
        found[channel] = context.problems.attempt((), channel, several(_attribute("boolean", context)), value)
    return found


def _attribute(wanted: Type, context: Context) -> Callable[[Node], str]:
    """A reader of the name of an attribute that is what is wanted."""
    attributes = context.vocabulary.attributes

    def read(node: Node) -> str:
        name = known("attribute", attributes)(node)
        if attributes[name].type != wanted:
            what, hint = UNLIKE[wanted]
            raise refused(node, f"`{name}` is {what}", hint)
        return name

    return read
