"""A YAML text as scalars, lists and tables that know their place. Every scalar stays text, to be typed later.

So `on`, `no` and `21:00` are the words that were written. Anchors, aliases, tags and second documents are refused: a
playbook needs none of them, and without them a text can never grow into more than it says.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from kairos.errors import Diagnostic, PlaybookError

MAX_CHARACTERS = 256 * 1024  # of one file
MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it was written, without its quotes."""

    file: str
    line: int
    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    file: str
    line: int
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping: key text -> (key, value), in the order written."""

    file: str
    line: int
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)


Node = Scalar | Items | Table
Loader = type[yaml.SafeLoader] | type[yaml.CSafeLoader]

FAST: Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, six times as fast


def refused(node: Node, message: str, hint: str = "") -> PlaybookError:
    """The error to raise where a node cannot be what it should be."""
    return PlaybookError([Diagnostic(node.file, node.line, message, hint)])


def listed(node: Node) -> list[Node]:
    """The items of a list; what is none is the only one."""
    return node.items if isinstance(node, Items) else [node]


def parse(file: str, text: str) -> Node:
    """The tree of a YAML text; an empty text is an empty table.

    Raises PlaybookError, with every repeated key, or with the first thing that cannot be read.

    >>> parse("policy.yaml", "quiet_hours: 21:00-08:00").entries["quiet_hours"][1].text
    '21:00-08:00'
    >>> parse("policy.yaml", "holdout: 5%\\nholdout: 6%")
    Traceback (most recent call last):
    ...
    kairos.errors.PlaybookError: policy.yaml:2: `holdout` stands here twice; the first is on line 1
    """
    if len(text) > MAX_CHARACTERS:
        message = f"the file has {len(text)} characters, more than {MAX_CHARACTERS}"
        raise PlaybookError([Diagnostic(file, 0, message, "split it")])
    try:
        return build(file, text, FAST)
    except (yaml.YAMLError, ValueError, OverflowError):
        return _slowly(file, text)


def build(file: str, text: str, loader: Loader) -> Node:
    """The tree as one of PyYAML's two parsers reads it; raises their errors as they come."""
    return _Builder(file).build(yaml.parse(text, Loader=loader))


def _slowly(file: str, text: str) -> Node:
    """What is wrong, in the words of the parser that is the same everywhere."""
    try:
        return build(file, text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise PlaybookError([Diagnostic(file, line, f"this is no YAML: {error.problem}", _advice(error))]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"U+{ord(text[error.position]):04X}"
        raise PlaybookError([Diagnostic(file, line, f"the character {character} cannot stand here")]) from None
    except (ValueError, OverflowError):  # an escape such as "\\UFFFFFFFF" that names no character
        raise PlaybookError([Diagnostic(file, 0, "an escape in quotes names no character")]) from None


def _advice(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem)
    if "\\t" in problem:
        return "indent with spaces"
    if "mapping values" in problem:
        return "put a text with `: ` in it in quotes"
    if "block end" in problem and "scalar" in problem:
        return "put a text that begins with `{`, `[` or a quote in quotes as a whole"
    if "escape character" in problem:
        return "write the text in 'single quotes'"
    if problem.startswith("expected ',' or") and error.context_mark:
        opened = "[" if problem.startswith("expected ',' or ']'") else "{"
        return f"the `{opened}` on line {error.context_mark.line + 1} is not closed, or a `,` is missing"
    return ""


class _Builder:
    """Builds the tree from events with a stack of its own, so that no depth of the text can exhaust ours."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Diagnostic] = []
        self.open: list[Items | Table] = []
        self.keys: list[Scalar | None] = []  # of each open table: the key that waits for its value
        self.root: Node | None = None

    def build(self, events: Iterator[yaml.Event]) -> Node:
        for event in events:
            line = event.start_mark.line + 1 if event.start_mark else 0
            match event:
                case yaml.DocumentStartEvent() if self.root is not None:
                    raise self._refuse(line, "a second document begins here", "keep one document in a file")
                case yaml.AliasEvent():
                    raise self._refuse(line, f"the alias `*{event.anchor}` is not allowed", "write the value out")
                case yaml.NodeEvent():
                    self._plain(event, line)
                    self._open(event, line)
                case yaml.CollectionEndEvent():
                    self.keys.pop()
                    self.open.pop()
        if self.problems:
            raise PlaybookError(self.problems)
        return self.root if self.root is not None else Table(self.file, 1)

    def _refuse(self, line: int, message: str, hint: str = "") -> PlaybookError:
        return PlaybookError([*self.problems, Diagnostic(self.file, line, message, hint)])

    def _plain(self, event: yaml.NodeEvent, line: int) -> None:
        if event.anchor is not None:
            raise self._refuse(
                line, f"the anchor `&{event.anchor}` is not allowed", "write the value out where it is used"
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self._refuse(line, f"the tag `{tag}` is not allowed", "leave it out")

    def _open(self, event: yaml.NodeEvent, line: int) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event, line))
            return
        if len(self.open) == MAX_DEPTH:
            raise self._refuse(line, f"this is nested more than {MAX_DEPTH} deep")
        node = Items(self.file, line) if isinstance(event, yaml.SequenceStartEvent) else Table(self.file, line)
        self._add(node)
        self.open.append(node)
        self.keys.append(None)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Scalar:
        for character in event.value:
            if character != "\n" and unicodedata.category(character) in ("Cc", "Cs"):
                raise self._refuse(line, f"the character U+{ord(character):04X} cannot stand in a text")
        return Scalar(self.file, line, event.value, quoted=bool(event.style))

    def _add(self, node: Node) -> None:
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if isinstance(parent, Items):
            parent.items.append(node)
            return
        key = self.keys[-1]
        if key is not None:
            self.keys[-1] = None
            if key.text not in parent.entries:
                parent.entries[key.text] = (key, node)
        elif isinstance(node, Scalar):
            self._repeated(parent, node)
            self.keys[-1] = node
        else:
            raise self._refuse(
                node.line, "a key must be a word, not a list or a table", "put a text with `{` in it in quotes"
            )

    def _repeated(self, parent: Table, key: Scalar) -> None:
        if key.text in parent.entries:
            first = parent.entries[key.text][0].line
            message = f"`{key.text}` stands here twice; the first is on line {first}"
            self.problems.append(Diagnostic(self.file, key.line, message))
