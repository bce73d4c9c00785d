"""A recommendation that is not answered at once but kept (TMF680), in kairos' words and in its requester's."""

from __future__ import annotations

from msgspec import Struct

from kairos.domain.inbound import Sought

UNDER_WAY = "inProgress"  # every other state is an end


class Kept(Struct, frozen=True, gc=False):
    """One that was asked for: `sought` in kairos' words, `resource` (JSON) as its requester reads it.

    `name`: of the subscriber, as ingest resolves it, so that what concerns a person is found. `told`: listeners know
    how it ended. `client`: of ours that asked, and sees it (empty: through a door without a lock).
    """

    key: str
    name: str
    at: int
    state: str
    sought: Sought
    resource: bytes
    told: bool = False
    client: str = ""
