"""No screen is longer than a USSD string, nothing is left out, and no character is parted."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kairos.smpp.text import Encoding, decode, encode, measure
from kairos.ussd import Room, pages
from kairos.ussd.screens import BACK, BACKWARDS, MORE, ONWARDS

LETTERS = st.sampled_from([*"ab c1€^{\n", "д", "ع", "😀", "e\u0301"])
TEXT = st.lists(LETTERS, max_size=400).map("".join)
LABELS = st.lists(st.lists(st.sampled_from(list("abc€дع😀 ")), min_size=1, max_size=60).map("".join), max_size=14)
ROOM = Room()


def paged(body: str, labels: list[str], avoid: str = "", *, rises: bool = False) -> list[tuple[str, dict[str, str]]]:
    choices = [(label, str(at)) for at, label in enumerate(labels)]
    made = pages(body, choices, more="More", back="Back", room=ROOM, rises=rises, avoid=avoid)
    return [(page.text, page.keys) for page in made]


@settings(max_examples=60)
@given(TEXT, LABELS, st.sampled_from(["", "1", "2", "8"]), st.booleans())
@example("€" * 91 + "a", [], "", False)
@example("a" * 181 + "€" * 3, ["Yes"], "1", True)
@example("😀" * 41, [], "", False)
def test_every_page_fits_and_every_choice_is_on_one(body: str, labels: list[str], avoid: str, rises: bool) -> None:
    made = paged(body, labels, avoid, rises=rises)
    led: list[str] = []
    for number, (text, keys) in enumerate(made):
        found = measure(text)
        assert found.units <= (182 if found.encoding is Encoding.GSM7 else 80)
        assert decode(*encode(text)) == text  # no escape and no surrogate was parted
        led += [leads for leads in keys.values() if leads not in (ONWARDS, BACKWARDS)]
        assert (keys.get(MORE) == ONWARDS) == (number + 1 < len(made))
        assert (keys.get(BACK) == BACKWARDS) == (number > 0 or rises)
        assert not avoid or avoid not in keys
    assert led == [str(at) for at in range(len(labels))]


@settings(max_examples=40)
@given(TEXT)
def test_all_of_a_body_is_said_in_its_order(body: str) -> None:
    said = "".join(text.removesuffix("\n0 Back").removesuffix("\n9 More") for text, _ in _unfooted(paged(body, [])))
    assert "".join(said.split()) == "".join(body.split())


def _unfooted(made: list[tuple[str, dict[str, str]]]) -> list[tuple[str, dict[str, str]]]:
    found = []
    for text, keys in made:
        foot = [line for line in ("9 More", "0 Back") if line[0] in keys]
        found.append((text.removesuffix("\n".join(["", *foot])) if foot else text, keys))
    return found


def test_words_are_not_parted_where_they_need_not_be() -> None:
    (first, _), (second, _) = paged("word " * 40, [])
    assert first.removesuffix("\n9 More").endswith("word")
    assert second.startswith("word")


def test_a_screen_in_another_alphabet_has_less_room() -> None:
    assert len(paged("a" * 150, [])) == 1
    assert len(paged("д" * 150, [])) > 1
