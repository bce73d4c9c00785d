"""What a model sees of a moment and of a variant."""

from __future__ import annotations

import numpy as np
import pytest
from tests.learn.planted import ARMS, DAY, HOUR, NOBODY, START

from kairos.domain.moment import Moment
from kairos.learn import Features, Variant, learn_features, on_channels, traits_of
from kairos.learn.variants import CHANNEL
from kairos.rules import Names

NAMES: Names = {
    "balance": "money",
    "plan": "text",
    "consent": "boolean",
    "seen": "time",
    "never": "number",
    "now": "time",
    "local": "time",
}


def moment(
    balance: object = 1, plan: object = "a", seen: object = START, local: int = START, kind: str = "k"
) -> Moment:
    return Moment(1, "", kind, START, START, (balance, plan, True, seen, None, START, local), NOBODY, True)


@pytest.fixture(scope="module")
def features() -> Features:
    plans = ("a", "a", "a", "b")
    kinds = ("end_of_call", "recharge")
    return learn_features(
        NAMES,
        [moment(i * 100, plans[i % 4], START - i * HOUR, START + i * HOUR, kinds[i % 2]) for i in range(200)],
    )


def level(features: Features, name: str, of: Moment) -> int:
    at = [column.name for column in features.columns].index(name)
    return int(features.levels([of])[0, at])


def test_columns_that_never_vary_are_left_out(features: Features) -> None:
    assert [column.name for column in features.columns] == ["balance", "plan", "seen", "hour", "weekday", "kind"]


def test_each_column_has_its_levels(features: Features) -> None:
    assert [level(features, "balance", moment(cents)) for cents in (-5, 0, 10_000, 10**9)] == [0, 0, 4, 8]
    assert [level(features, "plan", moment(plan=plan)) for plan in ("a", "b", "unheard of", None)] == [0, 1, 2, 3]
    assert level(features, "seen", moment(seen=START)) < level(features, "seen", moment(seen=START - 150 * HOUR))
    assert [level(features, "hour", moment(local=START + h * HOUR)) for h in (0, 2, 3, 23, 24)] == [0, 0, 1, 7, 0]
    thursday = 1_767_225_600_000  # 2026-01-01
    assert [level(features, "weekday", moment(local=thursday + d * DAY)) for d in (0, 1, 4)] == [3, 4, 0]
    assert level(features, "kind", moment(kind="recharge")) != level(features, "kind", moment(kind="end_of_call"))


def test_the_unknown_answers_every_test_with_the_average(features: Features) -> None:
    tests = features.tests(features.levels([moment(None, None, None)]))
    asked = np.isin(features.sources(), [0, 1, 2])
    assert (tests[0, asked] == 0).all()
    assert tests[0, 0] == 1


def test_tests_are_around_zero_over_the_sample(features: Features) -> None:
    sample = [moment(i * 100, "aaab"[i % 4], START - i * HOUR, START + i * HOUR, "k") for i in range(200)]
    tests = features.tests(features.levels(sample))[:, 1:]
    told = features.sources()[1:] <= 2
    assert np.abs(tests.mean(axis=0)[told]).max() < 1e-6


def test_a_variant_is_its_content_size_price_validity_and_itself() -> None:
    traits = traits_of(ARMS)
    weights = traits.weights([*ARMS, Variant("new", "data", 10**9, 0, 1), Variant("strange", "fax", 1, 1, 1)])
    assert weights.shape == (len(ARMS) + 2, len(traits.groups))
    by_group = np.stack([weights[:, traits.groups == group].sum(axis=1) for group in range(7)], axis=1)
    assert by_group.round(6)[:-2].tolist() == [[1, 1, 1, 1, 1, 0, 1]] * len(ARMS)
    assert by_group.round(6)[-2].tolist() == [1, 1, 1, 0, 1, 0, 0]  # beyond the greatest size; no price
    assert by_group.round(6)[-1].tolist() == [1, 0, 0, 1, 1, 0, 0]


def test_a_variant_on_several_channels_is_one_variant() -> None:
    arms = on_channels(ARMS, ["notification", "sms"])
    traits = traits_of(arms)
    assert traits.channels == ("notification", "sms")
    assert traits.names == tuple(arm.name for arm in ARMS)
    weights = traits.weights(arms)
    apart = weights[: len(ARMS)] != weights[len(ARMS) :]
    assert set(traits.groups[apart.any(axis=0)]) == {CHANNEL}
