"""Writing one straight-line Python function: lines of our own, with every word of a user kept as a constant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class Writer:
    """Collects what the code may name; `compile` makes the function.

    >>> writer = Writer()
    >>> greeting = writer.constant("O'Hara")
    >>> writer.compile("greet", "times", [f"return {greeting} * times"])(2)
    "O'HaraO'Hara"
    """

    def __init__(self, **runtime: object) -> None:
        self.runtime: dict[str, Any] = dict(runtime)

    def constant(self, value: object) -> str:
        """The name under which the code finds a value."""
        name = f"k{len(self.runtime)}"
        self.runtime[name] = value
        return name

    def compile(self, name: str, arguments: str, lines: Sequence[str]) -> Any:
        """The function `name(arguments)` with these lines."""
        source = f"def {name}({arguments}):\n" + "\n".join(indented(lines or ["pass"]))
        exec(compile(source, f"<{name}>", "exec"), self.runtime)
        return self.runtime[name]


def indented(lines: Iterable[str]) -> list[str]:
    """The lines, one level deeper."""
    return [f"    {line}" for line in lines]
