"""Everything that one revision of a playbook compiles to, for every room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kairos import decide, deliver, enrich, respond
from kairos.decide import Arm
from kairos.decide import Program as Deciding
from kairos.errors import PlaybookError
from kairos.playbook import read
from kairos.playbook.page_words import LINK
from kairos.playbook.playbook import Playbook


@dataclass(frozen=True)
class Program:
    """One playbook, ready to run. A running engine swaps it whole, between two batches."""

    playbook: Playbook
    plan: enrich.Plan
    decide: decide.Program
    messages: deliver.Messages
    offers: tuple[Mapping[str, str | None], ...]  # by arm: what every offer of it says alike
    linked: frozenset[str]  # messages that say `{link}`
    needs: Mapping[str, tuple[int, ...]]  # message -> places in a row without whose values it cannot be said
    replies: respond.Replies
    places: Mapping[str, int]  # column -> its place in a row
    consents: Mapping[str, tuple[tuple[str, int], ...]]  # event -> attributes that it sets, with their places
    declines: Mapping[str, str]  # event -> its field with the offer that it declines
    buys: Mapping[str, str]  # and with what was bought through another door
    returns: Mapping[str, str]  # and with what was given back there
    heeded: frozenset[str]  # events that say any of these, or of a consent
    sold: Mapping[str, tuple[Arm, ...]]  # offer, offer/variant or product -> the arms that sell it
    pages: deliver.Messages  # the texts of the menus
    passing: Deciding  # the contact policy for messages of other systems

    @property
    def short_code(self) -> str:
        """Where offers ask to be answered when the notification's own sender is no short code of ours."""
        return next(iter(self.playbook.replies), "")

    def entity(self, sender: str) -> str:
        """The id under which the regulator knows a sender of ours; empty where it has none."""
        words = self.playbook.replies.get(sender)
        return words.entity_id if words else ""

    def language(self, row: Sequence[Any]) -> str:
        """The playbook's language for whoever this row is of: their own, else the fallback."""
        place = self.places.get("language")
        preferred = row[place] if place is not None else None
        return self.messages.language_for(preferred if isinstance(preferred, str) else "")

    def page_text(self, page: str, language: str, row: Sequence[Any]) -> str:
        """What a text of the menus says to whoever this row is of; empty where there is none, or it cannot be said."""
        if page not in self.pages.templates:
            return ""
        known = deliver.Row(self.places, row)
        values = deliver.Values({}, known, self.playbook.vocabulary.names, self.playbook.currency)
        return self.pages.text(page, language, values) or ""


def compile_program(playbook: Playbook) -> Program:
    """Compile every room's part."""
    deciding = decide.compile_program(playbook)
    messages = deliver.compile_messages(playbook)
    places = {name: place for place, name in enumerate(playbook.vocabulary.columns)}
    offers = tuple(deliver.offer_values(playbook, arm.action, arm.variant) for arm in deciding.arms)
    said = {message for channel in deciding.message for message in channel.values()}
    own = {name for offer in offers for name in offer}  # an offer's own names go before columns
    consents, policy = _consents(playbook), playbook.policy
    declines, buys, returns = (dict(kinds) for kinds in (policy.declined_by, policy.bought_by, policy.returned_by))
    return Program(
        playbook,
        enrich.compile_plan(playbook.vocabulary, playbook.time_zone),
        deciding,
        messages,
        offers,
        frozenset(name for name in messages.templates if messages.says(name, LINK)),
        {name: tuple(places[n] for n in messages.needs(name) - own if n in places) for name in said},
        respond.compile_replies(playbook),
        places,
        consents,
        declines,
        buys,
        returns,
        frozenset((*consents, *declines, *buys, *returns)),
        _sold(deciding.arms),
        deliver.compile_pages(playbook),
        decide.compile_passing(playbook),
    )


def compile_earlier(texts: Mapping[str, str] | None) -> Program | None:
    """The program of an earlier revision, where it is still known, and this kairos still reads it."""
    try:
        return compile_program(read(texts)) if texts else None
    except PlaybookError:
        return None


def _sold(arms: Sequence[Arm]) -> dict[str, tuple[Arm, ...]]:
    """A part of a bundle is not the bundle."""
    sold: dict[str, tuple[Arm, ...]] = {}
    for arm in arms:
        whole = arm.variant.product if len(arm.variant.products) < 2 else ""
        for name in {arm.action.name, arm.name, whole} - {""}:
            sold[name] = (*sold.get(name, ()), arm)
    return sold


def _consents(playbook: Playbook) -> dict[str, tuple[tuple[str, int], ...]]:
    """The attributes that somebody's consent hangs on, by the event that sets them."""
    withdrawn = {name for words in playbook.replies.values() for name in words.withdraws}
    places = {name: place for place, name in enumerate(playbook.vocabulary.attributes)}
    setting: dict[str, tuple[tuple[str, int], ...]] = {}
    for name in sorted((playbook.policy.asked | withdrawn) & places.keys()):
        for kind in {kind for kind, _ in playbook.vocabulary.attributes[name].sources}:
            setting[kind] = (*setting.get(kind, ()), (name, places[name]))
    return setting
