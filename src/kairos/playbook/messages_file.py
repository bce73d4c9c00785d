"""messages.yaml: what is said, in each language, longest text first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kairos.playbook.action import Action
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, Table, listed, refused
from kairos.playbook.markup import unsafe
from kairos.playbook.page_words import LINK, PAGE, sayable
from kairos.playbook.placeholders import placeholders, stray
from kairos.playbook.playbook import ANSWERS, MAY_ANSWER, Beside
from kairos.playbook.section import Section, entries
from kairos.playbook.values import NAME, nearest, text


@dataclass(frozen=True, slots=True)
class Wording(Scalar):
    """A text, the id under which the regulator knows it as a template (empty: it has none), and what is beside it."""

    template_id: str = ""
    beside: Beside = field(default_factory=Beside)

    @property
    def written(self) -> tuple[str, str, str]:
        return self.text, self.beside.subject, self.beside.html


Texts = Mapping[str, Mapping[str, tuple[Wording, ...]]]  # message -> language -> texts, longest first

OFFER_WORDS = ("title", "price", "number", "expires", "short_code", LINK)
TAX_WORDS = ("net", "tax")  # the parts of the price, where a rate of tax is known
ANSWER_WORDS: Mapping[str, tuple[str, ...]] = {
    name: ("short_code",) if name in ("stopped", "help", "which_one", "nothing_open") else (*OFFER_WORDS, *TAX_WORDS)
    for name in (*ANSWERS, *MAY_ANSWER)
} | {name: sayable(name) for name in PAGE}
MOST_TEXTS = 10


def read_messages(nodes: Iterable[Node], context: Context) -> dict[str, dict[str, tuple[Wording, ...]]]:
    """The messages of one or several files; placeholders are checked later, when it is known who says them."""
    messages: dict[str, dict[str, tuple[Wording, ...]]] = {}
    places: dict[str, Scalar] = {}
    for node in nodes:
        for name, (key, value) in entries(node, context.problems):
            if not NAME.fullmatch(name):
                context.problems.add(key, f"`{name}` is no name", "use small letters, digits and `_`")
            if name in messages:
                context.problems.add(key, f"the message `{name}` stands in {places[name].file} already")
                continue
            messages[name], places[name] = context.by_language(value, lambda n: _texts(n, context)), key
            fallback = context.languages[0]
            if fallback not in messages[name]:
                message = f"the message `{name}` has no text in {fallback}, the language that all fall back to"
                context.problems.add(key, message)
    return messages


def _texts(node: Node, context: Context) -> tuple[Wording, ...]:
    return tuple(_text(one, context) for one in few_texts(node))


def few_texts(node: Node) -> list[Node]:
    """One text, or several of which the longest that can be said is said."""
    found = listed(node)
    if not 1 <= len(found) <= MOST_TEXTS:
        raise refused(node, f"there must be from 1 to {MOST_TEXTS} texts", "give the longest first")
    return found


def _text(node: Node, context: Context) -> Wording:
    if isinstance(node, Table):
        section = Section(node, "text", context.problems)
        id_ = section.take("template_id", registered_id, "")
        subject, html = section.take("subject", _line, ""), section.take("html", _html, "")
        beside = Beside(subject, html, section.take("media", _media, ""))
        said = _text(section.at("text"), context) if "text" in section else _missing(node)
        return replace(said, template_id=id_, beside=beside)
    return Wording(node.file, node.line, with_places(node))


def with_places(node: Node) -> str:
    """A text that may have placeholders."""
    said = text(node)
    if stray(said):
        raise refused(node, "a brace stands alone", "write `{name}` for a placeholder, or `{{` for a brace")
    return said


def _line(node: Node) -> str:
    said = with_places(node)
    if "\n" in said:
        raise refused(node, "a subject is one line", "put it in quotes on one line")
    return said


def _html(node: Node) -> str:
    said = with_places(node)
    if wrong := unsafe(said):
        raise refused(node, *wrong)
    return said


def _media(node: Node) -> str:
    said = text(node)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", said, re.ASCII):
        hint = "write its name alone, as in `beach.jpg`; operations say in which folder it is"
        raise refused(node, f"`{said}` is no name of a file", hint)
    return said


def _missing(node: Node) -> Wording:
    raise refused(
        node, "`text` is missing", 'add it, as in `{text: "Reply {number}", template_id: "1107000000000000001"}`'
    )


def registered_id(node: Node) -> str:
    """An id that a regulator gave: letters and digits."""
    word = text(node)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", word, re.ASCII):
        raise refused(node, f"`{word}` is no id", "write its letters and digits, 64 at most")
    return word


def check_templates(messages: Texts, actions: Iterable[Action], context: Context) -> None:
    """Note each text of a treatment that has no template id, where the market wants one."""
    for message in dict.fromkeys(treatment.message for action in actions for treatment in action.treatments):
        for found in _all_texts(messages, message):
            if not found.template_id:
                hint = 'write it as in `{text: "...", template_id: "1107000000000000001"}`'
                context.problems.add(found, f"this text of `{message}` has no template id, and they are required", hint)


def check_beside(messages: Texts, actions: Iterable[Action], context: Context) -> None:
    """Note each text that goes out by e-mail and has no subject."""
    by_mail = [one.message for action in actions for one in action.treatments if one.channel == "email"]
    for message in dict.fromkeys(by_mail):
        for found in _all_texts(messages, message):
            if not found.beside.subject:
                hint = 'write it as in `{subject: "More data", text: "..."}`'
                context.problems.add(found, f"`{message}` goes out by e-mail, and this text has no `subject`", hint)


def check_answers(messages: Texts, place: Node, context: Context) -> None:
    """Note each answer that kairos could not give."""
    for name in ANSWERS:
        if name not in messages:
            hint = "kairos says it in answer to a reply; add it"
            context.problems.add(place, f"the message `{name}` is missing", hint)


def check_placeholders(messages: Texts, actions: Iterable[Action], context: Context) -> None:
    """Note each placeholder that could never be filled where its message is said."""
    for action in actions:
        by_reply = action.taken_by_reply
        columns = {name for name, kind in context.vocabulary.names.items() if kind != "boolean"}
        for message in {treatment.message for treatment in action.treatments}:
            for found in _all_texts(messages, message):
                _check_offer(found, action, columns, by_reply, context)
    for name, words in ANSWER_WORDS.items():
        for found in _all_texts(messages, name):
            for word in placeholders(found.text):
                if word not in words:
                    context.problems.add(found, f"`{name}` cannot say `{{{word}}}`", nearest(word, words))


def _check_offer(found: Wording, action: Action, columns: set[str], by_reply: bool, context: Context) -> None:
    for word in dict.fromkeys(word for part in found.written for word in placeholders(part)):
        if word in ("number", LINK) and not by_reply:
            message = f"`{{{word}}}` has no value: `{action.name}` is not taken by a reply"
            context.problems.add(found, message, "say what to do instead")
            continue
        if word in columns or word in OFFER_WORDS:
            continue
        if word in TAX_WORDS:
            if not action.tax:
                hint = "say the rate, as in `tax: 15%`, in the offer or in playbook.yaml"
                context.problems.add(found, f"`{{{word}}}` has no value: `{action.name}` has no tax", hint)
            continue
        lacking = [variant.name for variant in action.variants if word not in variant.fields]
        if len(lacking) == len(action.variants):
            known = [*OFFER_WORDS, *columns, *(name for variant in action.variants for name in variant.fields)]
            context.problems.add(found, f"unknown placeholder `{{{word}}}`", nearest(word, known))
        elif lacking:
            message = f"variant `{lacking[0]}` of `{action.name}` has no `{word}`"
            context.problems.add(found, message, "add it, or leave the placeholder out")


def _all_texts(messages: Texts, name: str) -> list[Wording]:
    return [found for texts in messages.get(name, {}).values() for found in texts]
