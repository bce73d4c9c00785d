"""What a person may ask of their own data: all of it (GDPR, articles 15 and 20), and to be forgotten (article 17)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from kairos.api.json_body import json_of
from kairos.api.lock import about
from kairos.api.problem import problem


class Privacy(Protocol):
    """The running kairos. All raise EventError for what is no name, and KairosError where that cannot be now."""

    async def export(self, name: str) -> Mapping[str, Any] | None:
        """All that is stored of somebody, as plain data; None where nobody is known by that name."""
        ...

    async def erase(self, name: str, reason: str, force: bool) -> Mapping[str, Any] | str:
        """Forget them: what was done, as plain data; in words why it was not. LookupError where nobody is known."""
        ...

    async def erasures(self) -> Sequence[Mapping[str, Any]]:
        """The latest, the newest first: when, why, and when nothing was left (0: something is)."""
        ...


def add_privacy(app: FastAPI, privacy: Privacy) -> None:
    """The routes."""

    @app.get("/v1/subscribers/{name}/export", response_model=None)
    async def export(name: str) -> Response:
        """All that is stored of one person, by the names of its fields. It reads whole tables, and takes its time."""
        found = await privacy.export(name)
        if found is None:
            return problem(404, f"nobody is known by `{name}`", "name")
        file = {"content-disposition": f'attachment; filename="subscriber-{found["subscriber"]}.json"'}
        return json_of(found, headers=file)

    @app.delete("/v1/subscribers/{name}", response_model=None)
    async def erase(
        name: str,
        request: Request,
        reason: Annotated[str, Query(max_length=200)] = "",
        force: Annotated[bool, Query()] = False,
    ) -> Response:
        """Forget a person. Their number is unknown when this is answered; what else is stored goes soon after."""
        about(request, name, "forced" if force else "")
        try:
            found = await privacy.erase(name, reason, force)
        except LookupError:
            return problem(404, f"nobody is known by `{name}`", "name")
        return problem(409, found) if isinstance(found, str) else json_of(found)

    @app.get("/v1/erasures", response_model=None)
    async def erasures() -> Response:
        """The latest who were forgotten, without their names: when, why, and whether anything of them is left."""
        return json_of({"erasures": await privacy.erasures()})
