"""Sources: other systems that tell what happened in JSON of their own, and how it becomes events. See docs/events.md.

These are records as somebody writes them in `kairos.toml`; `ingest.mappings` compiles them.
"""

from __future__ import annotations

from collections.abc import Mapping as Lookup
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Path = Annotated[
    str, Meta(min_length=1, max_length=1000, description="a JMESPath expression, of 1000 characters at most")
]
Paths = Annotated[list[Path], Meta(min_length=1, description="a list of JMESPath expressions")]
SourceName = Annotated[
    str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,31}$", description="a name of small letters, digits, `-` and `_`")
]
Word = str | bool | int | float
Status = Annotated[int, Meta(ge=200, le=499, description="an HTTP status from 200 to 499")]


class Where(Struct, frozen=True):
    """Where something stands: a file, and the line of each of its keys, as in `data.app`; that of itself is of ""."""

    file: str = ""
    lines: Lookup[str, int] = {}

    def line(self, key: str) -> int:
        """The line of a key, else of what it stands in; 0 where nobody knows."""
        while key not in self.lines and key:
            key = key.rpartition(".")[0]
        return self.lines.get(key, 0)


class Value(Struct, frozen=True, forbid_unknown_fields=True):
    """What one field takes: from a `path`, or a `constant`; and how what stands there is read.

    `words` are the sender's words for ours, `other` stands for those that are not among them. `from_` and `to` are
    units, `format` and `zone` are of times, `plus` is a time span to add. `kind`: what a subscriber is named by.
    """

    path: Path | None = None
    constant: Word | None = None
    words: dict[str, Word] = {}
    other: Word | None = None
    from_: str = field(default="", name="from")
    to: str = ""
    round: Literal["", "nearest", "down"] = ""
    decimal: Annotated[str, Meta(min_length=1, max_length=1, description="one character")] = "."
    format: str = ""
    zone: str = ""
    plus: Value | None = None
    kind: Literal["msisdn", "imsi", "account"] = "msisdn"
    required: bool = False


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """Some of a field's balances or products: one, or one for each that a path names."""

    each: Path | None = None
    wallet: str = ""
    amount: Path | Value | None = None
    expires: Path | Value | None = None
    product: Path | Value | None = None
    until: Path | Value | None = None


class Mapping(Struct, frozen=True, forbid_unknown_fields=True):
    """How some payloads of a source become events of one kind."""

    event: str
    subscriber: Path | Value
    id: Path | Paths
    source: str = ""
    name: str = ""
    when: Path | None = None
    each: Path | None = None
    happened: Path | Value | None = None
    imsi: Path | Value | None = None
    account: Path | Value | None = None
    imei: Path | Value | None = None
    data: dict[str, Path | Value | list[Entry]] = {}
    lenient: bool = False  # of a preset: words that the playbook does not have are passed by
    where: Where = Where()


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """A system that posts its JSON to /v1/sources/NAME. `secret` may stand in the path; `preset` brings mappings."""

    secret: str = ""  # from the environment
    preset: str = ""
    refused: Status = 422  # what is answered where nothing of a request can ever be read
