"""A model knows nothing of a source of data that a subscriber has not agreed to; neither when it scores, nor learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import HOUR

from kairos.decide import as_agreed, moment_of
from kairos.domain.decision import Decision
from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.domain.subscriber import Bucket
from kairos.engine.lessons import Lessons

DAY = 24 * HOUR


class Seeing:
    """A scorer that keeps what it was shown."""

    version = "seeing"

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def score(self, pairs: Pairs, moments: Sequence[Moment]) -> NDArray[np.float64]:
        self.rows = [moment.row for moment in moments]
        return np.full(len(pairs.arm), 0.1)


def world(texts: dict[str, str], policy: str) -> dict[str, str]:
    vocabulary = texts["vocabulary.yaml"].replace("language: text,", "language: text, dpi: boolean, town: text,", 1)
    attributes = "  dpi_consent: {type: boolean, from: [profile.dpi]}\n"
    attributes += "  town: {type: text, from: [profile.town], uses: location}\n"
    vocabulary = vocabulary.replace("attributes:\n", "attributes:\n" + attributes)
    vocabulary += (
        "  video_30d: {count: data_session, where: \"data_session.app = 'video'\", over: 30 days, uses: dpi}\n"
    )
    return {
        "vocabulary.yaml": vocabulary,
        "contact_policy.yaml": "contact_only_when: {c: marketing_consent}\n" + policy,
    }


def seen(bench: Any, agreed: bool | None) -> dict[str, Any]:
    """What the model is shown at the end of a session with video."""
    bench.profile(dpi=agreed, town="Springfield")
    bench.engine.scorer = scorer = Seeing()
    bench.apply(bench.event("data_session", app="video", bytes=1.0))
    balances = [Bucket("main", 5000), Bucket("data", 1000, bench.now + HOUR)]
    bench.apply(bench.event("end_of_call", notification="A call.", service="voice", cost=1, balances=balances))
    (row,) = scorer.rows
    return dict(zip(bench.program.decide.columns, row, strict=True))


@pytest.mark.parametrize(
    ("policy", "agreed", "known"),
    [
        ("data_only_when: {dpi: dpi_consent}", True, True),
        ("data_only_when: {dpi: dpi_consent}", False, False),
        ("data_only_when: {dpi: dpi_consent}", None, False),
        ("data_only_when: {dpi: dpi_consent}\nconsent: opt-out", None, True),
        ("data_only_when: {dpi: dpi_consent}\nconsent: opt-out", False, False),
        ("data_only_when: {dpi: {when: dpi_consent, except: [upsell]}}", False, False),
        ("", False, True),
    ],
)
def test_what_nobody_agreed_to_is_unknown_to_the_model(
    bench_with: Callable[..., Any], texts: dict[str, str], policy: str, agreed: bool | None, known: bool
) -> None:
    row = seen(bench_with(world(texts, policy)), agreed)
    assert row["video_30d"] == (1 if known else None)
    assert row["town"] == "Springfield", "of another source, that nobody asks for"
    assert row["balance"] == 5000


def test_the_fields_that_it_is_made_of_are_unknown_too(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = bench_with(world(texts, "data_only_when: {dpi: dpi_consent}"))
    bench.profile(dpi=False)
    bench.engine.scorer = scorer = Seeing()
    balances = [Bucket("main", 5000), Bucket("data", 1000, bench.now + HOUR)]
    bench.apply(bench.event("end_of_call", service="voice", cost=1, balances=balances))
    bench.now += 2 * DAY
    bench.apply(bench.event("data_session", app="video", bytes=7.0))
    row = dict(zip(bench.program.decide.columns, scorer.rows[0], strict=True))
    assert (row["data_session.app"], row["data_session.bytes"]) == (None, 7.0)


def test_without_sources_nothing_is_copied(bench: Any) -> None:
    bench.profile()
    moments = [moment_of(decision) for decision in decided(bench)]
    assert as_agreed(bench.program.decide, moments) is moments


def decided(bench: Any) -> list[Decision]:
    balances = [Bucket("main", 5000), Bucket("data", 1000, bench.now + HOUR)]
    work = bench.apply(bench.event("end_of_call", notification="A call.", service="voice", cost=1, balances=balances))
    return [msgspec.msgpack.decode(record, type=Decision) for *_, record in work.batch.decisions]


@pytest.mark.parametrize(("agreed", "known"), [(True, 1), (False, None)])
def test_nothing_is_learned_from_it(
    bench_with: Callable[..., Any], texts: dict[str, str], agreed: bool, known: int | None
) -> None:
    bench = bench_with(world(texts, "data_only_when: {dpi: dpi_consent}"))
    bench.profile(dpi=agreed)
    bench.apply(bench.event("data_session", app="video", bytes=1.0))
    (decision,) = decided(bench)
    place = bench.program.decide.columns.index("video_30d")
    assert decision.row[place] == 1, "the record is for explaining and replaying"
    lessons = Lessons(bench.program, DAY, DAY)
    lessons.decided([msgspec.msgpack.encode(decision)])
    ((moment, _, _),) = lessons._sample
    assert moment.row[place] == known
