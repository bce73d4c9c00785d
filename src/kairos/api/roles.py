"""Which role may do what: the one table that the lock of the HTTP door goes by.

A route without a row is an error when the door opens, so nothing is open because somebody forgot it. See
docs/security.md.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from starlette.routing import BaseRoute, Route

from kairos.api.tmf import TMF680, TMF681
from kairos.domain.caller import ADMIN

OPEN: Final = ""  # no lock of ours: it tells nothing, or the route itself knows its callers (a secret, a signature)

# What the audit trail keeps of a call: nothing; how many there were in a minute, of each outcome; a line; or a line
# that is on the disk before the call is answered.
Kept = Literal["", "counted", "line", "first"]


class Row(NamedTuple):
    """Who may call (roles with blanks between them; any of them is enough, and `admin` always is), and what is kept."""

    roles: str
    kept: Kept = ""
    about: str = ""  # the parameter of the path that names a subscriber; routes whose body does say `about()`


TABLE: Final[dict[tuple[str, str], Row]] = {
    ("GET", "/health"): Row(OPEN),
    ("GET", "/openapi.json"): Row(OPEN),
    ("GET", "/metrics"): Row("operator"),
    ("POST", "/v1/events"): Row("ingest", "counted"),
    ("POST", "/v1/sources/{source}"): Row("ingest", "counted"),
    ("POST", "/v1/sources/{source}/{secret}"): Row(OPEN, "counted"),  # the source's secret is in the path
    ("POST", "/v1/decisions"): Row("decide care", "line"),
    ("POST", "/v1/responses"): Row("decide care", "line"),
    ("GET", "/v1/subscribers/{name}"): Row("care", "line", "name"),
    ("GET", "/v1/subscribers/{msisdn}/decisions"): Row("care", "line", "msisdn"),
    ("GET", "/v1/subscribers/{name}/export"): Row("operator", "first", "name"),
    ("DELETE", "/v1/subscribers/{name}"): Row("operator", "first", "name"),
    ("GET", "/v1/erasures"): Row("operator care"),
    ("GET", "/v1/decisions/{decision}"): Row("care marketer", "line"),
    ("GET", "/v1/purchases/{key}"): Row("care", "line"),
    ("POST", "/v1/reversals"): Row("operator", "first"),
    ("GET", "/v1/stats"): Row("operator marketer"),
    ("GET", "/v1/status"): Row("operator"),
    ("GET", "/v1/dead-letters"): Row("operator", "line"),
    ("POST", "/v1/trials"): Row("marketer operator", "first"),
    ("GET", "/v1/switches"): Row("operator marketer"),
    ("GET", "/v1/switches/{name}"): Row("operator marketer"),
    ("PUT", "/v1/switches/{name}"): Row("operator", "first"),
    ("GET", "/v1/calls"): Row("care", "line"),
    ("POST", "/v1/calls"): Row("care", "line"),
    ("POST", "/v1/calls/{offer}"): Row("care", "line"),
    ("POST", f"{TMF680}/queryProductRecommendation"): Row("decide care", "line"),
    ("GET", f"{TMF680}/queryProductRecommendation"): Row("decide care", "line"),
    ("GET", f"{TMF680}/queryProductRecommendation/{{key}}"): Row("decide care", "line"),
    ("POST", f"{TMF681}/communicationMessage"): Row("send", "line"),
    ("GET", f"{TMF681}/communicationMessage"): Row("send", "line"),
    ("GET", f"{TMF681}/communicationMessage/{{id_}}"): Row("send", "line"),
    ("PATCH", f"{TMF681}/communicationMessage/{{id_}}"): Row("send", "line"),
    ("DELETE", f"{TMF681}/communicationMessage/{{id_}}"): Row("send", "line"),
    ("POST", f"{TMF681}/hub"): Row("send", "first"),
    ("DELETE", f"{TMF681}/hub/{{id_}}"): Row("send", "first"),
    ("POST", f"{TMF680}/hub"): Row("operator", "first"),
    ("DELETE", f"{TMF680}/hub/{{id_}}"): Row("operator", "first"),
    # a dialler that knows the secret in the path
    ("GET", "/v1/ivr/{secret}/{offer}"): Row(OPEN),
    ("POST", "/v1/ivr/{secret}"): Row(OPEN, "counted"),
    # a USSD gateway that knows the secret in the path
    ("GET", "/v1/ussd/{secret}/callback"): Row(OPEN, "counted"),
    ("POST", "/v1/ussd/{secret}/callback"): Row(OPEN, "counted"),
    ("POST", "/v1/ussd/{secret}/interrupted"): Row(OPEN, "counted"),
    ("POST", "/v1/ussd/{secret}/dialog"): Row(OPEN, "counted"),
    # links that we have signed
    ("GET", "/o/{token}"): Row(OPEN),
    ("POST", "/o/{token}"): Row(OPEN, "counted"),
    ("GET", "/u/{token}"): Row(OPEN),
    ("POST", "/u/{token}"): Row(OPEN, "counted"),
}

ALWAYS: Final = frozenset({ADMIN})


class Gate(NamedTuple):
    """A row as the lock needs it."""

    method: str
    template: str
    row: Row
    roles: frozenset[str]  # empty: open


def gates(routes: list[BaseRoute]) -> list[tuple[Route, dict[str, Gate]]]:
    """Each route with a gate for each of its methods, in the order in which the router tries them.

    Raises LookupError, naming it, for a route without a row or of a kind that cannot be locked.
    """
    found = []
    for route in routes:
        if not isinstance(route, Route) or not route.methods:
            raise LookupError(f"`{getattr(route, 'path', route)}` cannot be locked: only routes with methods can")
        of_methods = {}
        for method in sorted(route.methods):
            # what may be read may be asked for without its body
            row = TABLE.get((method, route.path)) or (TABLE.get(("GET", route.path)) if method == "HEAD" else None)
            if row is None:
                raise LookupError(f"{method} {route.path} has no row in the table of roles (api/roles.py)")
            roles = ALWAYS.union(row.roles.split()) if row.roles else frozenset()
            of_methods[method] = Gate(method, route.path, row, frozenset(roles))
        found.append((route, of_methods))
    return found


def describe(document: dict[str, Any]) -> None:
    """Say in the OpenAPI document which locks there are, and which role opens each route."""
    document["components"]["securitySchemes"] = SCHEMES
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            row = TABLE.get((method.upper(), path))
            if row is None or not row.roles:
                operation["security"] = []
                continue
            operation["security"] = [{name: []} for name in SCHEMES]
            operation["x-roles"] = row.roles.split()
            operation["responses"].update(REFUSALS)


_PROBLEM = {"application/problem+json": {"schema": {"type": "object"}}}
REFUSALS: Final = {
    "401": {"description": "No key or token that is known", "content": _PROBLEM},
    "403": {"description": "Another role is needed", "content": _PROBLEM},
    "429": {"description": "More than the client's rate; `retry-after` says when", "content": _PROBLEM},
}
SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A client's key, or a token of the OIDC issuer"},
    "basic": {"type": "http", "scheme": "basic", "description": "Any name, and a client's key as the password"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A client's key"},
}
