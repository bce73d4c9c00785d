"""Learn: how likely a yes is."""

from kairos.learn.fixed import FixedPropensity

__all__ = ["FixedPropensity"]
