"""The playbook's folder changes while the server runs: what is sound is taken, what is not changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
REFUSED = "the new playbook is not sound; the old one stays"


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "prepaid"))


def edit(path: Path, before: str, after: str) -> None:
    """As a careful editor saves: all at once."""
    text = path.read_text(encoding="utf-8")
    assert before in text
    draft = path.with_suffix(".draft")
    draft.write_text(text.replace(before, after), encoding="utf-8")
    draft.replace(path)


async def offer_to_next(system: Any) -> tuple[str, str]:
    """The next subscriber, and the offer that a call brings."""
    msisdn = system.with_language("en")
    await system.known(msisdn)
    seen = await system.call(msisdn)
    assert seen.offer is not None, seen.text
    return msisdn, seen.offer.text


async def test_a_playbook_that_breaks_changes_nothing_and_a_sound_one_is_taken(launch: Any, playbook: Path) -> None:
    talk = playbook / "offers" / "missed_talk.yaml"
    async with launch(settings=playbook / "kairos.toml", RELOAD_EVERY_S=0.1) as system:
        first, text = await offer_to_next(system)
        assert "T$0.70" in text

        edit(talk, "minutes_left", "minutes_lfet")
        await system.until(lambda: REFUSED in system.server.log, "the broken playbook to be noticed")
        (said,) = [line for line in system.server.log.splitlines() if REFUSED in line]
        assert "offers/missed_talk.yaml" in said
        assert "`minutes_lfet`" in said
        assert "minutes_left" in said  # did you mean
        assert "T$0.70" in (await offer_to_next(system))[1]

        talk.write_bytes(b"\xff\xfe\x00offer: [")
        await system.until(lambda: system.server.log.count(REFUSED) == 2, "the other fault to be noticed")
        assert "T$0.70" in (await offer_to_next(system))[1]

        shutil.copy(EXAMPLE / "offers" / "missed_talk.yaml", talk)
        edit(talk, "price: 0.70", "price: 0.60")
        await system.until(lambda: '"new playbook"' in system.server.log, "the sound playbook to be taken")
        later, text = await offer_to_next(system)
        assert "T$0.60" in text

        await system.reply(first, "1")
        await system.reply(later, "1")
        assert [order.charged for order in system.orders(first)] == [70]
        assert [order.charged for order in system.orders(later)] == [60]
        assert system.server.log.count(REFUSED) == 2  # each said once, however often it was looked at


async def test_a_playbook_that_the_settings_do_not_fit_is_not_taken(launch: Any, playbook: Path) -> None:
    """The patterns read balances: a sound playbook whose notifications have none is not for these settings."""
    async with launch(settings=playbook / "kairos.toml", RELOAD_EVERY_S=0.1) as system:
        vocabulary = playbook / "vocabulary.yaml"
        edit(vocabulary, "{service: text, cost: money, balances: balances,", "{service: text, cost: money,")
        await system.until(lambda: REFUSED in system.server.log, "the fault to be noticed")
        assert "patterns of `ocs`" in system.server.log
        assert "T$0.70" in (await offer_to_next(system))[1]


async def test_states_and_offers_live_through_a_new_vocabulary_and_a_restart(launch: Any, playbook: Path) -> None:
    settings = playbook / "kairos.toml"
    async with launch(settings=settings, RELOAD_EVERY_S=0.1, restarts=True) as system:
        first, _ = await offer_to_next(system)
        second, _ = await offer_to_next(system)
        edit(
            playbook / "vocabulary.yaml",
            "counters:\n",
            "counters:\n  texts_7d: {count: end_of_call, where: \"end_of_call.service = 'sms'\", over: 7 days}\n",
        )
        await system.until(lambda: '"new playbook"' in system.server.log, "the new vocabulary to be taken")
        await system.reply(first, "1")
        await system.text_charged(first)
        (decision, *_) = await system.decisions(first)
        assert (decision["known"]["texts_7d"], decision["known"]["calls_7d"], decision["known"]["plan"]) == (
            1,
            1,
            "prepaid",
        )
        assert "texts_7d" in system.server.log  # it says that this counter begins anew

        edit(playbook / "offers" / "missed_talk.yaml", "price: 0.70", "price: 0.50")
        assert await system.server.end() == 0
        await system.restart()
        await system.reply(second, "yes")
        assert [order.charged for order in system.orders(first) + system.orders(second)] == [70, 70]
        assert "T$0.50" in (await offer_to_next(system))[1]
        _, oldest = await system.decisions(first)
        assert oldest["revision"] != decision["revision"]
        assert any(verdict["state"] == "chosen" for verdict in oldest["verdicts"])
