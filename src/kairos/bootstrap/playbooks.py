"""Playbooks: from texts to a program that these settings can carry, at the start and whenever the texts change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from kairos.adapters.onnx import OnnxModel
from kairos.adapters.registers import Registers
from kairos.adapters.status import PlaybookWatch
from kairos.deliver import OfferLinks
from kairos.domain.money import Currency
from kairos.engine.engine import Engine
from kairos.engine.program import Program, compile_program
from kairos.errors import Diagnostic, PlaybookError, SettingsError, StoreError
from kairos.ingest import Patterns, Template, compile_patterns
from kairos.playbook import load_texts
from kairos.playbook import read as read_playbook
from kairos.playbook.advice import said, text_places
from kairos.playbook.page_words import LINK
from kairos.playbook.playbook import Playbook
from kairos.playbook.vocabulary import Vocabulary
from kairos.ports import Clock, Store
from kairos.settings import Settings

log = structlog.get_logger("kairos")


def open_playbook(
    store: Store,
    texts: dict[str, str],
    current: Playbook | None = None,
    check: Callable[[Program], None] | None = None,
) -> Program | None:
    """Read, compile, `check` and keep a playbook; None where it is the `current` one. Raises PlaybookError."""
    playbook = read_playbook(texts)
    if current and playbook.revision == current.revision:
        return None
    program = compile_program(playbook)
    written = money_of(playbook.currency)
    kept = store.keep("currency", money_of((current or playbook).currency))
    if kept != written:
        what = f"the currency changed from {kept}"
        hint = "prices of open offers and balances are kept in it: begin a new store for another currency"
        raise PlaybookError([Diagnostic("playbook.yaml", 0, what, hint)])
    if check:
        check(program)
    store.save_playbook(playbook.revision, playbook.vocabulary.layout, dict(texts))
    return program


def money_of(currency: Currency) -> str:
    """What an amount in minor units means, in words.

    >>> money_of(Currency("XTS", 2, "T$"))
    'XTS with 2 digits'
    """
    return f"{currency.code} with {currency.digits} digits"


def old_vocabulary(store: Store, layout: str) -> Vocabulary | None:
    """The vocabulary that a stored state was written with, if its playbook is still known and readable."""
    texts = store.playbook_with_layout(layout)
    try:
        return read_playbook(texts).vocabulary if texts else None
    except PlaybookError:
        return None


def own_model(settings: Settings, program: Program) -> OnnxModel | None:
    """The propensity model that the settings name. Raises SettingsError where it cannot be used with the playbook."""
    learning = settings.learning
    if not learning.model:
        return None
    model = OnnxModel(Path(learning.model), learning.model_within_ms / 1000)
    model.check(program)
    return model


def page_links(settings: Settings, currency: Currency) -> OfferLinks | None:
    """What signs links to the landing page, where there is one. Raises SettingsError."""
    page = settings.page
    try:
        currency.parse(page.tap_up_to)
    except ValueError as error:
        raise SettingsError([Diagnostic("", 0, f"`page.tap_up_to`: {error}", f"so has {currency.code}")]) from None
    return OfferLinks(page.url, [secret.encode() for secret in page.secrets]) if page.url else None


def check_links(links: OfferLinks | None, program: Program) -> list[str]:
    """Without a page: the messages that have texts with a link. Raises PlaybookError where one is said, and has no
    other text."""
    if links or not program.linked:
        return []
    linked = sorted(program.linked & said(program.playbook))
    if needy := [name for name in linked if LINK in program.messages.needs(name)]:
        places = text_places(program.playbook)
        first = {message: place for (message, _, _), place in reversed(places.items())}
        hint = "set `url` of [page] in the settings, or give it a text without"
        what = "every text of `{}` says `{{link}}`, and there is no landing page"
        raise PlaybookError([Diagnostic(first[one].file, first[one].line, what.format(one), hint) for one in needy])
    return linked


def check_senders(settings: Settings, program: Program) -> None:
    """Refuse another system's sender id that is a short code of ours: a yes to its messages would take our offers.

    Raises SettingsError that names both.
    """
    found = [
        Diagnostic(
            "",
            0,
            f"`senders.{name}.ids`: replies to `{one}` take the playbook's offers",
            f"give `{name}` another sender id, or leave `{one}` out of replies.yaml",
        )
        for name, sender in settings.senders.items()
        for one in sender.ids
        if one in program.playbook.replies
    ]
    if found:
        raise SettingsError(found)


def read_patterns(settings: Settings, program: Program) -> Patterns:
    """The notification patterns of the settings, typed after the playbook's vocabulary. Raises SettingsError."""
    templates = [
        Template(
            account=patterns.account,
            language=patterns.language,
            kind=patterns.event,
            text=text,
            words=patterns.words,
            time_format=patterns.time_format,
            time_zone=patterns.time_zone,
            decimal=patterns.decimal,
            where=f"kairos.toml: patterns of `{patterns.account}` in `{patterns.language}`, text {number}",
        )
        for patterns in settings.patterns
        for number, text in enumerate(patterns.texts, 1)
    ]
    return compile_patterns(templates, program.playbook.vocabulary, program.playbook.currency)


async def watch_playbook(
    folder: Path, every_s: float, take: Callable[[dict[str, str]], Awaitable[None]], seen: PlaybookWatch, clock: Clock
) -> None:
    """Take a new revision when the folder has one that is sound; else the old one stays, and the log says why."""
    looked_at: dict[str, str] | None = None
    while True:
        await asyncio.sleep(every_s)
        texts = None
        try:
            texts = await asyncio.to_thread(load_texts, folder)
            if texts == looked_at:
                continue
            await take(texts)
            seen.refused = ""
        except Exception as error:  # whatever is wrong with it, the watch goes on
            why = str(error) or repr(error)
            if why != seen.refused:
                seen.refused, seen.refused_since = why, clock()
                log.error("the new playbook is not sound; the old one stays", reason=why)
            if isinstance(error, StoreError):
                texts = None  # that may pass
        looked_at = texts


async def watch_registers(registers: Registers, engine: Engine, every_s: float) -> None:
    """Take the registers' files when they change. Until one was read, everybody is on it."""
    told: dict[str, str] = {}
    while True:
        names = [gate.file for gate in engine.program.decide.lists]
        if names:
            engine.register(await asyncio.to_thread(registers.look, names))
        for name, why in registers.trouble.items():
            if told.get(name) != why:
                known = "it stays as it was" if name in registers.listed else "everybody counts as on it"
                log.error(f"a register cannot be read: {known}", register=name, reason=why)
        told = dict(registers.trouble)
        await asyncio.sleep(every_s)
