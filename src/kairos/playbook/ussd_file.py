"""ussd.yaml: the menus that subscribers dial, in their languages."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kairos.playbook.context import Context
from kairos.playbook.document import Items, Node, Scalar
from kairos.playbook.messages_file import few_texts, with_places
from kairos.playbook.placeholders import placeholders
from kairos.playbook.section import Section, entries
from kairos.playbook.ussd import LONGEST, OFFERS, PARENT, WORDS, WORDS_OF_OFFERS, Item, Menu, Menus, Said
from kairos.playbook.values import NAME, boolean, nearest, text, whole

LEADS = ("offers", "menu", "text", "to", "parent")  # of an item: one of them
OF_AN_OFFER = ("title", "price")
MOST_OFFERS = 10
_CODE = re.compile(r"[*#]{1,2}\d{1,6}(\*\d{1,6})*#", re.ASCII)


def read_ussd(node: Node, context: Context) -> Menus:
    """The menus; what is wrong is noted in the context's problems."""
    section = Section(node, "ussd", context.problems)
    menus: dict[str, Menu] = {}
    texts: dict[str, Said] = {}
    for name, (key, value) in section.named("menus"):
        if not NAME.fullmatch(name) or name == OFFERS:
            hint = f"use small letters, digits and `_`; `{OFFERS}` stands for the offers themselves"
            context.problems.add(key, f"`{name}` cannot name a menu", hint)
        menus[name] = _menu(name, value, texts, context)
    found = Menus(
        entries=_entries(section, menus, context),
        menus=menus,
        words=_words(section, context),
        at_most=section.take("at_most", whole(1, MOST_OFFERS), 3),
        texts=texts,
    )
    for menu in menus.values():
        for item in menu.items:
            if item.leads == "menu" and item.name not in menus:
                place = Scalar(item.file, item.line, item.name)
                context.problems.add(place, f"there is no menu `{item.name}`", nearest(item.name, menus))
    return found


def _entries(section: Section, menus: Mapping[str, Menu], context: Context) -> dict[str, str]:
    found = {}
    for code, (key, value) in section.named("entries"):
        if not _CODE.fullmatch(code):
            context.problems.add(key, f"`{code}` is no service code", 'write it as it is dialled, as in `"*123#"`')
        target = context.problems.attempt("", code, text, value)
        if target and target != OFFERS and target not in menus:
            context.problems.add(value, f"there is no menu `{target}`", nearest(target, (*menus, OFFERS)))
        found[code] = target
    if not found:
        hint = 'add one, as in `entries: {"*123#": offers}`'
        context.problems.add(section.at("entries"), "no code leads to a menu", hint)
    return found


def _menu(name: str, node: Node, texts: dict[str, Said], context: Context) -> Menu:
    section = Section(node, "menu", context.problems)
    title = _said(section.at("title"), context) if "title" in section else {}
    if not title:
        context.problems.add(section.node, f"the menu `{name}` has no title", "add it, as in `title: {en: My account}`")
    found = section.items("items")
    if not found:
        hint = "add one, as in `items: [{label: {en: My offers}, offers: yes}]`"
        context.problems.add(section.node, f"the menu `{name}` has no items", hint)
    return Menu(title, tuple(_item(f"{name}/{n}", one, texts, context) for n, one in enumerate(found, 1)))


def _item(key: str, node: Node, texts: dict[str, Said], context: Context) -> Item:
    section = Section(node, "ussd_item", context.problems)
    label = _said(section.at("label"), context) if "label" in section else {}
    if not label:
        context.problems.add(node, "the item has no label", "add it, as in `label: {en: My offers}`")
    leads = [one for one in LEADS if one in section]
    if len(leads) != 1:
        what = "the item leads nowhere" if not leads else f"the item leads two ways: {' and '.join(leads)}"
        context.problems.add(node, what, "write one of `offers: yes`, `menu:`, `text:`, `to:` and `parent: yes`")
        return Item(label, "offers", file=node.file, line=node.line)
    (way,) = leads
    place = section.at(way)
    if way in ("offers", "parent") and not section.take(way, boolean, True):
        context.problems.add(place, f"`{way}: no` leads nowhere", "leave the item out")
    dial = section.take("dial", text, "")
    if dial and way != "to":
        context.problems.add(section.at("dial"), "`dial` is for an item that leads `to` another system")
    if way == "text":
        texts[key] = _said(place, context, page=True)
        return Item(label, "text", key, file=place.file, line=place.line)
    if way in ("offers", "parent"):
        return Item(label, "offers" if way == "offers" else "to", PARENT if way == "parent" else "")
    name = section.take(way, text, "")
    return Item(label, "menu" if way == "menu" else "to", name, dial, place.file, place.line)


def _words(section: Section, context: Context) -> dict[str, Said]:
    found: dict[str, Said] = {}
    for word, (key, value) in section.named("words"):
        if word not in (*WORDS, *WORDS_OF_OFFERS):
            context.problems.add(key, f"unknown word `{word}`", nearest(word, (*WORDS, *WORDS_OF_OFFERS)))
            continue
        known = OF_AN_OFFER if word in WORDS_OF_OFFERS else ()
        found[word] = _said(value, context, known=known)
        if word in ("more", "back"):
            _check_short(word, value, found[word], context)
    for word in (*WORDS, *WORDS_OF_OFFERS):
        if word not in found:
            hint = f"add it under `words`, as in `{word}: {{en: ...}}`"
            context.problems.add(section.at("words"), f"the word `{word}` is missing", hint)
    return found


def _check_short(word: str, node: Node, said: Said, context: Context) -> None:
    for texts in said.values():
        if len(texts[0]) > LONGEST:
            hint = "every screen has to have room for it, and for more"
            context.problems.add(node, f"`{word}` is longer than {LONGEST} characters: `{texts[0]}`", hint)


def _said(
    node: Node, context: Context, *, known: tuple[str, ...] = (), page: bool = False
) -> dict[str, tuple[str, ...]]:
    """A text by language, or several of which the longest that can be said is said; without a language they are the
    fallback's."""
    fallback = context.languages[0]
    if isinstance(node, Scalar | Items):
        only = context.problems.attempt((), "", _texts, node)
        found = {fallback: only} if only else {}
    else:
        found = context.by_language(node, _texts)
        if fallback not in found and list(entries(node, context.problems)):
            context.problems.add(node, f"there is no text in {fallback}, the language that all fall back to")
    columns = [name for name, kind in context.vocabulary.names.items() if kind != "boolean"] if page else []
    for texts in found.values():
        for said in texts:
            for name in placeholders(said):
                if name not in (*known, *columns):
                    hint = nearest(name, (*known, *columns)) if known or columns else "only texts can have one"
                    context.problems.add(node, f"unknown placeholder `{{{name}}}`", hint)
    return found


def _texts(node: Node) -> tuple[str, ...]:
    return tuple(map(with_places, few_texts(node)))
