"""Why decisions fell as they did, as JSON can hold it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from kairos.adapters.purchases import shown
from kairos.engine.explain import Explainer, Explanation


class HttpExplanations:
    """Explanations as plain data, read in threads."""

    def __init__(self, explainer: Explainer) -> None:
        self.explainer = explainer

    async def decision(self, number: int) -> Any | None:
        return await asyncio.to_thread(self._decision, number)

    async def subscriber(self, msisdn: str) -> Sequence[Any] | None:
        return await asyncio.to_thread(self._subscriber, msisdn)

    def _decision(self, number: int) -> Any | None:
        found = self.explainer.decision(number)
        return plain(found) if found else None

    def _subscriber(self, msisdn: str) -> Sequence[Any] | None:
        numbers = self.explainer.latest(msisdn)
        if numbers is None:
            return None
        return [plain(found) for number in numbers if (found := self.explainer.decision(number))]


def plain(found: Explanation) -> dict[str, Any]:
    """An explanation as JSON can hold it; `known` as it was compared, `shown` as it is read (T$12.40)."""
    decision = found.decision
    return {
        "decision": decision.id,
        "subscriber": decision.subscriber,
        "msisdn": found.msisdn,
        "held": [msgspec.structs.asdict(held) for held in found.held],
        "ended": found.ended,
        "kind": decision.kind,
        "happened": decision.happened,
        "decided": decision.now,
        "playbook": found.playbook,
        "revision": decision.revision,
        "model": decision.model,
        "reasons": [{"word": word, "log_odds": round(added, 4)} for word, added in found.reasons],
        "drawn": found.drawn and {name: getattr(found.drawn, name) for name in ("probability", "method", "error")},
        "code": decision.code,
        "said": next((verdict.arm for verdict in found.verdicts if verdict.state == "chosen"), ""),
        "channel": found.channel,
        "asked_on": decision.where,
        "verdicts": [msgspec.to_builtins(verdict) for verdict in found.verdicts],
        "known": found.known,
        "budgets": [asdict(one) | {"shown": dict(shown)} for one, shown in found.budgets],
        "consents": {name: msgspec.structs.asdict(proof) for name, proof in found.consents.items()},
        "shown": found.shown,
        "responses": [msgspec.structs.asdict(response) for response in found.responses],
        "purchases": [shown(purchase) for purchase in found.purchases],
    }
