"""Taking a new playbook while the old one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kairos.adapters.memory import MemoryStore
from kairos.adapters.sqlite import SqliteStore
from kairos.bootstrap import open_playbook
from kairos.errors import PlaybookError


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
