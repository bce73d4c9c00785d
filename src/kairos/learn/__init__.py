"""Learn: how likely a yes is."""

from kairos.learn.arms import variants_of
from kairos.learn.choice import METHOD, probabilities
from kairos.learn.features import Features, learn_features
from kairos.learn.fixed import FixedPropensity
from kairos.learn.learner import Learner
from kairos.learn.model import LearnedPropensity, Version, freeze, thaw
from kairos.learn.reasons import reasons
from kairos.learn.variants import Traits, Variant, on_channels, traits_of

__all__ = [
    "METHOD",
    "Features",
    "FixedPropensity",
    "LearnedPropensity",
    "Learner",
    "Traits",
    "Variant",
    "Version",
    "freeze",
    "learn_features",
    "on_channels",
    "probabilities",
    "reasons",
    "thaw",
    "traits_of",
    "variants_of",
]
