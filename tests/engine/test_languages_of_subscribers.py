"""A subscriber's language: at once when it changes, in offers, in answers and in the words of a reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kairos.domain.message import Text
from kairos.domain.subscriber import Bucket
from kairos.errors import PlaybookError
from kairos.playbook import read

LANGUAGES = ("en", "sr-Latn", "sr-Cyrl", "ar")
REPLIES = """
"5000":
  accept: {en: [YES], sr-Latn: [DA], sr-Cyrl: [ДА], ar: [نعم]}
  decline: {en: [NO], sr-Latn: [NE], sr-Cyrl: [НЕ], ar: [لا]}
  stop: {en: [STOP], ar: [إيقاف]}
  withdraws: [marketing_consent]
"""
SAID = {
    "en": "{title} for {price}: reply {number}",
    "sr-Latn": "{title} za {price}: odgovorite {number}",
    "sr-Cyrl": "{title} за {price}: одговорите {number}",
    "ar": "{title} بسعر {price}: أجب {number}",
}


@pytest.fixture
def bench(bench_with: Callable[..., Any], texts: dict[str, str]) -> Any:
    lines = "".join(f'  {tag}: "{text}"\n' for tag, text in SAID.items())
    start, end = texts["messages.yaml"].index("booster_line:"), texts["messages.yaml"].index("top_up_line:")
    messages = texts["messages.yaml"][:start] + "booster_line:\n" + lines + texts["messages.yaml"][end:]
    messages = messages.replace('fr: "C\'est fait: {title}."', 'sr-Cyrl: "Готово: {title}."')
    messages = messages.replace('declined: {en: "All right."}', 'declined: {en: "All right.", ar: "حسنا"}')
    playbook = texts["playbook.yaml"].replace("[en, fr]", f"[{', '.join(LANGUAGES)}]")
    bench = bench_with({"messages.yaml": messages, "playbook.yaml": playbook, "replies.yaml": REPLIES})
    bench.profile(language="en")
    return bench


def offer(bench: Any) -> str:
    balances = [Bucket("main", 100_000), Bucket("data", 1000, bench.now + 86_400_000)]
    return said(bench.apply(bench.event("end_of_call", service="data", cost=1, balances=balances)))


def said(work: Any) -> str:
    return "|".join(msgspec.msgpack.decode(row.payload, type=Text).text for row in work.batch.outgoing)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("sr-Latn", "2 GB for 7 days za T$45: odgovorite 1"),
        ("sr-Cyrl-RS", "2 GB for 7 days за T$45: одговорите 1"),
        ("sr", "2 GB for 7 days za T$45: odgovorite 1"),
        ("ar-EG", "2 GB for 7 days بسعر T$45: أجب 1"),
        ("tlh", "2 GB for 7 days for T$45: reply 1"),
    ],
)
def test_a_language_that_an_event_sets_is_spoken_from_the_next_moment_on(
    bench: Any, language: str, expected: str
) -> None:
    bench.apply(bench.event("profile", language=language))
    assert offer(bench) == expected


@pytest.mark.parametrize(
    ("language", "word", "meaning"),
    [
        ("sr-Cyrl", "да", "accept"),
        ("sr-Latn", "Da!", "accept"),
        ("sr-Cyrl", "da", "accept"),  # words of the other languages count too
        ("ar", "نَعَم", "accept"),  # with vowel signs
        ("ar", "١", "accept"),  # the offer's number in its own digits
        ("ar", "لا", "decline"),
        ("ar", "ايقاف", "stop"),  # hamza is left out as people do
        ("en", "НЕ", "decline"),
    ],
)
def test_words_of_a_reply_are_of_the_subscribers_language(bench: Any, language: str, word: str, meaning: str) -> None:
    bench.apply(bench.event("profile", language=language))
    offer(bench)
    bench.apply(bench.reply(word))
    assert bench.engine.statistics.counts[f"replies.{meaning}"] == 1


def test_an_answer_is_in_the_offers_language_though_the_subscribers_changed(bench: Any) -> None:
    bench.apply(bench.event("profile", language="ar"))
    offer(bench)
    bench.now += 1
    bench.apply(bench.event("profile", language="en"))
    assert said(bench.apply(bench.reply("لا"))) == "حسنا"


def test_a_language_stands_once(texts: dict[str, str]) -> None:
    playbook = texts["playbook.yaml"].replace("[en, fr]", "[en, fr, sr-Latn, sr-latn]")
    with pytest.raises(PlaybookError, match="two tags differ only in their case"):
        read(texts | {"playbook.yaml": playbook})
