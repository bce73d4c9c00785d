"""The messages of a playbook: the right language, the longest text that can be said, and the line that fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from typing import Any, Final, NamedTuple

from kairos.deliver.template import Template, compile_template
from kairos.playbook.playbook import Playbook
from kairos.smpp.text import Encoding, measure, room

# Between a notification and the line that rides on it: one unit in every encoding, and a line of its own to read.
JOINT: Final = "\n"


class Escaped:
    """Values as HTML has them: none of them can be markup."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def __getitem__(self, name: str) -> str | None:
        value = self.values[name]
        return None if value is None else escape(str(value))


class Whole(NamedTuple):
    """A message with all that is beside its text."""

    text: str
    subject: str
    html: str
    media: str


@dataclass(frozen=True, slots=True)
class Accompanied:
    """A text with the templates of what is beside it."""

    text: Template
    subject: Template
    html: Template
    media: str

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.text.names, *self.subject.names, *self.html.names)

    def fill(self, values: Mapping[str, Any]) -> Whole | None:
        """All of it, or None where any placeholder has no value. A subject stays one line, whatever is filled in."""
        text, subject, html = self.text.fill(values), self.subject.fill(values), self.html.fill(Escaped(values))
        if text is None or subject is None or html is None:
            return None
        return Whole(text, " ".join(subject.split()), html, self.media)


@dataclass(frozen=True, slots=True)
class Messages:
    """`templates`: message -> language -> its texts, longest first. `languages`: the first is the fallback.

    `ids`: under which the regulator knows them, in the same order; "" where it knows none.
    """

    languages: tuple[str, ...]
    templates: Mapping[str, Mapping[str, tuple[Template, ...]]]
    ids: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, tuple[Accompanied, ...]]] = field(default_factory=dict)  # of messages with any

    def language_for(self, preferred: str) -> str:
        """The playbook's language for a tag (BCP 47; any case, `_` too); its first where none is near (`nearest`).

        >>> Messages(("en", "fr"), {}).language_for("fr-FR"), Messages(("en", "fr"), {}).language_for("xx")
        ('fr', 'en')
        """
        return preferred if preferred in self.languages else nearest(self.languages, preferred)

    def needs(self, message: str) -> frozenset[str]:
        """The placeholders that every text of a message has: where one has no value, nothing can be said."""
        texts = [set(names) for names in self._names(message)]
        return frozenset(set.intersection(*texts)) if texts else frozenset()

    def says(self, message: str, name: str) -> bool:
        """Whether a text of the message, or what is beside it, has this placeholder."""
        return any(name in names for names in self._names(message))

    def _names(self, message: str) -> Iterator[tuple[str, ...]]:
        """The placeholders of each text of a message, with what is beside it."""
        texts: Mapping[str, Sequence[Template | Accompanied]] = self.beside.get(message) or self.templates[message]
        return (one.names for by_language in texts.values() for one in by_language)

    def texts(self, message: str, language: str, values: Mapping[str, Any]) -> list[str]:
        """Every text of the message that can be said with these values, longest first.

        The fallback language speaks where the message lacks the language, or no text of it can be said. KeyError where
        the playbook has no such message.
        """
        by_language = self.templates[message]
        return _filled(by_language.get(language, ()), values) or _filled(by_language.get(self.languages[0], ()), values)

    def text(self, message: str, language: str, values: Mapping[str, Any]) -> str | None:
        """The longest text that can be said, or None where each lacks a value."""
        texts = self.texts(message, language, values)
        return texts[0] if texts else None

    def whole(self, message: str, language: str, values: Mapping[str, Any]) -> Whole | None:
        """The longest text that can be said with all that is beside it; None where each lacks a value."""
        by_language = self.beside.get(message)
        if by_language is None:
            text = self.text(message, language, values)
            return Whole(text, "", "", "") if text else None
        for tag in (language, self.languages[0]):
            filled = [one for each in by_language.get(tag, ()) if (one := each.fill(values)) and one.text]
            if filled:
                return max(filled, key=lambda one: len(one.text))
        return None

    def template_id(self, message: str, language: str, values: Mapping[str, Any], said: str) -> str:
        """The id of the template that became this text of the message; "" where it has none."""
        for tag in (language, self.languages[0]) if message in self.ids else ():
            by_text = zip(self.templates[message].get(tag, ()), self.ids[message].get(tag, ()), strict=True)
            for template, id_ in by_text:
                if template.fill(values) == said:
                    return id_
        return ""

    def line(
        self, message: str, language: str, values: Mapping[str, Any], notification: str, parts_at_most: int = 0
    ) -> str | None:
        """The notification, JOINT, and the longest text that costs no further part; None where none fits.

        The whole is measured in the encoding that the whole needs: one Arabic letter turns 160 units into 70. It may
        take as many parts as the notification does alone, or `parts_at_most` if that is more.
        """
        texts = self.texts(message, language, values)
        if not texts:
            return None
        parts = max(measure(notification).parts, parts_at_most)
        for text in texts:
            whole = notification + JOINT + text
            if _fits(whole, parts):
                return whole
        return None


@lru_cache(maxsize=4096)
def nearest(languages: tuple[str, ...], preferred: str) -> str:
    """The tag with ever fewer subtags (RFC 4647, section 3.4); else another kind of the same language, unless it is
    written in another script than the one that was asked for; else the first.

    >>> nearest(("en", "pt", "sr-Cyrl", "sr-Latn"), "pt-BR"), nearest(("en", "pt", "sr-Cyrl", "sr-Latn"), "sr_latn_RS")
    ('pt', 'sr-Latn')
    >>> nearest(("en", "pt-BR", "sr-Cyrl"), "pt"), nearest(("en", "pt-BR", "sr-Cyrl"), "sr-Latn")
    ('pt-BR', 'en')
    """
    known = {language.lower(): language for language in reversed(languages)}
    subtags = preferred.strip().replace("_", "-").lower().split("-")
    for length in range(len(subtags), 0, -1):
        if found := known.get("-".join(subtags[:length])):
            return found
    wanted = _script(subtags)
    alike = (
        tag
        for tag in languages
        if (its := tag.lower().split("-"))[0] == subtags[0] and (not wanted or _script(its) in ("", wanted))
    )
    return next(alike, languages[0])


def _script(subtags: Sequence[str]) -> str:
    """The script of a tag's subtags: four letters, directly after the language; empty where it says none."""
    return subtags[1] if len(subtags) > 1 and len(subtags[1]) == 4 and subtags[1].isalpha() else ""


def _fits(text: str, parts: int) -> bool:
    """Whether it takes no more than that many messages; cutting it in parts is left out where it cannot matter."""
    if parts == 1:
        return len(text) <= Encoding.GSM7.single and room(text, 1) >= 0
    return measure(text).parts <= parts


def _filled(templates: tuple[Template, ...], values: Mapping[str, Any]) -> list[str]:
    texts = [text for template in templates if (text := template.fill(values))]
    if len(texts) > 1:
        texts.sort(key=len, reverse=True)  # what is filled in decides which is longest
    return texts


def compile_messages(playbook: Playbook) -> Messages:
    """Parse every text of a playbook once."""
    return Messages(
        playbook.languages,
        _templates(playbook.messages),
        playbook.template_ids,
        {message: _accompanied(playbook, message) for message in playbook.beside},
    )


def compile_pages(playbook: Playbook) -> Messages:
    """And every text of its menus."""
    return Messages(playbook.languages, _templates(playbook.ussd.texts if playbook.ussd else {}))


def _templates(
    messages: Mapping[str, Mapping[str, tuple[str, ...]]],
) -> dict[str, dict[str, tuple[Template, ...]]]:
    return {
        message: {language: tuple(compile_template(text) for text in texts) for language, texts in by_language.items()}
        for message, by_language in messages.items()
    }


def _accompanied(playbook: Playbook, message: str) -> dict[str, tuple[Accompanied, ...]]:
    return {
        language: tuple(
            Accompanied(compile_template(text), compile_template(one.subject), compile_template(one.html), one.media)
            for text, one in zip(playbook.messages[message][language], beside, strict=True)
        )
        for language, beside in playbook.beside[message].items()
    }
