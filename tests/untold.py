"""A trail that keeps nothing, for tests of what stands before or behind it."""

from __future__ import annotations

from kairos.domain.caller import Caller


class Untold:
    def counted(self, who: Caller, did: str, status: int) -> None:
        """Nothing."""

    def line(self, who: Caller, did: str, about: str, status: int, address: str, detail: str) -> None:
        """Nothing."""

    async def first(self, who: Caller, did: str, about: str, status: int, address: str, detail: str) -> None:
        """Nothing."""
