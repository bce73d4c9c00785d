"""Who said what of a consent, and when: the proof of its last change."""

from __future__ import annotations

from collections.abc import Iterable

from kairos.domain.subscriber import Proof, State


def prove(state: State, consents: Iterable[tuple[str, int]], happened: int, by: str) -> None:
    """Keep the proof of each consent (attribute, its place) that an input of that identity has just changed."""
    for name, place in consents:
        value, known = state.attributes[place], state.proofs.get(name)
        if state.stamps[place] == happened and (known is None or known.value != value):
            state.proofs[name] = Proof(value, happened, by)
