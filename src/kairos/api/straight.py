"""The way past the framework for requests that come by the hundred a second.

FastAPI's layers (routing, telemetry, dependencies, body limits of its own) take longer than a handler. These routes
read the request by hand and need none of them; the OpenAPI document has them all the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

STRAIGHT: Final = {("POST", "/v1/events"), ("POST", "/v1/decisions"), ("POST", "/v1/responses")}

Endpoint = Callable[[Request], Awaitable[Response]]


class Straight:
    """ASGI middleware: calls the endpoints by method and path, and leaves everything else to the application.

    What they raise is answered by the application's `handlers`, as everywhere; what none is for is raised on.
    """

    def __init__(self, app: ASGIApp, endpoints: dict[tuple[str, str], Endpoint], handlers: Mapping[Any, Any]) -> None:
        self.app, self.endpoints, self.handlers = app, endpoints, handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await endpoint(request)
        except Exception as error:
            kinds = [kind for kind in type(error).__mro__ if kind in self.handlers and kind is not Exception]
            if not kinds:
                raise
            response = await self.handlers[kinds[0]](request, error)
        await response(scope, receive, send)


def go_straight(app: FastAPI) -> None:
    """Once all routes are there: those of `STRAIGHT` go straight."""
    endpoints = {
        (method, route.path): route.endpoint
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        if (method, route.path) in STRAIGHT
    }
    app.add_middleware(Straight, endpoints=endpoints, handlers=app.exception_handlers)
