"""What a subscriber sees and presses, and what the engine is told of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ussd.shelf import BOOK, OFFERS, Player, told

from kairos.domain.inbound import Told
from kairos.ussd import Heard, Session, Show, Steps, chosen, pushed


def test_an_offer_is_taken_by_two_keys() -> None:
    player = Player()
    assert player.dial("*123#") == Show("Account\n1 Offers\n2 Balance\n3 Help", more=True)
    assert player.press("1").text == "Your offers:\n1 1 GB T$5\n2 2 GB T$9\n0 Back"
    assert player.press("2").text == "2 GB T$9\n3 Yes\n4 No\n0 Back"
    assert player.words == []
    assert player.press("3") == Show("Thank you: B.", more=False)
    assert player.words == [("b", "accept")]


def test_the_key_that_leads_to_an_offer_never_takes_it() -> None:
    for key in ("1", "2"):
        player = Player()
        player.dial("*123*4#")
        once = player.press(key)
        assert player.press(key) == once == player.press(key)
        assert player.words == []


@pytest.mark.parametrize("keys", [("1", "2"), ("3", "0", "1", "2"), ("8", "7", "6", "5", "3", "0", "1", "2")])
def test_no_key_that_was_pressed_before_is_a_yes_or_a_no(keys: tuple[str, ...]) -> None:
    player = Player()
    player.dial("*123#")
    for key in keys:
        shown = player.press(key)
    assert len(shown.text.split("\n")) == 4  # the yes and the no still stand on one screen
    for late in keys[-6:]:
        if late != "0":
            assert player.press(late) == shown
    assert player.words == []


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        (["2"], "says main/2\n0 Back"),
        (["3"], "Help\n1 How\n0 Back"),
        (["3", "1"], "says help/1\n0 Back"),
        (["3", "1", "0"], "Help\n1 How\n0 Back"),
        (["3", "0", "0"], "Account\n1 Offers\n2 Balance\n3 Help"),
        (["7"], "Account\n1 Offers\n2 Balance\n3 Help"),
        (["what?"], "Account\n1 Offers\n2 Balance\n3 Help"),
        ([" 3# "], "Help\n1 How\n0 Back"),
        (["1", "1", "0"], "Your offers:\n1 1 GB T$5\n2 2 GB T$9\n0 Back"),
        (["1", "1", "3"], "All right."),
    ],
)
def test_where_keys_lead(keys: list[str], shown: str) -> None:
    player = Player()
    player.dial("*123#")
    assert [player.press(key) for key in keys][-1].text == shown


@pytest.mark.parametrize(
    ("code", "ahead", "shown"),
    [
        ("*123*3#", (), "Help\n1 How\n0 Back"),
        ("*123*3*1#", (), "says help/1\n0 Back"),
        ("*123#", ("3", "1"), "says help/1\n0 Back"),
        ("*123*4#", (), "Your offers:\n1 1 GB T$5\n2 2 GB T$9"),
        ("*99#", (), "Account\n1 Offers\n2 Balance\n3 Help"),
        ("*123*8*1#", (), "Account\n1 Offers\n2 Balance\n3 Help"),
    ],
)
def test_what_is_dialled_ahead(code: str, ahead: tuple[str, ...], shown: str) -> None:
    assert Player().dial(code, *ahead).text == shown


def test_nothing_is_taken_by_what_is_dialled_ahead() -> None:
    player = Player()
    assert player.dial("*123*1*1*2#").text.startswith("Your offers:")
    assert player.dial("*123*4*1*2#").text.startswith("Your offers:")
    player.dial("*123#")
    assert player.press("1", "1", "2").text.startswith("Your offers:")
    assert player.words == []


@pytest.mark.parametrize(
    ("status", "text", "more"),
    [
        ("accepted", "Thank you: A.", False),
        ("fulfilled", "Thank you: A.", False),
        ("refused", "Not now.", False),
        ("expired", "Over.", False),
        ("confirm", "A costs T$5. Sure?\n3 Yes\n4 No", True),
        ("something new", "Not now.", False),
    ],
)
def test_how_a_yes_ends(status: str, text: str, more: bool) -> None:
    player = Player()
    player.outcomes["a"] = status
    player.dial("*123*4#")
    player.press("1")
    show = player.press("2")
    assert show.more == more
    assert show.text.removesuffix("\n0 Back") == text


def test_a_second_yes_is_another_key_and_another_word() -> None:
    player = Player()
    player.outcomes["a"] = "confirm"
    player.dial("*123*4#")
    player.press("1")
    asked_again = player.press("2")
    assert player.press("2") == asked_again
    player.outcomes["a"] = "accepted"
    assert player.press("1") == asked_again
    assert player.press("3").more is False
    assert player.words == [("a", "accept"), ("a", "accept")]


@pytest.mark.parametrize(
    "one", [told("", "Calls are cheaper at night", price=0), told("p", "Recharge T$5: 30 minutes", redeemed_by="x")]
)
def test_what_is_only_said_and_what_an_event_redeems_cannot_be_taken(one: Told) -> None:
    player = Player([one])
    player.dial("*123*4#")
    assert player.press("1") == Show(f"{one.text}\n0 Back", more=True)


def test_a_price_that_the_words_leave_out_is_named_before_a_yes() -> None:
    player = Player([told("a", "A gigabyte for the weekend and for all that you watch", title="Weekend")])
    assert "1 Weekend: T$5" in player.dial("*123*4#").text
    assert player.press("1").text.startswith("A gigabyte for the weekend and for all that you watch T$5")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("1 GB T$5", True),
        ("For T$5, 1 GB.", True),
        ("T$5: 1 GB", True),
        ("1 GB, T$5.", True),
        ("1 GB instead of T$50", False),
        ("1 GB instead of T$5.50", False),
        ("1 GB instead of T$5,000", False),
        ("1 GB", False),
    ],
)
def test_a_price_that_is_part_of_another_is_not_named(text: str, named: bool) -> None:
    player = Player([told("a", text)])
    player.dial("*123*4#")
    assert player.press("1").text.split("\n")[0] == (text if named else f"{text} T$5")


def test_a_price_that_begins_with_its_digits_is_not_named_by_the_end_of_another() -> None:
    book = BOOK._replace(show=lambda price: f"{price // 100} T$")
    player = Player([told("a", "1 GB, once 15 T$")], book=book)
    player.dial("*123*4#")
    assert player.press("1").text.startswith("1 GB, once 15 T$ 5 T$")


def test_nobody_without_an_offer_waits_for_a_key() -> None:
    assert Player([]).dial("*123*4#") == Show("Nothing.", more=False)


def test_another_system_is_on_the_menu_only_where_it_can_be_reached() -> None:
    player = Player(hands=frozenset({"care", "parent"}))
    assert player.dial("*123#").text.endswith("4 Settings\n5 Up")
    assert player.press("4") == Show("", more=True, to="care", dial="*9#")
    assert player.press("5").to == "parent"


def test_what_we_begin_takes_one_key() -> None:
    session, show = pushed(BOOK, Session("p", "12025550123", "", "en"), told("a", "1 GB for T$5", price=0))
    assert show == Show("1 GB for T$5\n1 Yes\n2 No", more=True)
    assert chosen(session) == ("a",)


def test_what_a_dialogue_that_broke_off_was_about() -> None:
    player = Player()
    player.dial("*123#")
    assert chosen(player.session) == ()
    player.press("1")
    assert chosen(player.session) == ("a", "b")
    player.press("2")
    assert chosen(player.session) == ("b",)


KEYS = st.lists(st.sampled_from([*"0123456789", "", "*", "x" * 50]), max_size=25)


@settings(max_examples=60)
@given(KEYS)
def test_every_yes_was_shown_to_whoever_said_it(keys: list[str]) -> None:
    player = Player()
    shown = player.dial("*123#")
    for key in keys:
        before, words = shown, len(player.words)
        shown = player.press(key)
        if len(player.words) > words:
            offer, verb = player.words[-1]
            text = next(one.text for one in OFFERS if one.key == offer)
            assert before.text.startswith(text)
            assert f"{key} {'Yes' if verb == 'accept' else 'No'}" in before.text.split("\n")
        if not shown.more:
            break


@settings(max_examples=60)
@given(KEYS, st.data(), st.booleans())
def test_a_step_that_comes_again_or_late_gets_its_answer_and_does_nothing(
    keys: list[str], data: st.DataObject, counted: bool
) -> None:
    """The same keys with repeats and late steps among them come to the same as without."""
    plain, other, steps, now = Player(), Player(), Steps(), 0
    answers = [plain.dial("*123#")]
    for key in keys if answers[-1].more else ():
        answers.append(plain.press(key))
        if not answers[-1].more:
            break
    sent = [Heard("s", "1", "*123#", "", "begin", 0 if counted else -1)]
    sent += [
        Heard("s", "1", "", key, "input", n if counted else -1) for n, key in enumerate(keys[: len(answers) - 1], 1)
    ]
    for at, heard in enumerate(sent):
        now += 5_000
        assert steps.again(heard, now) is None
        show = other.dial("*123#") if heard.kind == "begin" else other.press(heard.text)
        steps.note(heard, show, now)
        assert show == answers[at]
        for _ in range(data.draw(st.integers(0, 2))):
            late = data.draw(st.integers(0, at)) if counted else at
            assert steps.again(sent[late], now + 100) == answers[late]
    assert other.words == plain.words


def test_a_step_that_was_never_seen_and_comes_too_late_changes_nothing() -> None:
    steps = Steps()
    for number in (0, 1, 3):
        steps.note(Heard("s", "1", "", str(number), "input", number), Show(f"screen {number}", more=True), 0)
    assert steps.again(Heard("s", "1", "", "9", "input", 2), 10**6) == Show("screen 3", more=True)
    assert steps.again(Heard("s", "1", "", "9", "input", 4), 10**6) is None
