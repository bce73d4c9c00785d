"""A reply's words and what each means at a short code, whatever their case, accents, spacing, marks and digit forms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kairos.playbook.keywords import tokens
from kairos.playbook.replies import ReplyWords

Word = Literal["accept", "decline", "stop", "help"]
Tokens = tuple[str, ...]
Table = Mapping[str, tuple[tuple[Tokens, str], ...]]
"""First word -> phrases that begin with it, longest first, and what each means (a `Word`, or an account)."""

MAX_LETTERS: Final = 1_000  # of a reply that are read: more than any text message of three parts has in words to decide


def match(table: Table, words: Tokens, at: int) -> tuple[Tokens, str] | None:
    """The longest phrase of the table that stands at that place, and what it means."""
    for phrase, means in table.get(words[at], ()):
        if words[at : at + len(phrase)] == phrase:
            return phrase, means
    return None


@dataclass(frozen=True, slots=True)
class ShortCode:
    """`words`: a table for each language, in which its own meaning of a phrase goes before another language's."""

    words: Mapping[str, Table]
    others: Table  # words of every language, for a subscriber of none of them
    services: Table  # first words of other services -> their account
    withdraws: tuple[str, ...] = ()

    def table(self, language: str) -> Table:
        return self.words.get(language, self.others)


def compile_short_code(words: ReplyWords, languages: tuple[str, ...]) -> ShortCode:
    """Fold and index the words of a short code once; the first of `languages` is the fallback."""
    by_language: dict[str, dict[Tokens, str]] = {}
    for language, phrase, means in _phrases(words):
        # A phrase with two meanings in one language never gets past `kairos check`; here the first, and harmless, one.
        by_language.setdefault(language, {}).setdefault(phrase, means)
    order = [*[tag for tag in languages if tag in by_language], *[tag for tag in by_language if tag not in languages]]
    merged: dict[Tokens, str] = {}
    for language in reversed(order):  # the fallback language last: its meaning stays
        merged |= by_language[language]
    return ShortCode(
        {language: _table(merged | by_language.get(language, {})) for language in {*languages, *by_language}},
        _table(merged),
        _table({phrase: account for word, account in words.other_services.items() if (phrase := tokens(word))}),
        words.withdraws,
    )


def _phrases(words: ReplyWords) -> Iterator[tuple[str, Tokens, Word]]:
    """(language, phrase, meaning); what charges nobody goes first."""
    by_meaning: tuple[tuple[Word, Mapping[str, tuple[str, ...]]], ...] = (
        ("stop", words.stop),
        ("decline", words.decline),
        ("help", words.help),
        ("accept", words.accept),
    )
    for means, by_language in by_meaning:
        for language, texts in by_language.items():
            for text in texts:
                if phrase := tokens(text):
                    yield language, phrase, means


def _table(meanings: Mapping[Tokens, str]) -> Table:
    table: dict[str, list[tuple[Tokens, str]]] = {}
    for phrase in sorted(meanings, key=len, reverse=True):
        table.setdefault(phrase[0], []).append((phrase, meanings[phrase]))
    return {first: tuple(entries) for first, entries in table.items()}
