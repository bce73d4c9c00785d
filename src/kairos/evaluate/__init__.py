"""What was earned, what would have been, and for whom: uplift, off-policy evaluation, rates by group. Pure.

The room is named for what the field calls both halves: impact evaluation and off-policy evaluation.

effect, balance, mismatch          treated against control, from summaries
evaluate -> Evaluation or Refused  what another policy would have earned on a log; changes: who would have got what
rate, gap, parity                  how often, by group
"""

from kairos.evaluate.intervals import Interval, of_clusters, ratio
from kairos.evaluate.off_policy import SILENCE, Change, Evaluation, Log, Refused, changes, evaluate
from kairos.evaluate.rates import Counts, gap, parity, rate
from kairos.evaluate.segments import by_number, segments
from kairos.evaluate.uplift import (
    Effect,
    Summary,
    balance,
    detectable,
    effect,
    mismatch,
    together,
)

__all__ = [
    "SILENCE",
    "Change",
    "Counts",
    "Effect",
    "Evaluation",
    "Interval",
    "Log",
    "Refused",
    "Summary",
    "balance",
    "by_number",
    "changes",
    "detectable",
    "effect",
    "evaluate",
    "gap",
    "mismatch",
    "of_clusters",
    "parity",
    "rate",
    "ratio",
    "segments",
    "together",
]
