"""Decide: what is best to say to each subscriber of a batch, or nothing, and why. Pure."""

from kairos.decide.again import highest, moment_of, survivors_again
from kairos.decide.budgets import AMOUNTS, BudgetFigures, Ledger, figures, periods
from kairos.decide.closings import with_switches
from kairos.decide.decide import Composed, Decided, decide
from kairos.decide.explain import Verdict, explain
from kairos.decide.freezes import frozen, frozen_message
from kairos.decide.gates import closed_since, closed_to
from kairos.decide.ghost import could_say, kept_from, would_say
from kairos.decide.limits import still_unanswered
from kairos.decide.passing import PASSES, compile_passing, passes, still_passes
from kairos.decide.program import Arm, Program, compile_program, wanted
from kairos.decide.sources import as_agreed

__all__ = [
    "AMOUNTS",
    "PASSES",
    "Arm",
    "BudgetFigures",
    "Composed",
    "Decided",
    "Ledger",
    "Program",
    "Verdict",
    "as_agreed",
    "closed_since",
    "closed_to",
    "compile_passing",
    "compile_program",
    "could_say",
    "decide",
    "explain",
    "figures",
    "frozen",
    "frozen_message",
    "highest",
    "kept_from",
    "moment_of",
    "passes",
    "periods",
    "still_passes",
    "still_unanswered",
    "survivors_again",
    "wanted",
    "with_switches",
    "would_say",
]
