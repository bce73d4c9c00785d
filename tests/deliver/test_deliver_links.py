"""Links to the landing page: short, the same on every sending, and nobody can make or guess one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.deliver.links import ALPHABET, OfferLinks, Opened, mark_of

SECRET = b"a secret of thirty-two characters"
LINKS = OfferLinks("https://offers.example", [SECRET])
EPOCH = "5da2c0de5da2c0de5da2c0de5da2c0de"


def token(link: str) -> str:
    return link.rpartition("/")[2]


@given(st.integers(1, 2**63 - 1))
def test_a_link_opens_its_offer_and_no_other(decision: int) -> None:
    key = f"{EPOCH}-{decision}"
    opened = LINKS.opened("o", token(LINKS.link(key)))
    assert opened == Opened(decision, mark_of(EPOCH))
    assert opened.is_of(key)
    assert not opened.is_of(f"{EPOCH}-{decision + 1}")


def test_it_is_short_and_the_same_every_time() -> None:
    link = LINKS.link(f"{EPOCH}-4000000000")
    assert (link, len(link)) == (LINKS.link(f"{EPOCH}-4000000000"), len("https://offers.example/o/") + 25)
    assert set(token(link)) <= set(ALPHABET)  # no `-`, `_` or `.` that a telephone may leave off its end


@given(st.integers(0, 22), st.sampled_from(ALPHABET))
def test_any_other_character_makes_it_nobodys(place: int, character: str) -> None:
    sound = token(LINKS.link(f"{EPOCH}-77000"))
    changed = sound[:place] + character + sound[place + 1 :]
    assert (LINKS.opened("o", changed) is None) == (changed != sound)


@pytest.mark.parametrize("written", ["", "1", "0", "O0Il", "é" * 23, "z" * 31, "z" * 5000, "../../x", "\ud800", "11"])
def test_what_is_no_link_opens_nothing(written: str) -> None:
    assert LINKS.opened("o", written) is None


def test_leading_zeros_are_another_text() -> None:
    sound = token(LINKS.link(f"{EPOCH}-7"))
    assert LINKS.opened("o", "1" + sound) is None


def test_who_may_open_an_offer_may_not_unsubscribe_and_the_other_way_round() -> None:
    key = f"{EPOCH}-7"
    assert LINKS.opened("u", token(LINKS.link(key))) is None
    assert LINKS.opened("o", token(LINKS.unsubscribe(key))) is None
    assert LINKS.opened("u", token(LINKS.unsubscribe(key)))


def test_a_secret_is_renewed_and_links_of_the_old_one_still_open() -> None:
    key, new = f"{EPOCH}-7", b"another secret of thirty-two characters"
    renewed = OfferLinks(LINKS.url, [new, SECRET])
    assert renewed.link(key) == OfferLinks(LINKS.url, [new]).link(key) != LINKS.link(key)
    assert renewed.opened("o", token(LINKS.link(key)))
    assert OfferLinks(LINKS.url, [new]).opened("o", token(LINKS.link(key))) is None
    assert renewed.sealed(LINKS.seal("a", "b"), "a", "b")


def test_another_stores_link_is_none_of_its_offers() -> None:
    opened = LINKS.opened("o", token(LINKS.link(f"{EPOCH}-7")))
    assert opened
    assert not opened.is_of("77e077e077e077e077e077e077e077e0-7")


def test_a_form_is_sealed_for_what_it_is_about() -> None:
    seal = LINKS.seal("token", "12025550123", "nonce")
    assert LINKS.sealed(seal, "token", "12025550123", "nonce")
    assert not LINKS.sealed(seal, "token", "", "nonce")
    assert not LINKS.sealed("", "token", "12025550123", "nonce")
    assert not LINKS.sealed("é", "token", "12025550123", "nonce")


def test_no_secret_is_shown() -> None:
    assert "thirty-two" not in repr(LINKS)
