"""Tables read key by key, gathering all that is wrong instead of stopping at the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from kairos.errors import DiagnosedError, Diagnostic
from kairos.playbook.document import Items, Node, Scalar, Table
from kairos.playbook.keys import KEYS
from kairos.playbook.values import nearest

T = TypeVar("T")
D = TypeVar("D")
P = ParamSpec("P")


class Problems:
    """What is wrong, in the order found."""

    def __init__(self) -> None:
        self.found: dict[Diagnostic, None] = {}  # each once, though a rule is read once for each variant

    def __bool__(self) -> bool:
        return bool(self.found)

    def add(self, node: Node, message: str, hint: str = "") -> None:
        self.found[Diagnostic(node.file, node.line, message, hint)] = None

    def attempt(self, default: D, key: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | D:
        """What `read` gives; where it raises, the default, and what is wrong is noted under the key."""
        try:
            return read(*args, **kwargs)
        except DiagnosedError as error:
            for found in error.diagnostics:
                message = f"{key}: {found.message}" if key else found.message
                self.found[Diagnostic(found.file, found.line, message, found.hint)] = None
            return default


class Section:
    """A table with known keys. `kind` names them in KEYS; with `free` others are left for `others` to read."""

    def __init__(self, node: Node, kind: str, problems: Problems, *, free: bool = False) -> None:
        self.node = node
        self.problems = problems
        self._known = KEYS[kind]
        self._entries = dict(entries(node, problems))
        for key in () if free else [*self._entries]:
            if key not in self._known:
                problems.add(self._entries[key][0], f"unknown key `{key}`", nearest(key, self._known))

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def at(self, key: str) -> Node:
        """The value of a key, or the whole section where the key is missing: for placing what is wrong."""
        return self._entries[key][1] if key in self._entries else self.node

    def take(self, key: str, read: Callable[[Node], T], default: D) -> T | D:
        """The value of a key that may be left out."""
        if key not in self._entries:
            return default
        node = self._entries[key][1]
        return self.problems.attempt(default, key, read, node)

    def need(self, key: str, read: Callable[[Node], T], default: D, example: str = "") -> T | D:
        """The value of a key that must be there."""
        if key not in self._entries:
            self.problems.add(self.node, f"`{key}` is missing", f"add it, as in `{key}: {example}`" if example else "")
        return self.take(key, read, default)

    def named(self, key: str) -> Iterator[tuple[str, tuple[Scalar, Node]]]:
        """The entries of a table under a key, empty where the key is missing."""
        return entries(self._entries[key][1], self.problems) if key in self._entries else iter(())

    def items(self, key: str) -> list[Node]:
        """The items of a list under a key, none where the key is missing."""
        return items(self._entries[key][1], self.problems) if key in self._entries else []

    def section(self, key: str) -> Section | None:
        """The table under a key, whose own keys are those of its name; None where the value is no table."""
        value = self._entries[key][1] if key in self._entries else None
        return Section(value, key, self.problems) if isinstance(value, Table) else None

    def others(self) -> Iterator[tuple[str, tuple[Scalar, Node]]]:
        """The entries whose keys are the writer's own."""
        return ((key, entry) for key, entry in self._entries.items() if key not in self._known)


def entries(node: Node, problems: Problems) -> Iterator[tuple[str, tuple[Scalar, Node]]]:
    """The entries of a table; an empty value is an empty table, and anything else is noted as wrong."""
    if isinstance(node, Table):
        return iter(node.entries.items())
    if not (isinstance(node, Scalar) and not node.text):
        problems.add(node, "a table of keys and values is wanted here", "write it as in `key: value`")
    return iter(())


def items(node: Node, problems: Problems) -> list[Node]:
    """The items of a list; anything else is noted as wrong."""
    if isinstance(node, Items):
        return node.items
    if not (isinstance(node, Scalar) and not node.text):
        problems.add(node, "a list is wanted here", "begin each item with `- `")
    return []
