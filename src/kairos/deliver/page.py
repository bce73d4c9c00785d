"""What the landing page of an offer says: its words, in the language of the offer, and which buttons it has.

Of the subscriber it says nothing, neither number nor balance: whoever holds the link reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from kairos.deliver.messages import Messages
from kairos.deliver.template import Template, compile_template
from kairos.domain.subscriber import OpenOffer
from kairos.playbook.page_words import PAGE

# How an offer looks that cannot be taken any more, or not now, and the message that says so.
NEWS: Final[Mapping[str, tuple[str, str]]] = {
    "accepted": ("under_way", "page_accepted"),
    "fulfilled": ("done", "confirmed"),
    "bought": ("done", "already_taken"),
    "unpaid": ("open", "refused_funds"),
    "refused": ("over", "refused"),
    "declined": ("over", "declined"),
    "expired": ("over", "expired"),
    "withdrawn": ("over", "expired"),
    "reversed": ("over", "page_ended"),
}
NOT_NOW: Final = ("page_not_now", "sim_changed")  # why a yes was not taken, though the offer stays open

# Written from right to left: languages, and scripts (ISO 15924) that a tag may name.
LEFTWARD: Final = frozenset(("ar", "ckb", "dv", "fa", "he", "ks", "nqo", "pnb", "ps", "sd", "syr", "ug", "ur", "yi"))
LEFTWARD_SCRIPTS: Final = frozenset(("adlm", "arab", "hebr", "nkoo", "rohg", "syrc", "thaa"))
FIGURES: Final = ("price", "net", "tax", "expires", "number", "short_code")  # read from left to right everywhere


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page says, as plain text. What is empty is left out; a button without words is none."""

    language: str
    looks: str  # open, sure, under_way, done, over, nothing
    news: str = ""
    brand: str = ""
    heading: str = ""
    title: str = ""
    words: str = ""
    price: str = ""
    fine: tuple[str, ...] = ()
    take: str = ""
    decline: str = ""
    stop: str = ""
    reply: str = ""
    reply_to: tuple[str, str] = ("", "")  # a short code, and what to say to it

    @property
    def direction(self) -> str:
        return direction(self.language)


def shown_offer(
    messages: Messages,
    offer: OpenOffer,
    status: str,
    values: Mapping[str, str | None],
    *,
    words: str = "",
    taps: bool = True,
    asked_twice: bool = False,
    now: str = "",
) -> Shown:
    """An offer by its `status`. `values`: what answers about it may say. `words`: its own, for anybody's eyes.

    `taps`: whether whoever looks may take it here; who may not is told to reply. `asked_twice`: a first yes waits for
    its second. `now`: one of NOT_NOW.
    """
    language = messages.language_for(offer.language)
    say = Words(messages, language, values)
    looks, news = NEWS.get(status, ("open", now if now in NOT_NOW else ""))
    page = Shown(language, looks, say(news), say("page_brand"), title=offer.title)
    if looks != "open":
        return page
    terms = [say("page_until"), say("page_tax") if offer.price else "", say("page_terms")]
    page = replace(
        page,
        heading=say("page_heading"),
        words=words,
        price=(say.fill("{price}") if offer.price else "") or say("page_free"),
        fine=tuple(line for line in terms if line),
    )
    if offer.redeemed_by:  # an event takes it
        return page
    if not taps:
        button = say("page_reply") if offer.number and offer.short_code else ""
        to = (offer.short_code, str(offer.number)) if button else ("", "")
        return replace(page, news=say("page_reply_why"), reply=button, reply_to=to)
    if asked_twice and not now:
        page = replace(page, looks="sure", news=say("page_sure"), take=say("page_again"))
    else:
        page = replace(page, take=say("page_take"))
    return replace(page, decline=say("page_decline"))


def shown_alone(messages: Messages, language: str, message: str, stop: bool = False) -> Shown:
    """A page about no offer: a link that is none, another person's, or the question whether to send no more."""
    say = Words(messages, messages.language_for(language), {})
    button = say("page_stop") if stop else ""
    return Shown(say.language, "nothing", say(message), say("page_brand"), stop=button)


def direction(language: str) -> str:
    """Where a language's lines run to.

    >>> direction("ar-EG"), direction("en"), direction("az-Arab"), direction("uz-Latn")
    ('rtl', 'ltr', 'rtl', 'ltr')
    """
    first, *rest = language.lower().split("-")
    script = next((one for one in rest if len(one) == 4 and one.isalpha()), "")
    leftward = script in LEFTWARD_SCRIPTS if script else first in LEFTWARD
    return "rtl" if leftward else "ltr"


class Words:
    """What the page's messages say in a language: the playbook's, else ours in English, else nothing."""

    def __init__(self, messages: Messages, language: str, values: Mapping[str, str | None]) -> None:
        self.messages, self.language, self.values = messages, language, values
        if direction(language) == "rtl":
            self.values = {**values} | {name: _isolated(values.get(name)) for name in FIGURES}

    def __call__(self, message: str) -> str:
        if not message:
            return ""
        own = self.messages.text(message, self.language, self.values) if message in self.messages.templates else None
        return own or next(filter(None, (one.fill(self.values) for one in _english(message))), "")

    def fill(self, text: str) -> str:
        return compile_template(text).fill(self.values) or ""


def _isolated(figure: str | None) -> str | None:
    """A figure whose parts keep their order among letters that run to the left (UAX 9, section 2.7)."""
    return figure and f"\u2066{figure}\u2069"


@lru_cache
def _english(message: str) -> tuple[Template, ...]:
    return tuple(compile_template(text) for text in PAGE.get(message, ()))
