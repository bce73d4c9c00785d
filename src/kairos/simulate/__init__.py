"""A synthetic operator: charging system, SMSC and handsets, invented from a seed and labelled as such.

It speaks to kairos only by protocol (SMPP 3.4 and HTTP), runs in a process of its own, and counts everything in its own
ledgers, so that what it says about kairos is said from outside. No person, number or brand in it is real.
"""

from kairos.simulate.operator import Operator, OperatorSettings

__all__ = ["Operator", "OperatorSettings"]
