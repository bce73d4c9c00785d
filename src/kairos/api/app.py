"""The FastAPI application: routes, and nothing that a route's own file could say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.responses import Response

import kairos
from kairos.api.document import document
from kairos.api.events import take_events
from kairos.api.inbound import Inbound, add_inbound
from kairos.api.ingress import Explanations, Ingress
from kairos.api.json_body import json_of
from kairos.api.lock import about, may
from kairos.api.operations import Operations, add_operations
from kairos.api.problem import handle_errors, problem
from kairos.api.purchases import Purchases, add_purchases
from kairos.api.straight import go_straight
from kairos.domain.caller import OPERATOR
from kairos.errors import EventError
from kairos.ingest import read_name
from kairos.ports import Clock

BODY_LIMIT = 1_048_576  # bytes
LARGEST_ID = 2**63 - 1

# The body is read by hand, so the specification says here what FastAPI cannot see.
_EVENTS = {
    "requestBody": {
        "required": True,
        "content": {
            name: {"schema": {"type": type_}}
            for name, type_ in [
                ("application/cloudevents+json", "object"),
                ("application/cloudevents-batch+json", "array"),
                ("application/json", "object"),
            ]
        },
    }
}


def create_app(
    ingress: Ingress,
    explanations: Explanations,
    registry: CollectorRegistry,
    clock: Clock,
    *,
    region: str = "",
    body_limit: int = BODY_LIMIT,
    operations: Operations | None = None,
    purchases: Purchases | None = None,
    inbound: Inbound | None = None,
    more: Iterable[Callable[[FastAPI], None]] = (),
) -> FastAPI:
    """The application.

    `registry` gets the door's own metrics and is what /metrics shows; make one app per registry. `region` (ISO 3166)
    reads national numbers in paths. `body_limit` is in bytes.
    Without `operations` there are no switches. Each of `more` adds the routes of another door.
    """
    # the pages of FastAPI's own documentation would load scripts from elsewhere
    app = FastAPI(title="kairos", version=kairos.__version__, docs_url=None, redoc_url=None)
    handle_errors(app)
    _add_events(app, ingress, registry, clock, body_limit)
    _add_figures(app, ingress, registry, operations or ingress)
    _add_explanations(app, explanations, region)
    if operations:
        add_operations(app, operations)
    if purchases:
        add_purchases(app, purchases)
    if inbound:
        add_inbound(app, inbound)
    for add in more:
        add(app)
    go_straight(app)
    document(app)
    return app


def _add_events(app: FastAPI, ingress: Ingress, registry: CollectorRegistry, clock: Clock, body_limit: int) -> None:
    counted = Counter("kairos_http_events", "Events over HTTP by what became of them", ["status"], registry=registry)
    took = Histogram("kairos_http_events_seconds", "From the whole request to its answer", registry=registry)

    @app.post("/v1/events", openapi_extra=_EVENTS, response_model=None)
    async def events(request: Request) -> Response:
        """Take CloudEvents 1.0 (structured, batch, binary) and answer after the commit, with a result for each."""
        start = time.perf_counter()
        response, results = await take_events(request, ingress, clock, body_limit)
        for result in results:
            counted.labels(result.status).inc()
        took.observe(time.perf_counter() - start)
        return response


def _add_figures(app: FastAPI, ingress: Ingress, registry: CollectorRegistry, knows: Operations | Ingress) -> None:
    """`knows`: who can name all troubles."""

    @app.head("/health", include_in_schema=False, response_model=None)  # as many load balancers ask
    @app.get("/health", response_model=None)
    async def health(request: Request) -> Response:
        """200 when events can be taken, 503 when not; any answer means that the process lives. Operators are told all
        troubles."""
        ready = not ingress.troubles()
        told: dict[str, Any] = {"live": True, "ready": ready}
        if may(request, OPERATOR):
            told["troubles"] = list(knows.troubles())
        return json_of(told, 200 if ready else 503)

    @app.get("/metrics", response_model=None)
    async def metrics() -> Response:
        """Prometheus metrics."""
        await ingress.look()
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/stats", response_model=None)
    async def stats() -> Response:
        """What has happened since the start, for a live view."""
        await ingress.look()
        return json_of(ingress.stats())

    @app.get("/v1/dead-letters", response_model=None)
    async def dead_letters(kind: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        """What could not be handled, the newest first; `kairos dead-letters` has it replayed."""
        return json_of({"dead_letters": await ingress.dead_letters(kind, limit)})


def _add_explanations(app: FastAPI, explanations: Explanations, region: str) -> None:
    @app.get("/v1/decisions/{decision}", response_model=None)
    async def decision(decision: Annotated[int, Path(ge=1, le=LARGEST_ID)], request: Request) -> Response:
        """Why one decision fell as it did."""
        about(request, "", str(decision))
        found = await explanations.decision(decision)
        return json_of(found) if found is not None else problem(404, f"there is no decision `{decision}`")

    @app.get("/v1/subscribers/{msisdn}/decisions", response_model=None)
    async def decisions(msisdn: str) -> Response:
        """The latest decisions about a subscriber, the newest first."""
        try:
            number = read_name(msisdn, region)
        except EventError as error:
            return problem(400, str(error), "msisdn")
        found = await explanations.subscriber(number)
        return json_of({"decisions": found}) if found is not None else problem(404, f"nobody is known by `{number}`")
