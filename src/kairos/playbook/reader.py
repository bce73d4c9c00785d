"""From the texts of a folder to one playbook, or to everything that is wrong with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace

from kairos.domain.money import Currency
from kairos.errors import Diagnostic, PlaybookError
from kairos.playbook.action_file import read_actions
from kairos.playbook.budget_file import read_budgets
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, Table, parse, refused
from kairos.playbook.freeze_file import time_zone
from kairos.playbook.fulfil_file import check_confirm
from kairos.playbook.margin_file import with_floors
from kairos.playbook.measure import unfit_lines
from kairos.playbook.messages_file import (
    check_answers,
    check_beside,
    check_placeholders,
    check_templates,
    read_messages,
)
from kairos.playbook.playbook import Beside, Playbook
from kairos.playbook.policy_file import read_policy
from kairos.playbook.replies_file import check_entities, read_replies
from kairos.playbook.section import Problems, Section
from kairos.playbook.seeds_file import read_seeds
from kairos.playbook.tests_file import read_tests
from kairos.playbook.ussd_file import read_ussd
from kairos.playbook.values import nearest, price, rate, text, whole, words
from kairos.playbook.vocabulary_file import read_vocabulary

FILES = ("playbook.yaml", "vocabulary.yaml", "messages.yaml", "contact_policy.yaml", "replies.yaml")
OPTIONAL = ("budgets.yaml", "seeds.yaml", "ussd.yaml")
FOLDERS = ("offers", "actions", "messages", "tests")
MAX_CHARACTERS = 8 * 1024 * 1024  # of all files


def read(texts: Mapping[str, str]) -> Playbook:
    """The playbook that the texts say: path in the folder (with `/`) -> content. The same texts, the same playbook.

    Raises PlaybookError with everything that is wrong, in the order of files and lines. Where a text is no YAML, or
    the vocabulary is wrong, only that is told, for everything else hangs on it.
    """
    problems = Problems()
    nodes = _documents(texts, problems)
    name, seed, context = _read_playbook(nodes.get("playbook.yaml", Table("playbook.yaml", 0)), problems)
    vocabulary = read_vocabulary(nodes.get("vocabulary.yaml", Table("vocabulary.yaml", 0)), context)
    _raise(problems)
    playbook = _compile(name, seed, nodes, replace(context, vocabulary=vocabulary), texts)
    _raise(problems)
    return playbook


def revision(texts: Mapping[str, str]) -> str:
    """A short hash of the texts and their paths, whatever their order.

    >>> revision({"a.yaml": "x", "b.yaml": "y"}) == revision({"b.yaml": "y", "a.yaml": "x"})
    True
    """
    digest = hashlib.blake2b(digest_size=6)
    for path, content in sorted(texts.items()):
        for part in (path, content):
            octets = part.encode("utf-8", "surrogatepass")
            digest.update(len(octets).to_bytes(8, "big") + octets)
    return digest.hexdigest()


def _documents(texts: Mapping[str, str], problems: Problems) -> dict[str, Node]:
    """The trees of all files that are part of a playbook; the rest is noted."""
    if sum(map(len, texts.values())) > MAX_CHARACTERS:
        raise PlaybookError([Diagnostic("", 0, f"the files have more than {MAX_CHARACTERS} characters together")])
    nodes: dict[str, Node] = {}
    for path, content in sorted(texts.items()):
        problems.attempt(None, "", _place, path)
        node = problems.attempt(None, "", parse, path, content)
        if node is not None:
            nodes[path] = node
    for path in FILES:
        if path not in texts and not (path == "messages.yaml" and _in(nodes, "messages")):
            problems.add(Table(path, 0), "the file is missing", "`kairos new` shows what stands in it")
    return nodes


def _place(path: str) -> None:
    folder, _, file = path.rpartition("/")
    if path in (*FILES, *OPTIONAL) or (folder in FOLDERS and file.endswith(".yaml")):
        return
    hint = nearest(path, (*FILES, *OPTIONAL)) if not folder else nearest(folder, FOLDERS)
    if path.endswith(".yml"):
        hint = "name it `.yaml`"
    raise PlaybookError([Diagnostic(path, 0, "nothing in a playbook has this place", hint)])


def _in(nodes: Mapping[str, Node], *folders: str) -> list[Node]:
    return [node for path, node in nodes.items() if path.partition("/")[0] in folders and "/" in path]


def _raise(problems: Problems) -> None:
    if problems:
        raise PlaybookError(sorted(problems.found, key=lambda found: (found.file, found.line)))


def _compile(name: str, seed: str, nodes: Mapping[str, Node], context: Context, texts: Mapping[str, str]) -> Playbook:
    single = [nodes[path] for path in ("messages.yaml",) if path in nodes]
    messages = read_messages([*single, *_in(nodes, "messages")], context)
    if "budgets.yaml" in nodes:
        context = replace(context, budgets=read_budgets(nodes["budgets.yaml"], context))
    actions = read_actions(_in(nodes, "offers", "actions"), messages, context)
    check_answers(messages, Table("messages.yaml", 0), context)
    check_placeholders(messages, actions, context)
    check_beside(messages, actions, context)
    policy = read_policy(nodes["contact_policy.yaml"], actions, context)
    actions = with_floors(actions, policy, context)
    check_confirm(messages, actions, policy, context)
    replies = read_replies(nodes["replies.yaml"], context)
    if policy.templates_required:
        check_templates(messages, actions, context)
        check_entities(replies, nodes["replies.yaml"], context)
    playbook = Playbook(
        name=name,
        revision=revision(texts),
        texts=dict(texts),
        currency=context.currency,
        languages=context.languages,
        time_zone=context.time_zone,
        vocabulary=context.vocabulary,
        actions=actions,
        messages={
            name: {language: tuple(found.text for found in texts) for language, texts in by_language.items()}
            for name, by_language in messages.items()
        },
        template_ids={
            name: {language: tuple(found.template_id for found in texts) for language, texts in by_language.items()}
            for name, by_language in messages.items()
            if any(found.template_id for texts in by_language.values() for found in texts)
        },
        beside={
            name: {language: tuple(found.beside for found in texts) for language, texts in by_language.items()}
            for name, by_language in messages.items()
            if any(found.beside != Beside() for texts in by_language.values() for found in texts)
        },
        policy=policy,
        replies=replies,
        tests=read_tests(_in(nodes, "tests"), actions, policy, context),
        seed=seed,
        budgets=tuple(context.budgets.values()),
        ussd=read_ussd(nodes["ussd.yaml"], context) if "ussd.yaml" in nodes else None,
        testers=read_seeds(nodes["seeds.yaml"], actions, context) if "seeds.yaml" in nodes else (),
    )
    if not context.problems:
        for message, language, said in unfit_lines(playbook):
            place = messages[message][language][-1]
            context.problems.add(place, f"`{message}` can ride on no notification: {said}", "add a shorter text")
    return playbook


# --- playbook.yaml -------------------------------------------------------------------------------------------------


def _read_playbook(node: Node, problems: Problems) -> tuple[str, str, Context]:
    """Its name, its seed, and what everything else is read against."""
    section = Section(node, "playbook", problems)
    example = '{code: XTS, digits: 2, sign: "T$"}'
    currency = section.need("currency", lambda n: _currency(n, problems), Currency("XXX"), example)
    languages = section.need("languages", _languages, ("en",), "[en, fr]")
    called = section.need("name", text, "", "Prepaid")
    zone = section.take("time_zone", time_zone, "UTC")
    seed = section.take("seed", text, "kairos")
    return called, seed, Context(currency, languages, problems, time_zone=zone, tax=section.take("tax", rate, 0))


def _currency(node: Node, problems: Problems) -> Currency:
    section = Section(node, "currency", problems)
    code = section.need("code", _code, "XXX", "XTS")
    currency = Currency(code, section.take("digits", whole(0, 4), 2), section.take("sign", _sign, f"{code} "))
    step = section.take("rounding", price(currency), 1)
    if not step:
        problems.add(section.at("rounding"), "`rounding` is 0", "write the smallest amount that can be charged")
    return replace(currency, step=step or 1)


def _code(node: Node) -> str:
    word = text(node)
    if not re.fullmatch("[A-Z]{3}", word):
        raise refused(node, f"`{word}` is no currency code", "write its three capital letters, as in `XTS`")
    return word


def _sign(node: Node) -> str:
    """As it is written: a space at its end stands between the sign and the amount."""
    shown = text(node)
    return node.text if isinstance(node, Scalar) else shown


def _languages(node: Node) -> tuple[str, ...]:
    tags = words(node)
    if not tags:
        raise refused(node, "there is no language", "write them as in `languages: [en, fr]`")
    for tag in tags:
        if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", tag, re.ASCII):
            raise refused(node, f"`{tag}` is no language tag", "write it as in `en` or `pt-BR`")
    if len({tag.lower() for tag in tags}) < len(set(tags)):
        raise refused(node, "two tags differ only in their case", "keep one")
    return tuple(dict.fromkeys(tags))
