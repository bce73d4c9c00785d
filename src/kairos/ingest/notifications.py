"""Reading an event out of the text of a notification, by patterns that look like the text.

    Your {service:words} cost {cost:money}. Balance {balances.main:money}, data {balances.data:number} MB
    until {balances.data.expires:time}. Ref {id}

A pattern is compiled to one regular expression without choices to come back to: every place takes what it can and gives
nothing back, so a match costs time in proportion to the text, whatever somebody sends.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from msgspec import Struct

from kairos.domain.money import Currency
from kairos.domain.subscriber import Bucket
from kairos.errors import Diagnostic, SettingsError, did_you_mean
from kairos.ingest.values import amount, number, zone_named
from kairos.playbook.vocabulary import Vocabulary

LONGEST_NOTIFICATION: Final = 2000  # characters; longer texts are not read
LONGEST_WORDS: Final = 80  # characters of one place for words

TYPES: Final = {
    "word": "word",
    "words": "words",
    "word...": "words",
    "money": "money",
    "number": "number",
    "time": "time",
}
FITTING: Final = {"text": ("words", "word"), "money": ("money",), "number": ("number",), "time": ("time",)}
DIRECTIVES: Final = {"Y": ("year", 4), "m": ("month", 2), "d": ("day", 2), "H": ("hour", 2), "M": ("minute", 2)}
DIRECTIVES_TOO: Final = {"S": ("second", 2), "y": ("year", 2)}

_PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Template:
    """A pattern as it is written, for one account and language.

    `words` translates what stands in a place of text: field -> words in the notification -> value of the event; what is
    not among them is no match. Times are read by `time_format` (%Y %y %m %d %H %M %S) in `time_zone`. `decimal` is the
    decimal mark of amounts. `where` is the place in the settings that errors name.
    """

    account: str
    language: str
    kind: str
    text: str
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    time_format: str = "%Y-%m-%d %H:%M"
    time_zone: str = "UTC"
    decimal: str = "."
    where: str = ""


class Matched(Struct, frozen=True):
    """What a notification said: `data` typed after the vocabulary; `id` is the text's own reference, or empty."""

    kind: str
    language: str
    id: str
    data: dict[str, Any]


class Place(NamedTuple):
    """A placeholder: what it sets, how that is written, and how it is read (ValueError: this is no match after all)."""

    path: tuple[str, ...]  # field | field, wallet | field, wallet, "expires" | "id"
    pattern: str  # of a regular expression, with one group
    start: str  # what its first characters look like: where words before it end
    read: Callable[[str], Any]


class Pattern(NamedTuple):
    """A compiled pattern."""

    kind: str
    language: str
    match: Callable[[str], re.Match[str] | None]
    places: tuple[Place, ...]


class Patterns:
    """All patterns of all accounts."""

    def __init__(self, accounts: Mapping[str, Sequence[Pattern]]) -> None:
        self._accounts = {account: tuple(patterns) for account, patterns in accounts.items()}

    def of(self, account: str) -> bool:
        """Whether an account has any."""
        return bool(self._accounts.get(account))

    def match(self, account: str, text: str) -> Matched | None:
        """What the first pattern of the account that reads the whole text makes of it; None where none does."""
        patterns = self._accounts.get(account, ())
        if len(text) > LONGEST_NOTIFICATION:
            return None
        text = text.strip()
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
        for pattern in patterns:
            found = pattern.match(text)
            if found is not None:
                matched = _matched(pattern, found)
                if matched is not None:
                    return matched
        return None


def compile_patterns(templates: Sequence[Template], vocabulary: Vocabulary, currency: Currency) -> Patterns:
    """Compile all templates, in their order. Raises SettingsError with everything that is wrong with any of them."""
    accounts: dict[str, list[Pattern]] = {}
    problems: list[Diagnostic] = []
    for template in templates:
        compiler = _Compiler(template, vocabulary, currency)
        pattern = compiler.compile()
        problems += compiler.problems
        if pattern is not None:
            accounts.setdefault(template.account, []).append(pattern)
    if problems:
        raise SettingsError(problems)
    return Patterns(accounts)


def _matched(pattern: Pattern, found: re.Match[str]) -> Matched | None:
    data: dict[str, Any] = {}
    left: dict[tuple[str, str], int] = {}
    ends: dict[tuple[str, str], int] = {}
    reference = ""
    try:
        for place, written in zip(pattern.places, found.groups(), strict=True):
            value = place.read(written)
            match place.path:
                case ("id",):
                    reference = value
                case (name,):
                    data[name] = value
                case (name, wallet):
                    left[name, wallet] = value
                case (name, wallet, _):
                    ends[name, wallet] = value
    except ValueError:
        return None
    for (name, wallet), parts in left.items():
        data.setdefault(name, []).append(Bucket(wallet, parts, ends.get((name, wallet), 0)))
    return Matched(pattern.kind, pattern.language, reference, data)


class _Compiler:
    """Compiles one template, and gathers what is wrong with it."""

    def __init__(self, template: Template, vocabulary: Vocabulary, currency: Currency) -> None:
        self.template, self.vocabulary, self.currency = template, vocabulary, currency
        self.problems: list[Diagnostic] = []
        self.fields = vocabulary.events.get(template.kind, {})

    def problem(self, message: str, hint: str = "") -> None:
        self.problems.append(Diagnostic(self.template.where, 0, message, hint))

    def compile(self) -> Pattern | None:
        template = self.template
        if template.kind not in self.vocabulary.events:
            self.problem(f"`{template.kind}` is not a known event", did_you_mean(template.kind, self.vocabulary.events))
            return None
        literals, written = self._split()
        places = [place for word in written if (place := self._place(word)) is not None]
        self._check(written, places)
        if self.problems:
            return None
        return Pattern(template.kind, template.language, self._expression(literals, places), tuple(places))

    def _split(self) -> tuple[list[str], list[str]]:
        parts = _PLACE.split(unicodedata.normalize("NFC", self.template.text.strip()))
        literals, written = parts[::2], parts[1::2]
        for literal in literals:
            if "{" in literal or "}" in literal:
                self.problem(f"`{literal.strip()}` has a brace without its partner", "write places like {cost:money}")
        if not written and not self.problems:
            self.problem("the pattern has no place to read from", "write places like {cost:money}")
        for literal, before, after in zip(literals[1:-1], written, written[1:], strict=False):
            if not literal:
                self.problem(
                    f"nothing stands between `{{{before}}}` and `{{{after}}}`", "put the text's own characters there"
                )
        return literals, written

    def _check(self, written: Sequence[str], places: Sequence[Place]) -> None:
        paths = [place.path for place in places]
        for path in dict.fromkeys(path for path in paths if paths.count(path) > 1):
            self.problem(f"`{'.'.join(path)}` stands there more than once")
        for path in paths:
            if len(path) == 3 and path[:2] not in paths:
                self.problem(f"`{'.'.join(path)}` has no amount to go with", f"add a place for `{'.'.join(path[:2])}`")
        for name in self.template.words:
            if (name,) not in paths and len(places) == len(written):
                hint = f"add a place `{{{name}:words}}`" if name in self.fields else did_you_mean(name, self.fields)
                self.problem(f"words are given for `{name}`, which the pattern does not read", hint)

    # -- places --------------------------------------------------------------------------------------------------------

    def _place(self, word: str) -> Place | None:
        name, _, asked = (part.strip() for part in word.partition(":"))
        path = tuple(name.split("."))
        if asked and asked not in TYPES:
            self.problem(
                f"`{asked}` is not a type of place", did_you_mean(asked, TYPES) or f"known: {', '.join(TYPES)}"
            )
            return None
        if path == ("id",):
            return Place(path, r"(?>((?:(?!@)\S){1,64}))", r"\S", str)
        fitting = self._fitting(path)
        if not fitting:
            return None
        if asked and TYPES[asked] not in fitting:
            self.problem(
                f"`{name}` is {fitting[0]}, it cannot be read as `{asked}`", f"write `{{{name}:{fitting[0]}}}`"
            )
            return None
        return self._typed(path, TYPES[asked] if asked else fitting[0])

    def _fitting(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """The types of place that fit what the path names; the first is the usual one. Empty where there is none."""
        name, *rest = path
        type_ = self.fields.get(name)
        if type_ is None:
            known = [*self.fields, "id"]
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
            self.problem(f"`{name}` is not a field of `{self.template.kind}`", hint)
        elif type_ == "balances" and rest:
            return self._fitting_balance(rest)
        elif type_ == "balances":
            self.problem(
                f"`{name}` has many balances",
                f"name one, such as `{name}.{next(iter(self.vocabulary.wallets), 'main')}`",
            )
        elif rest:
            self.problem(f"`{'.'.join(path)}` goes too deep", f"`{name}` is {type_}")
        elif type_ not in FITTING:
            self.problem(f"`{name}` is {type_}, which cannot be read from a text")
        else:
            return FITTING[type_]
        return ()

    def _fitting_balance(self, rest: Sequence[str]) -> tuple[str, ...]:
        wallet = self.vocabulary.wallets.get(rest[0])
        if wallet is None:
            self.problem(f"`{rest[0]}` is not a known wallet", did_you_mean(rest[0], self.vocabulary.wallets))
        elif len(rest) == 1:
            return ("money",) if wallet.unit == "money" else ("number",)
        elif rest[1:] != ["expires"]:
            self.problem(f"`{'.'.join(rest)}` is not known", f"write `{rest[0]}` or `{rest[0]}.expires`")
        else:
            return ("time",)
        return ()

    def _typed(self, path: tuple[str, ...], type_: str) -> Place | None:
        digits = self.vocabulary.wallets[path[1]].digits if len(path) > 1 else self.currency.digits
        mark = self.template.decimal
        # All of it or nothing: a possessive `?+` after the digits is misread by Python 3.11.2, and no more by 3.11.7.
        figure = rf"[-−]?+(?>[0-9]{{1,15}}(?:{re.escape(mark)}[0-9]{{1,9}})?)"

        def plain(written: str) -> str:
            return written.replace("−", "-").replace(mark, ".")

        match type_:
            case "word":
                return Place(path, r"(?>((?:(?!@)\S){1,80}))", r"\S", self._words(path[0]))
            case "words":
                # words end where the text after them begins, and hold no line break
                return Place(path, rf"(?>((?:(?!@).){{1,{LONGEST_WORDS}}}))", r"\S", self._words(path[0]))
            case "money":
                sign = "|".join(re.escape(s) for s in (self.currency.sign, self.currency.code) if s) or "(?!)"
                pattern = rf"([-−]?+(?:(?:{sign})\s?)?+{figure})(?:\s?(?:{sign}))?+"
                start = rf"[-−]?+(?:(?:{sign})\s?)?+[-−]?+[0-9]"
                figure_in = re.compile(rf"{figure}\Z").search

                def money(written: str) -> int:
                    bare = figure_in(written)
                    minus = "-" if bare and bare.start() and written[0] in "-−" else ""
                    return amount(minus + plain(bare[0] if bare else ""), digits)

                return Place(path, pattern, start, money)
            case "number" if len(path) > 1:
                return Place(path, f"({figure})", "[-−]?[0-9]", lambda w: amount(plain(w), digits))
            case "number":
                return Place(path, f"({figure})", "[-−]?[0-9]", lambda w: number(plain(w)))
            case _:
                return self._time(path)

    def _words(self, name: str) -> Callable[[str], str]:
        known = self.template.words.get(name)
        if known is None:
            return str.strip
        values = {folded(words): value for words, value in known.items()}

        def translate(written: str) -> str:
            value = values.get(folded(written))
            if value is None:
                raise ValueError(f"`{written}` is not among the words of `{name}`")
            return value

        return translate

    def _time(self, path: tuple[str, ...]) -> Place | None:
        """Directives have fixed widths, so a time is cut into numbers at fixed places."""
        format_, known = self.template.time_format, DIRECTIVES | DIRECTIVES_TOO
        pattern, cuts, at = "", {}, 0
        for literal, directive in re.findall(r"([^%])|%(.?)", format_):
            if literal:
                pattern, at = pattern + re.escape(literal), at + 1
                continue
            if directive not in known:
                self.problem(f"`%{directive}` in `{format_}` is not known", f"use {' '.join(f'%{d}' for d in known)}")
                return None
            name, width = known[directive]
            cuts[name] = slice(at, at + width)
            pattern, at = pattern + f"[0-9]{{{width}}}", at + width
        if not {"year", "month", "day"} <= cuts.keys():
            self.problem(f"`{format_}` has no full date", "use %Y, %m and %d")
            return None
        try:
            zone = zone_named(self.template.time_zone)
        except ValueError as error:
            self.problem(*error.args)
            return None
        century = 2000 if "%y" in format_ else 0
        slices = [cuts.get(name, slice(0, 0)) for name in ("year", "month", "day", "hour", "minute", "second")]

        @lru_cache(maxsize=4096)  # expiries repeat
        def read(written: str) -> int:
            year, month, day, hour, minute, second = [int(written[cut] or 0) for cut in slices]
            at = datetime(century + year, month, day, hour, minute, second, tzinfo=zone)
            # 0 means never, so that an end at or before the epoch is the next one: long gone either way
            return max(1, int(at.timestamp()) * 1000)

        return Place(path, f"({pattern})", pattern, read)

    # -- the expression ------------------------------------------------------------------------------------------------

    def _expression(self, literals: Sequence[str], places: Sequence[Place]) -> Callable[[str], re.Match[str] | None]:
        """Literals and places in turn. In place of `@` comes what ends a place of words: the next literal and place."""
        source = _literal(literals[0])
        for i, place in enumerate(places):
            literal = _literal(literals[i + 1])
            following = places[i + 1].start if i + 1 < len(places) else r"\Z"
            source += place.pattern.replace("(?!@)", f"(?!{literal}{following})") + literal
        return re.compile(source).fullmatch


def _literal(text: str) -> str:
    """Text as it stands; any white space stands for any other."""
    return r"\s++".join(re.escape(part) for part in re.split(r"\s+", text))


def folded(words: str) -> str:
    return " ".join(unicodedata.normalize("NFC", words).casefold().split())
