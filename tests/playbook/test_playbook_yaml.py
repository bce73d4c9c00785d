"""YAML as people write it: words stay words, places are kept, and no text can hurt."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kairos.errors import Diagnostic, PlaybookError
from kairos.playbook import check, new, read
from kairos.playbook.document import FAST, MAX_CHARACTERS, Items, Node, Scalar, Table, build, parse


def plain(node: Node) -> object:
    """The tree as Python values."""
    match node:
        case Scalar():
            return node.text
        case Items():
            return [plain(item) for item in node.items]
        case Table():
            return {key: plain(value) for key, (_, value) in node.entries.items()}


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("a: on", {"a": "on"}),
        ("a: No", {"a": "No"}),
        ("a: 21:00", {"a": "21:00"}),
        ("a: 010", {"a": "010"}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: 1e3", {"a": "1e3"}),
        ("a: 2026-11-22", {"a": "2026-11-22"}),
        ("a: ~", {"a": "~"}),
        ("a: null", {"a": "null"}),
        ("a: .inf", {"a": ".inf"}),
        ("a:", {"a": ""}),
        ("no: yes", {"no": "yes"}),
        ("5000: x", {"5000": "x"}),
        ("<<: x", {"<<": "x"}),
        ("a: [1, 'two', {three: 3}]", {"a": ["1", "two", {"three": "3"}]}),
        ("a: >-\n  one\n  two", {"a": "one two"}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("# only a comment", {}),
        ("", {}),
        ("a: 'it''s'", {"a": "it's"}),
        ('a: "نعم 👍"', {"a": "نعم 👍"}),
    ],
)
def test_scalars_stay_as_written(written: str, read_as: object) -> None:
    assert plain(parse("x.yaml", written)) == read_as


def test_places_are_kept() -> None:
    tree = parse("x.yaml", "a: 1\n\nb:\n  - c\n  - d: 4\n")
    assert isinstance(tree, Table)
    key, items = tree.entries["b"]
    assert isinstance(items, Items)
    assert (key.line, items.items[0].line, items.items[1].line) == (3, 4, 5)


def test_quotes_are_remembered() -> None:
    tree = parse("x.yaml", "[7, '7']")
    assert isinstance(tree, Items)
    assert [item.quoted for item in tree.items if isinstance(item, Scalar)] == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5_000,
        "- " * 5_000,
        "{a: " * 5_000,
        "? " * 5_000,
        "a: &a [x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)),
        "!!python/object/apply:os.system ['true']",
        "%YAML " + "9" * 5_000 + ".1\n---\na: b",
        '"\\uD800"',
        "\ufffe",
        "a: \ud800",
        "a: b\x00",
        "x" * (MAX_CHARACTERS + 1),
        "[a, b]: c",
        "{[a]: c}",
        "a: b\n...\n---\nc: d",
    ],
)
def test_what_could_hurt_is_refused(text: str) -> None:
    with pytest.raises(PlaybookError):
        parse("x.yaml", text)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*"ab:,{}[]'\"|>-#&*! \n\t%@?é", "\n  ", ": ", "- ", "a: b\n"]), max_size=25).map("".join)
)
def test_both_parsers_read_the_same(text: str) -> None:
    """What the fast parser accepts, the other one reads as the same tree, or refuses it too late to matter."""
    try:
        fast = build("x.yaml", text, FAST)
    except (yaml.YAMLError, PlaybookError):
        return
    try:
        slow = build("x.yaml", text, yaml.SafeLoader)
    except yaml.YAMLError:
        return
    assert plain(fast) == plain(slow)


def wrong_with(texts: dict[str, str]) -> tuple[Diagnostic, ...]:
    """What a PlaybookError says of the texts, nothing if they are a playbook; any other error comes through."""
    try:
        playbook = read(texts)
    except PlaybookError as error:
        return error.diagnostics or (Diagnostic("an error that says nothing", 0, ""),)
    check(playbook)
    return ()


GOOD = new("Good")
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "&a ",
    "*a",
    "!!x ",
    "---\n",
    "? ",
    "|",
    ">-",
    "'",
    '"',
    "\\",
    "#",
]
PIECES += [
    "offer",
    "price",
    "en",
    "events",
    "limits",
    "given",
    "when",
    "sum",
    "at_most",
    "5 minutes",
    "-1",
    "1e9",
    "no",
]
PIECES += ["balance", "{price}", "recharge.amount", "\t", "%", "@", "`", "é", "نعم", "9" * 40, "5%", "21:00-08:00"]


@settings(deadline=None, max_examples=150)
@given(
    path=st.sampled_from(sorted(GOOD)),
    pieces=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=30),
    at=st.floats(0, 1),
    length=st.integers(0, 60),
)
@example(path="vocabulary.yaml", pieces=[], at=0.0, length=10_000)
@example(path="playbook.yaml", pieces=["time_zone: ../../etc/passwd"], at=0.0, length=0)
@example(path="contact_policy.yaml", pieces=["- a"], at=0.0, length=10_000)
@example(path="offers/booster.yaml", pieces=["- a"], at=0.0, length=10_000)
@example(path="messages.yaml", pieces=["a: {en: [[x]]}"], at=0.0, length=10_000)
@example(path="tests/booster.yaml", pieces=["- - a"], at=0.0, length=10_000)
def test_any_damage_is_a_playbook_error(path: str, pieces: list[str], at: float, length: int) -> None:
    """Any text in place of a part of a good file: a playbook, or a PlaybookError with places, and nothing else."""
    text = GOOD[path]
    start = int(at * len(text))
    texts = {**GOOD, path: text[:start] + "".join(pieces) + text[start + length :]}
    assert all(found.file in texts for found in wrong_with(texts))


@st.composite
def trees(draw: st.DrawFn) -> str:
    """A YAML text in flow style, of any shape, with the keys of a playbook."""
    words = st.sampled_from(
        ["name", "events", "offer", "variants", "limits", "a", "5000", "en", "no", "balance", "-1", "x y"]
    )
    node = st.recursive(
        words,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
            st.dictionaries(words, inner, max_size=4).map(
                lambda table: f"{{{', '.join(f'{key}: {value}' for key, value in table.items())}}}"
            ),
        ),
        max_leaves=12,
    )
    return draw(node)


@settings(deadline=None, max_examples=150)
@given(
    path=st.sampled_from(sorted(GOOD)),
    key=st.sampled_from(["", "events", "variants", "limits", "given", "5000"]),
    text=trees(),
)
def test_any_shape_is_a_playbook_error(path: str, key: str, text: str) -> None:
    """Lists where tables belong, tables where texts do, on every level: nothing but a PlaybookError."""
    texts = {**GOOD, path: f"{key}: {text}" if key else text}
    assert all(found.file in texts for found in wrong_with(texts))
