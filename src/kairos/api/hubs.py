"""The hub of a TM Forum API (TMF630): who listens to what becomes of its resources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Protocol

from fastapi import FastAPI, Request
from msgspec import Meta, Struct
from starlette.responses import Response

from kairos.api.tmf import TmfError, read_body, tmf_json
from kairos.domain.passage import Hub

BODY_LIMIT: Final = 10_000  # bytes
Text = Annotated[str, Meta(max_length=1000)]


class Listening(Struct, frozen=True, forbid_unknown_fields=True):
    """EventSubscriptionInput."""

    callback: Text
    query: Text = ""


class Listeners(Protocol):
    """Those of the running kairos. All raise KairosError where that cannot be now."""

    async def listen(self, client: str, callback: str, query: str) -> Hub | None:
        """None where they are told already. Raises EventError, ForbiddenError."""
        ...

    async def unlisten(self, client: str, id_: str) -> bool:
        """Whether it was there; with no client's name, whoever's."""
        ...


def add_hub(app: FastAPI, base: str, listeners: Listeners, whose: Callable[[Request], str]) -> None:
    """The routes below `base`; `whose`: the client whose listener a request makes or ends."""

    @app.post(f"{base}/hub", response_model=None, status_code=201)
    async def listen(request: Request) -> Response:
        """Be told of every change, at a callback that the settings allow."""
        _, wanted = await read_body(request, Listening, BODY_LIMIT)
        found = await listeners.listen(whose(request), wanted.callback, wanted.query)
        if found is None:
            raise TmfError(409, f"`{wanted.callback}` is told already", "DELETE its listener first")
        told = {"id": found.id, "callback": found.callback, "query": found.query}
        return tmf_json(told, 201, {"location": f"{base}/hub/{found.id}"})

    @app.delete(f"{base}/hub/{{id_}}", response_model=None, status_code=204)
    async def unlisten(id_: str, request: Request) -> Response:
        """Be told no more."""
        if not await listeners.unlisten(whose(request), id_):
            raise TmfError(404, f"there is no listener `{id_[:60]}`")
        return Response(None, 204)
