"""replies.yaml: how an answer by text is understood, for each short code."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, listed, refused
from kairos.playbook.keywords import tokens
from kairos.playbook.messages_file import registered_id
from kairos.playbook.replies import ReplyWords
from kairos.playbook.section import Section, entries
from kairos.playbook.values import nearest, text

ROLES = ("accept", "decline", "stop", "help")
NEEDED = ("accept", "decline", "stop")

Words = Mapping[str, tuple[Scalar, ...]]  # by language


def read_replies(node: Node, context: Context) -> dict[str, ReplyWords]:
    """The words of each short code; what is wrong is noted in the context's problems."""
    replies = {}
    for code, (key, value) in entries(node, context.problems):
        if not re.fullmatch(r"\d{3,15}", code, re.ASCII):
            context.problems.add(key, f"`{code}` is no short code", "write its digits, as in `5000`")
        replies[code] = _short_code(code, value, context)
    if not replies:
        hint = 'add one, as in `"5000": {accept: {en: [yes]}, decline: {en: [no]}, stop: {en: [stop]}}`'
        context.problems.add(node, "there is no short code that a subscriber could answer to", hint)
    return replies


def _short_code(code: str, node: Node, context: Context) -> ReplyWords:
    section = Section(node, "replies", context.problems)
    words = {role: _words(section, role, context) for role in ROLES}
    services = {
        key.text: (key, context.problems.attempt("", key.text, text, value))
        for _, (key, value) in section.named("other_services")
    }
    _check_collisions(words, [key for key, _ in services.values()], context)
    accept, decline, stop, help_ = ({lang: tuple(w.text for w in ws) for lang, ws in words[r].items()} for r in ROLES)
    accounts = {word: account for word, (_, account) in services.items()}
    entity = section.take("entity_id", registered_id, "")
    return ReplyWords(code, accept, decline, stop, help_, _withdraws(section, context), accounts, entity)


def check_entities(replies: Mapping[str, ReplyWords], node: Node, context: Context) -> None:
    """Note each sender that has no entity id, where the market wants one."""
    for code, words in replies.items():
        if not words.entity_id:
            hint = 'add it, as in `entity_id: "1101000000000000001"`'
            context.problems.add(node, f"the sender `{code}` has no entity id, and template ids are required", hint)


def _words(section: Section, role: str, context: Context) -> Words:
    if role not in section:
        if role in NEEDED:
            context.problems.add(section.node, f"`{role}` is missing", f"add it, as in `{role}: {{en: [...]}}`")
        return {}
    words = context.by_language(section.at(role), _keywords)
    if role in NEEDED and not words.get(context.languages[0]):
        message = f"`{role}` has no word in {context.languages[0]}"
        context.problems.add(section.at(role), message, "it is the language that all fall back to")
    return words


def _keywords(node: Node) -> tuple[Scalar, ...]:
    return tuple(map(_keyword, listed(node)))


def _keyword(node: Node) -> Scalar:
    word = text(node)
    said = tokens(word)
    if not said:
        raise refused(node, f"`{word}` has no letter", "marks are not read")
    if any(token.isdecimal() for token in said):
        raise refused(node, f"`{word}` has a digit, and digits are the number of an offer", "use letters only")
    return Scalar(node.file, node.line, word)


def _check_collisions(words: Mapping[str, Words], services: list[Scalar], context: Context) -> None:
    """Note each word that would be understood in two ways."""
    meant: dict[tuple[str, ...], tuple[str, Scalar]] = {}
    for role, by_language in words.items():
        for word in (word for found in by_language.values() for word in found):
            other, first = meant.setdefault(tokens(word.text), (role, word))
            if other != role:
                said = f"`{word.text}` is a word of `{role}`, and `{first.text}` on line {first.line} one of `{other}`"
                context.problems.add(word, said, "case, accents and marks make no difference; keep one")
    first_words = {phrase[0]: meant[phrase][1] for phrase in sorted(meant, key=len, reverse=True)}
    relayed: dict[str, Scalar] = {}
    for key in services:
        _check_service(key, relayed, first_words, context)
        relayed.setdefault(" ".join(tokens(key.text)), key)


def _check_service(key: Scalar, relayed: Mapping[str, Scalar], own: Mapping[str, Scalar], context: Context) -> None:
    phrase = tokens(key.text)
    folded = " ".join(phrase)
    if folded in own:
        said = f"`{key.text}` belongs to another service, and `{own[folded].text}` on line {own[folded].line} is ours"
        context.problems.add(key, said, "a reply can go one way only")
    elif folded in relayed:
        said = f"`{key.text}` reads the same as `{relayed[folded].text}`"
        context.problems.add(key, said, "case, accents and marks make no difference; keep one")
    elif len(phrase) != 1 or folded.isdecimal():
        hint = "a reply is relayed by its first word; digits are the number of an offer"
        context.problems.add(key, f"`{key.text}` is not one word of letters", hint)


def _withdraws(section: Section, context: Context) -> tuple[str, ...]:
    """The boolean attributes that STOP sets to false."""
    if "withdraws" not in section:
        hint = "say what STOP withdraws, as in `withdraws: [marketing_consent]`"
        context.problems.add(section.node, "`withdraws` is missing", hint)
        return ()
    attributes = context.vocabulary.attributes
    stored = [a.name for a in attributes.values() if a.type == "boolean" and not a.derived]
    found = []
    for node in section.items("withdraws"):
        word = context.problems.attempt("", "withdraws", text, node)
        if word in stored:
            found.append(word)
        elif word:
            context.problems.add(node, f"`{word}` is no boolean attribute", nearest(word, stored))
    return tuple(found)
