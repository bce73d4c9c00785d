"""What people have closed for now, whoever the subscriber is: switches that are off, as masks of one program."""

from __future__ import annotations

from dataclasses import replace

from kairos.decide.program import Closed, Program
from kairos.domain.switch import Switches, stated


def with_switches(program: Program, switches: Switches) -> Program:
    """The program as it decides while these switches are off; made when a switch or the playbook changes."""
    arms = [(mask, stated(f"action:{name}")) for name, mask in program.of_action.items()]
    arms += [(mask, stated(f"issue:{name}")) for name, mask in program.of_issue.items()]
    off = {stated(name) for name in switches.off}
    closed = Closed(
        all=stated(switches.marketing) if switches.marketing else "",
        arms=tuple((mask, rule) for mask, rule in arms if rule in off),
        channels=tuple(rule if (rule := stated(f"channel:{name}")) in off else "" for name in program.channels),
    )
    return replace(program, closed=closed)
