"""The propensity model in force: the newest version that was published, made to fit the playbook in force."""

from __future__ import annotations

import asyncio

import structlog

from kairos.engine.engine import Engine
from kairos.engine.program import Program
from kairos.learn import LearnedPropensity, Version, thaw, variants_of
from kairos.ports import Scorer, Store

log = structlog.get_logger("kairos.propensities")


class Propensities:
    """Gives an engine each version as it is published. `every`: seconds between looks.

    Until there is one, and where the newest was learned under another vocabulary, `fallback` scores.
    """

    def __init__(self, store: Store, engine: Engine, fallback: Scorer, *, every: float = 5.0) -> None:
        self.store, self.engine, self.fallback, self.every = store, engine, fallback, every
        self._known = ""
        self._version: Version | None = None
        engine.scorer_of = self.scorer_of

    def scorer_of(self, program: Program) -> Scorer:
        return (scorer_of(self._version, program) if self._version else None) or self.fallback

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self.every)

    async def look(self) -> None:
        """From the next batch on, the newest version. One that cannot be read leaves the one before in force."""
        try:
            name = await asyncio.to_thread(self.store.newest_model)
            found = await asyncio.to_thread(self.store.model, name) if name not in ("", self._known) else None
            if found is None:
                return
            self._known, content = found
            self._version = thaw(content)
        except Exception as error:  # the store's trouble is told elsewhere, and decisions go on
            log.warning("the newest model cannot be had", model=self._known, reason=str(error) or repr(error))
            return
        self.engine.scorer = self.scorer_of(self.engine.program)
        log.info("a model is in force", model=self.engine.scorer.version, answers=self._version.answers)


def scorer_of(version: Version, program: Program, explore: float | None = None) -> LearnedPropensity | None:
    """A version for the arms of a program; None where it was learned under another vocabulary.

    `explore`: otherwise than it says itself.
    """
    if version.features.names != tuple(program.playbook.vocabulary.names):
        return None
    return LearnedPropensity(
        version,
        variants_of(program.playbook),
        seed=version.seed,
        explore=version.explore if explore is None else explore,
        channels=program.decide.channels,
    )
