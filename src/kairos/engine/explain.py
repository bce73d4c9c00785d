"""Why: a decision's record, in the words of the playbook it was made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from kairos.decide import Verdict, explain
from kairos.domain.decision import Decision
from kairos.domain.inputs import Response
from kairos.engine.program import Program
from kairos.engine.work import decode_state
from kairos.ports import Store

_record = msgspec.msgpack.Decoder(Decision).decode


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision with every arm's verdict, what was known at the moment, and what became of the offer."""

    decision: Decision
    playbook: str
    verdicts: tuple[Verdict, ...]
    known: dict[str, Any]  # column -> value, where there was one
    responses: tuple[Response, ...]


class Explainer:
    """Looks records up. `compile_texts` makes a program of a stored revision's texts."""

    def __init__(self, store: Store, compile_texts: Callable[[dict[str, str]], Program]) -> None:
        self.store = store
        self._program = lru_cache(maxsize=8)(lambda revision: self._compile(revision, compile_texts))

    def decision(self, number: int) -> Explanation | None:
        """One decision explained, or None where there is no such record or its playbook is gone."""
        blob = self.store.decision(number)
        record = _record(blob) if blob else None
        program = self._program(record.revision) if record else None
        if record is None or program is None:
            return None
        row = zip(program.decide.columns, record.row, strict=True)
        return Explanation(
            record,
            program.playbook.name,
            tuple(explain(program.decide, record)),
            {name: value for name, value in row if value is not None},
            tuple(self.store.responses(f"{self.store.epoch}-{number}")),
        )

    def latest(self, msisdn: str) -> list[int] | None:
        """The ids of a subscriber's latest decisions, the newest first; None for one who is not known."""
        loaded = self.store.load([msisdn], [])
        blob = loaded.states.get(loaded.subscribers.get(msisdn, 0))
        return decode_state(blob).decisions[::-1] if blob else None

    def _compile(self, revision: str, compile_texts: Callable[[dict[str, str]], Program]) -> Program | None:
        texts = self.store.playbook(revision)
        return compile_texts(texts) if texts else None
