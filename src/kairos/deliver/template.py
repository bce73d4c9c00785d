"""A text with placeholders, parsed once and filled often."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

# Only plain (dotted) names: no format specifications, no attribute access, nothing that reaches into a value.
_PART = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*(?:\.\w+)*)\}")


class Found(Protocol):
    """Values by name; KeyError or None for one that there is not."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Template:
    """`pattern` has a `%s` for each of `names`, in order."""

    pattern: str
    names: tuple[str, ...]

    def fill(self, values: Found) -> str | None:
        """The text, or None where a placeholder has no value.

        >>> compile_template("{size} for {price}").fill({"size": "1 GB", "price": "T$5"})
        '1 GB for T$5'
        >>> compile_template("{size} for {price}").fill({"size": "1 GB", "price": None}) is None
        True
        """
        try:
            found = tuple([values[name] for name in self.names])
        except KeyError:
            return None
        return None if None in found else self.pattern % found


def compile_template(text: str) -> Template:
    """Parse `{name}`; doubled braces stand for themselves, as does every brace that is not around a name.

    >>> compile_template("100% {title} {{sic}} {").fill({"title": "yours"})
    '100% yours {sic} {'
    """
    pattern, names, at = [], [], 0
    for match in _PART.finditer(text):
        pattern.append(text[at : match.start()].replace("%", "%%"))
        at = match.end()
        if match[1]:
            names.append(match[1])
        pattern.append("%s" if match[1] else match[0][0])
    pattern.append(text[at:].replace("%", "%%"))
    return Template("".join(pattern), tuple(names))
