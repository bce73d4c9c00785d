"""Whether a dead letter or a receiver names a person: names are read whole, and never found as a piece of another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
import phonenumbers
from msgspec import Struct

from kairos.domain.dead_letter import DeadLetter
from kairos.domain.identity import name_of
from kairos.engine.dead_letters import opened
from kairos.errors import EventError
from kairos.ingest import normalise

CARDS: Final = ("imsi", "imei")  # digits, of a SIM and of what it is in
_BETWEEN: Final = r"[\s()./\u2010-\u2013-]{0,3}"  # the digits of a number
_NO_DIGIT: Final = re.compile(r"\D+")

Leaf = tuple[str, str]  # what stands in a letter, under which word; no word: in a text


class Person:
    """`names` (kind, value) are theirs alone.

    An account may be any text, so it is one where it is called so, and nowhere else.
    """

    def __init__(self, subscriber: int, names: Iterable[tuple[str, str]]) -> None:
        self.subscriber, self.names = subscriber, frozenset(names)
        self.numbers = frozenset(value for kind, value in self.names if kind == "msisdn")
        self.known_as = frozenset(name_of(*one) for one in self.names)
        self._numbers = [_Number(one) for one in self.numbers]
        self._cards = [re.compile(rf"(?<!\d){value}(?!\d)") for kind, value in self.names if kind in CARDS]

    def has(self, written: str) -> bool:
        """Whether a number is theirs, however it is written.

        >>> ana = Person(7, [("msisdn", "12025550123"), ("account", "4711")])
        >>> [ana.has(one) for one in ("+1 (202) 555-0123", "202-555-0123", "12025554711", "4711", "")]
        [True, True, False, False, False]
        """
        return any(one.is_(written) for one in self._numbers)

    def is_named(self, letter: DeadLetter, leaves: Iterable[Leaf]) -> bool:
        """Whether a letter is about them, or says a name of theirs anywhere."""
        about = letter.subscriber
        return about == str(self.subscriber) or any(map(self._is_named, [("", about), *leaves]))

    def _is_named(self, leaf: Leaf) -> bool:
        text = leaf[1]
        return (
            leaf in self.names
            or text in self.known_as
            or any(one.is_in(text) for one in self._numbers)
            or any(one.search(text) for one in self._cards)
        )


class _Number:
    """A number, and how it may be written where it is at home."""

    def __init__(self, digits: str) -> None:
        self.digits, self.national, self.region = digits, digits, ""
        try:
            parsed = phonenumbers.parse(f"+{digits}")
        except phonenumbers.NumberParseException:
            pass  # of no country that is known
        else:
            self.national = phonenumbers.national_significant_number(parsed)
            self.region = phonenumbers.region_code_for_country_code(parsed.country_code or 0)
        self._whole = re.compile(rf"(?<!\d)(?:00)?{_BETWEEN.join(digits)}(?!\d)")

    def is_(self, written: str) -> bool:
        for region in ("", self.region):
            try:
                return normalise(written, region) == self.digits
            except EventError:
                continue
        return False

    def is_in(self, text: str) -> bool:
        """Whether it stands in a text, with or without its country."""
        if self.national not in _NO_DIGIT.sub("", text):
            return False
        if self._whole.search(text):
            return True
        found = phonenumbers.PhoneNumberMatcher(text, self.region or None, phonenumbers.Leniency.POSSIBLE)
        return any(self.is_(one.raw_string) for one in found)


def leaves(letter: DeadLetter) -> Iterator[Leaf]:
    """All that a letter says."""
    yield from (("", one) for one in (letter.identity, letter.reason, letter.trace))
    try:
        open_: list[tuple[str, Any]] = [("", opened(letter))]
    except RecursionError:  # nested too deep to be read
        open_ = [("", letter.payload)]
    while open_:
        word, value = open_.pop()
        if isinstance(value, Struct):
            open_ += [(name, getattr(value, name)) for name in value.__struct_fields__]
        elif isinstance(value, Mapping):
            open_ += value.items()
            open_ += [("", name) for name in value]
        elif isinstance(value, list | tuple | set | frozenset):
            open_ += [(word, one) for one in value]
        else:
            yield word, value.decode(errors="replace") if isinstance(value, bytes) else str(value)


NOBODY: Final = {"phoneNumber": ""}
TO_ONE: Final = ("subject", "description")  # besides the content


def without(document: bytes, people: Iterable[Person]) -> bytes | None:
    """Another system's message without receivers that are theirs; None where none is.

    What it says goes with the last of its receivers: to others it was said, too.
    """
    try:
        message = msgspec.json.decode(document)
    except msgspec.DecodeError:
        return None
    several = list(people)
    receivers = message.get("receiver", [])
    left = [NOBODY if any(who.has(one["phoneNumber"]) for who in several) else one for one in receivers]
    if left == receivers:
        return None
    message["receiver"] = left
    if all(one == NOBODY for one in left):
        message = {name: value for name, value in message.items() if name not in TO_ONE} | {"content": ""}
    return msgspec.json.encode(message)
