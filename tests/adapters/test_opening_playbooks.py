"""Taking a new playbook while the old one runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kairos.adapters.memory import MemoryStore
from kairos.adapters.sqlite import SqliteStore
from kairos.bootstrap import Kairos, check_links, open_playbook, page_links
from kairos.deliver import OfferLinks
from kairos.engine.program import compile_program
from kairos.errors import PlaybookError, SettingsError
from kairos.playbook import read
from kairos.settings import read_settings


def with_currency(texts: dict[str, str], currency: str) -> dict[str, str]:
    return texts | {"playbook.yaml": texts["playbook.yaml"].replace("{code: XTS, digits: 2, sign: T$}", currency)}


@pytest.mark.parametrize("currency", ["{code: XTS, digits: 0, sign: T$}", "{code: XXX, digits: 2, sign: T$}"])
def test_the_currency_does_not_change_under_open_offers(texts: dict[str, str], small: Any, currency: str) -> None:
    store = MemoryStore()
    with pytest.raises(PlaybookError, match="the currency changed from XTS with 2 digits"):
        open_playbook(store, with_currency(texts, currency), small.playbook)
    assert open_playbook(store, texts, small.playbook) is None


def test_the_sign_of_the_currency_may_change(texts: dict[str, str], small: Any) -> None:
    changed = with_currency(texts, "{code: XTS, digits: 2, sign: XTS}")
    program = open_playbook(MemoryStore(), changed, small.playbook)
    assert program is not None
    assert program.playbook.currency.sign == "XTS"


@pytest.mark.parametrize("currency", ["{code: XTS, digits: 0, sign: T$}", "{code: XXX, digits: 2, sign: T$}"])
def test_the_currency_does_not_change_over_a_restart(texts: dict[str, str], tmp_path: Path, currency: str) -> None:
    for turn in range(2):
        store = SqliteStore(tmp_path / "kairos.db")
        assert open_playbook(store, texts) is not None
        if turn:
            with pytest.raises(PlaybookError, match="the currency changed from XTS with 2 digits"):
                open_playbook(store, with_currency(texts, currency))
        store.close()


def test_a_message_that_has_only_a_link_needs_a_page(texts: dict[str, str]) -> None:
    """One that has another text as well can be said without; a page is all that is missing."""
    both = texts["messages.yaml"].replace("{title} {price}: reply {number}", "{title}: {link}")
    program = compile_program(read(texts | {"messages.yaml": both}))
    links = OfferLinks("https://offers.example", [b"x" * 32])
    assert (check_links(None, program), check_links(links, program)) == (["booster_line"], [])
    alone = re.sub(r"booster_line:.*?(?=top_up_line)", "booster_line: {en: 'Tap {link}'}\n", both, flags=re.DOTALL)
    program = compile_program(read(texts | {"messages.yaml": alone}))
    assert check_links(links, program) == []
    with pytest.raises(PlaybookError, match=r"messages\.yaml:\d+: every text of `booster_line` says"):
        check_links(None, program)
    unused = compile_program(read(texts | {"messages.yaml": texts["messages.yaml"] + "spare: {en: 'Tap {link}'}\n"}))
    assert check_links(None, unused) == [], "nobody says it"


async def test_another_systems_sender_id_is_no_short_code_of_the_playbook(texts: dict[str, str], small: Any) -> None:
    """A yes to its messages would take our offers: not at the start, nor with a new playbook."""
    refused = r"`senders\.vas\.ids`: replies to `5000` take the playbook's offers; .*`vas`"
    with pytest.raises(SettingsError, match=refused):
        Kairos(read_settings('[senders.vas]\nids = ["1234", "5000"]\n', {}), MemoryStore(), small)
    server = Kairos(read_settings('[senders.vas]\nids = ["1234", "Games"]\n', {}), MemoryStore(), small)
    also = texts["replies.yaml"] + texts["replies.yaml"].replace('"5000"', '"1234"')
    with pytest.raises(SettingsError, match="replies to `1234`"):
        server._check(compile_program(read(texts | {"replies.yaml": also})))
    server._check(small)


def test_what_a_tap_may_cost_is_an_amount_of_the_currency(small: Any) -> None:
    settings = read_settings("[page]\nurl = 'https://offers.example'\ntap_up_to = '0.505'", {})
    with pytest.raises(SettingsError, match=r"`page\.tap_up_to`: `0\.505` has more than 2 decimals"):
        page_links(settings, small.playbook.currency)
