"""What a model knows of a variant on a channel: its content, size, price and validity, the channel, and itself.

A variant's taste is the sum of what is known of each of these, so a new one starts from its likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

PLACES: Final = 4  # where along a scale of sizes, prices or validities a taste is kept; between them it is interpolated
SHARED, CONTENT, SIZE, PRICE, VALIDITY, CHANNEL, OWN = range(7)  # the groups of traits
GROUPS: Final = 7

Weights = NDArray[np.float32]


class Variant(Struct, frozen=True):
    """One arm as the model sees it; 0 where it has no such figure."""

    name: str  # offer/variant: the same name is the same arm for good
    content: str = ""  # data, voice, video, ...
    size: float = 0.0  # in the unit of its content
    price: float = 0.0
    validity: float = 0.0  # any unit, the same for all
    channel: str = ""


class Scale(Struct, frozen=True):
    """Logarithms between which a figure is interpolated."""

    at: tuple[float, ...]


class Traits(Struct, frozen=True):
    """The traits that tastes are kept for: contents, three scales (sizes by content), channels, and arms by name."""

    contents: tuple[str, ...]
    sizes: tuple[Scale, ...]  # by content
    prices: Scale
    validities: Scale
    channels: tuple[str, ...]  # none where there is only one
    names: tuple[str, ...]

    @property
    def groups(self) -> NDArray[np.int64]:
        """For each trait its group."""
        width = (1, len(self.contents), PLACES, PLACES, PLACES, len(self.channels), len(self.names))
        return np.repeat(np.arange(GROUPS), width)

    def weights(self, variants: Sequence[Variant]) -> Weights:
        """(variants, traits) float32: how much of each trait a variant has.

        An arm that no trait is named for has none of its own, and a new content none of its content.
        """
        weights = np.zeros((len(variants), len(self.groups)), np.float32)
        start = np.searchsorted(self.groups, np.arange(GROUPS))
        for row, variant in zip(weights, variants, strict=True):
            row[start[SHARED]] = 1
            if variant.content in self.contents:
                content = self.contents.index(variant.content)
                row[start[CONTENT] + content] = 1
                _interpolate(row[start[SIZE] :], self.sizes[content], variant.size)
            _interpolate(row[start[PRICE] :], self.prices, variant.price)
            _interpolate(row[start[VALIDITY] :], self.validities, variant.validity)
            if variant.channel in self.channels:
                row[start[CHANNEL] + self.channels.index(variant.channel)] = 1
            if variant.name in self.names:
                row[start[OWN] + self.names.index(variant.name)] = 1
        return weights


def traits_of(variants: Sequence[Variant]) -> Traits:
    """The traits of these variants.

    >>> arms = [Variant("a", "data", 500, 1, 1), Variant("b", "data", 2000, 5, 7)]
    >>> traits = traits_of(arms)
    >>> traits.weights([Variant("new", "data", 1000, 5, 7)]).tolist()
    [[1.0, 1.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]]
    """
    contents = tuple(sorted({variant.content for variant in variants}))
    channels = tuple(sorted({variant.channel for variant in variants}))
    return Traits(
        contents=contents,
        sizes=tuple(_scale([v.size for v in variants if v.content == content]) for content in contents),
        prices=_scale([variant.price for variant in variants]),
        validities=_scale([variant.validity for variant in variants]),
        channels=channels if len(channels) > 1 else (),
        names=tuple(dict.fromkeys(variant.name for variant in variants)),
    )


def on_channels(variants: Sequence[Variant], channels: Sequence[str]) -> list[Variant]:
    """Each variant on each channel: variant v on channel c has place c x len(variants) + v."""
    return [replace(variant, channel=channel) for channel in channels for variant in variants]


def _scale(figures: Sequence[float]) -> Scale:
    """Evenly from the least to the greatest logarithm; of figures all the same (or none), one point and its likes."""
    logs = np.log([figure for figure in figures if figure > 0] or [1.0])
    return Scale(tuple(np.linspace(logs.min(), logs.max(), PLACES).tolist()))


def _interpolate(row: Weights, scale: Scale, figure: float) -> None:
    if figure <= 0:
        return
    step = (scale.at[-1] - scale.at[0]) / (PLACES - 1)
    along = min(max((np.log(figure) - scale.at[0]) / step, 0.0), PLACES - 1.0) if step else 0.0
    low = min(int(along), PLACES - 2)
    row[low], row[low + 1] = low + 1 - along, along - low
