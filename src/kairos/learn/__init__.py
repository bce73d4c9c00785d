"""Learn: how likely a yes is."""

from kairos.learn.arms import variants_of
from kairos.learn.choice import BROUGHT, EXACT, METHOD, equals_share, probabilities
from kairos.learn.features import Features, learn_features
from kairos.learn.fixed import FixedPropensity
from kairos.learn.learner import Learner
from kairos.learn.model import LearnedPropensity, Version, freeze, thaw
from kairos.learn.reasons import reasons
from kairos.learn.variants import Traits, Variant, on_channels, traits_of

__all__ = [
    "BROUGHT",
    "EXACT",
    "METHOD",
    "Features",
    "FixedPropensity",
    "LearnedPropensity",
    "Learner",
    "Traits",
    "Variant",
    "Version",
    "equals_share",
    "freeze",
    "learn_features",
    "on_channels",
    "probabilities",
    "reasons",
    "thaw",
    "traits_of",
    "variants_of",
]
