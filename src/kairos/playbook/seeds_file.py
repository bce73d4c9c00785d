"""seeds.yaml: test subscribers, who see what marketers make before others do; the file may be missing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kairos.playbook.action import Action
from kairos.playbook.context import Context
from kairos.playbook.document import Node, refused
from kairos.playbook.playbook import Tester
from kairos.playbook.section import Section
from kairos.playbook.values import nearest, text


def read_seeds(node: Node, actions: Sequence[Action], context: Context) -> tuple[Tester, ...]:
    """The testers; what is wrong is noted in the context's problems."""
    section = Section(node, "seeds", context.problems)
    testers: dict[str, Tester] = {}
    for one in section.items("testers"):
        entry = Section(one, "tester", context.problems)
        name = entry.need("name", text, "", "Ada")
        msisdn = entry.need("msisdn", _msisdn, "", '"+12025550123"')
        if msisdn in testers:
            context.problems.add(one, f"`{msisdn}` is the number of `{testers[msisdn].name}` already", "name it once")
        testers[msisdn] = Tester(name, msisdn, entry.take("offer", lambda n: _offer(n, actions), ""))
    return tuple(testers.values())


def _msisdn(node: Node) -> str:
    word = text(node)
    if not re.fullmatch(r"\+?[1-9]\d{6,14}", word, re.ASCII):
        raise refused(node, f"`{word}` is no international number", 'write it in quotes, as in `"+12025550123"`')
    return word.removeprefix("+")


def _offer(node: Node, actions: Sequence[Action]) -> str:
    """An action, or one of its variants as in `booster/large`."""
    word = text(node)
    known = [action.name for action in actions]
    known += [f"{action.name}/{variant.name}" for action in actions for variant in action.variants if variant.name]
    if word not in known:
        raise refused(node, f"unknown offer `{word}`", nearest(word, known))
    return word
