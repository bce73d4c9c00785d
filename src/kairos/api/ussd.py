"""For USSD gateways that speak HTTP: form fields answered `CON` or `END`, and XML dialogs.

A gateway shows who it is by the secret in the path: these routes need no other key.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from starlette.responses import Response

from kairos.api.body import whole_body
from kairos.api.problem import problem
from kairos.errors import EventError

LARGEST_FORM, LARGEST_XML = 8_000, 16_384  # bytes
MOST_FIELDS = 50


class Ussd(Protocol):
    """The running kairos, as a gateway sees it. All raise EventError, and KairosError where that cannot be now."""

    def knows(self, secret: str) -> bool:
        """Whether this is the secret of the settings; compared in constant time, and no where there is none."""
        ...

    async def callback(self, form: dict[str, str]) -> tuple[str, str]:
        """The answer to a step, and the name of the system that the dialogue goes back to, if it does."""
        ...

    async def interrupted(self, form: dict[str, str]) -> None:
        """A dialogue did not come to its end."""
        ...

    async def dialog(self, body: bytes) -> bytes:
        """The answer to an XML dialog."""
        ...


def add_ussd(app: FastAPI, ussd: Ussd) -> None:
    """The routes. Whoever does not know the secret finds nothing there."""

    @app.post("/v1/ussd/{secret}/callback", response_model=None)
    async def callback(secret: str, request: Request) -> Response:
        """A step of a dialogue, as form fields; `CON` and a screen that awaits a key, or `END` and the last one."""
        return await _step(ussd, secret, request)

    @app.get("/v1/ussd/{secret}/callback", response_model=None)
    async def callback_by_get(secret: str, request: Request) -> Response:
        """The same, with the fields in the address."""
        return await _step(ussd, secret, request)

    @app.post("/v1/ussd/{secret}/interrupted", response_model=None)
    async def interrupted(secret: str, request: Request) -> Response:
        """A notice of how a dialogue ended, as form fields."""
        if not ussd.knows(secret):
            return _nothing()
        await ussd.interrupted(await _form(request))
        return Response(status_code=204)

    @app.post("/v1/ussd/{secret}/dialog", response_model=None)
    async def dialog(secret: str, request: Request) -> Response:
        """A step of a dialogue as an XML dialog, answered with another."""
        if not ussd.knows(secret):
            return _nothing()
        said = await ussd.dialog(await whole_body(request, LARGEST_XML))
        return Response(said, media_type="text/xml; charset=utf-8")


async def _step(ussd: Ussd, secret: str, request: Request) -> Response:
    if not ussd.knows(secret):
        return _nothing()
    said, back_to = await ussd.callback(await _form(request))
    headers = {"ussd-return": back_to} if back_to else {}
    return Response(said, media_type="text/plain; charset=utf-8", headers=headers)


async def _form(request: Request) -> dict[str, str]:
    """The fields of the body, or of the address where it is a GET."""
    query = str(request.url.query)
    written = query if request.method == "GET" else (await whole_body(request, LARGEST_FORM)).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(written, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise EventError(f"there are more than {MOST_FIELDS} fields") from None


def _nothing() -> Response:
    return problem(404, "Not Found")
