"""What the OpenAPI document says of answers, and of bodies that are read by hand: FastAPI sees neither.

The shapes are here alone, as what callers may count on; tests hold the running server to them.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from fastapi import FastAPI
from msgspec import Struct, field

from kairos.api.calls import Brought
from kairos.api.communications import MESSAGE
from kairos.api.events import Results
from kairos.api.hubs import Listening
from kairos.api.operations import Trial, Turn
from kairos.api.problem import PROBLEM
from kairos.api.purchases import Said as Reversed
from kairos.api.recommendations import ATTRIBUTES, QUERY, Wanted
from kairos.api.roles import describe
from kairos.api.tmf import PATH, TMF680, TMF681

Row = dict[str, Any]


class Problem(Struct):
    """RFC 9457. `field` names what is wrong in the sender's own words."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    field: str = ""


class Error(Struct):
    """TM Forum's, of everything under /tmf-api/."""

    code: str
    reason: str
    status: str
    message: str = ""
    type: str = field(default="Error", name="@type")


class Health(Struct):
    live: bool
    ready: bool
    troubles: list[str] = []


class Stats(Struct):
    counts: dict[str, float]
    refusals: dict[str, float]
    gauges: dict[str, float | bool]
    budgets: dict[str, dict[str, int]]


class Letters(Struct):
    dead_letters: list[Row]


class Explained(Struct):
    """One decision, with every offer's verdict."""

    decision: int
    subscriber: int
    kind: str
    happened: int
    decided: int
    revision: str
    model: str
    said: str
    channel: str
    verdicts: list[Row]
    known: Row
    shown: dict[str, str]
    responses: list[Row]
    purchases: list[Row]


class Decisions(Struct):
    decisions: list[Explained]


class Offer(Struct):
    """As it is told to whoever asks: money is exact decimal text, times are ms."""

    offer: str
    status: str
    action: str
    variant: str
    kind: str
    title: str
    text: str
    language: str
    price: str
    tax: str
    currency: str
    shown_price: str
    charges: bool
    validity: str
    lasts: int
    number: int
    reply_to: str
    made: int
    until: int
    channel: str
    confirm_twice: bool
    redeemed_by: str
    decision: int


class Told(Struct):
    id: str
    channel: str
    decision: int
    because: str
    offers: list[Offer]


class Stands(Struct):
    id: str
    status: str
    because: str
    offer: Offer


class Subscriber(Struct):
    """All about one, for one screen."""

    subscriber: int
    msisdn: str
    known_as: Row
    held: list[Row]
    since: int
    profile: dict[str, Row]
    balances: list[Row]
    counters: dict[str, Row]
    offers: list[Row]
    pauses: list[Row]
    rests: list[Row]
    consents: list[Row]
    contacts: list[Row]
    answers: list[Row]
    decisions: list[Row]
    products: list[Row]
    purchases: list[Row]


class Exported(Struct):
    """All that is stored of one person."""

    subscriber: int
    exported: int
    identities: list[Row]
    profile: dict[str, Row]
    state: Row
    account: Row | None
    decisions: list[Row]
    responses: list[Row]
    messages: list[Row]
    timers: list[Row]
    purchases: list[Row]
    dead_letters: list[Row]
    recommendations: list[Row]
    erasures: list[Row]


class Forgotten(Struct):
    status: str
    at: int
    no_is_kept: bool


class Erasure(Struct):
    subscriber: int
    at: int
    reason: str
    done: int


class Erasures(Struct):
    erasures: list[Erasure]


class SwitchStands(Struct):
    name: str
    on: bool
    reason: str
    who: str
    at: int


class Switches(Struct):
    switches: list[SwitchStands]
    history: list[SwitchStands]


class Status(Struct):
    well: bool
    troubles: list[str]
    version: str
    now: int
    started: int
    playbook: Row
    queues: Row
    store: Row
    switches: Row
    counts: dict[str, int]


class Bought(Struct):
    key: str
    offer: str
    status: str
    price: int
    currency: str
    made: int
    steps: list[Row]
    proof: list[Row]


class WentBack(Struct):
    key: str
    status: str


class Waiting(Struct):
    waiting: int


class Claimed(Struct):
    calls: list[Row]


class Settled(Struct):
    id: str
    offer: str
    status: str
    because: str
    noted: bool


class QueryProductRecommendation(Struct, rename="camel"):
    """TMF680: the published Swagger has all of it. With `fields`, only what was asked for."""

    id: str
    href: str
    state: str = ""
    lifecycle_status: str = ""
    last_update: str = ""
    related_party: Row = {}
    valid_for: Row = {}
    recommendation_item: list[Row] = []


class EventSubscription(Struct):
    id: str
    callback: str
    query: str = ""


class Answer(NamedTuple):
    """What a route answers when all is well; `kind` None: nothing."""

    kind: Any
    status: int = 200
    media: str = "application/json"


ANSWERS: Final[dict[tuple[str, str], Answer]] = {
    ("GET", "/health"): Answer(Health),
    ("GET", "/metrics"): Answer(str, media="text/plain"),
    ("POST", "/v1/events"): Answer(Results),
    ("POST", "/v1/decisions"): Answer(Told),
    ("POST", "/v1/responses"): Answer(Stands),
    ("GET", "/v1/subscribers/{name}"): Answer(Subscriber),
    ("GET", "/v1/subscribers/{name}/export"): Answer(Exported),
    ("DELETE", "/v1/subscribers/{name}"): Answer(Forgotten),
    ("GET", "/v1/erasures"): Answer(Erasures),
    ("GET", "/v1/subscribers/{msisdn}/decisions"): Answer(Decisions),
    ("GET", "/v1/decisions/{decision}"): Answer(Explained),
    ("GET", "/v1/purchases/{key}"): Answer(Bought),
    ("POST", "/v1/reversals"): Answer(WentBack),
    ("GET", "/v1/stats"): Answer(Stats),
    ("GET", "/v1/status"): Answer(Status),
    ("GET", "/v1/dead-letters"): Answer(Letters),
    ("POST", "/v1/trials"): Answer(Explained),
    ("GET", "/v1/switches"): Answer(Switches),
    ("GET", "/v1/switches/{name}"): Answer(SwitchStands),
    ("PUT", "/v1/switches/{name}"): Answer(SwitchStands),
    ("POST", "/v1/sources/{source}"): Answer(Row),
    ("POST", "/v1/sources/{source}/{secret}"): Answer(Row),
    ("GET", "/v1/calls"): Answer(Waiting),
    ("POST", "/v1/calls"): Answer(Claimed),
    ("POST", "/v1/calls/{offer}"): Answer(Settled),
    ("GET", "/v1/ivr/{secret}/{offer}"): Answer(str, media="application/voicexml+xml"),
    ("POST", "/v1/ivr/{secret}"): Answer(Row),  # of a form: VoiceXML
    ("GET", "/v1/ussd/{secret}/callback"): Answer(str, media="text/plain"),
    ("POST", "/v1/ussd/{secret}/callback"): Answer(str, media="text/plain"),
    ("POST", "/v1/ussd/{secret}/interrupted"): Answer(None, 204),
    ("POST", "/v1/ussd/{secret}/dialog"): Answer(str, media="text/xml"),
    ("POST", QUERY): Answer(QueryProductRecommendation, 201),
    ("GET", QUERY): Answer(list[QueryProductRecommendation]),
    ("GET", f"{QUERY}/{{key}}"): Answer(QueryProductRecommendation),
    ("POST", f"{TMF680}/hub"): Answer(EventSubscription, 201),
    ("POST", MESSAGE): Answer(Row, 201),
    ("GET", MESSAGE): Answer(list[Row]),
    ("GET", f"{MESSAGE}/{{id_}}"): Answer(Row),
    ("PATCH", f"{MESSAGE}/{{id_}}"): Answer(Row),
    ("DELETE", f"{MESSAGE}/{{id_}}"): Answer(None, 204),
    ("POST", f"{TMF681}/hub"): Answer(EventSubscription, 201),
    ("DELETE", f"{TMF681}/hub/{{id_}}"): Answer(None, 204),
    ("DELETE", f"{TMF680}/hub/{{id_}}"): Answer(None, 204),
}
BODIES: Final[dict[tuple[str, str], Any]] = {
    ("POST", "/v1/reversals"): Reversed,
    ("POST", "/v1/trials"): Trial,
    ("POST", "/v1/calls/{offer}"): Brought,
    ("PUT", "/v1/switches/{name}"): Turn,
    ("POST", QUERY): Wanted,
    ("POST", f"{TMF680}/hub"): Listening,
    ("POST", f"{TMF681}/hub"): Listening,
}

UNWELL: Final = {"/health": "503"}  # and tells the same


def document(app: FastAPI) -> None:
    """Let the OpenAPI document say it."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        found = plain()
        kinds = [answer.kind for answer in ANSWERS.values() if answer.kind]
        several = [*kinds, *BODIES.values(), Problem, Error]
        schemas, components = msgspec.json.schema_components(several, ref_template="#/components/schemas/{name}")
        of_kind = {repr(kind): schema for kind, schema in zip(several, schemas, strict=True)}
        found.setdefault("components", {})["schemas"] = components
        for path, methods in found["paths"].items():
            wrong = _content("application/json", of_kind[repr(Error)])
            if not path.startswith(PATH):
                wrong = _content(PROBLEM, of_kind[repr(Problem)])
            for method, operation in methods.items():
                _answers(operation, (method.upper(), path), of_kind, wrong)
        _queries(found["paths"].get(QUERY, {}).get("get"), paged=True)
        _queries(found["paths"].get(f"{QUERY}/{{key}}", {}).get("get"), paged=False)
        describe(found)
        return found

    app.openapi = openapi  # type: ignore[method-assign]


def _answers(operation: Row, route: tuple[str, str], of_kind: Row, wrong: Row) -> None:
    """What is answered when all is well, and whatever else is; and what is sent."""
    answer, body = ANSWERS.get(route), BODIES.get(route)
    if body:
        sent = _content("application/json", of_kind[repr(body)])
        operation["requestBody"] = {"required": True, **sent}
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {"description": "What is wrong, and what to do", **wrong}
    if answer:
        good = _content(answer.media, of_kind[repr(answer.kind)]) if answer.kind else {}
        said = {"description": operation.get("description", ""), **good}
        operation["responses"] = {str(answer.status): said, "default": operation["responses"]["default"]}
        if unwell := UNWELL.get(route[1]):
            operation["responses"][unwell] = said


def _queries(operation: Row | None, *, paged: bool) -> None:
    """What a list of TM Forum's takes; every attribute is a filter, too."""
    if operation is None:
        return
    fields = {
        "name": "fields",
        "in": "query",
        "schema": {"type": "string"},
        "description": f"of: {', '.join(ATTRIBUTES)}",
    }
    whole = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
    pages = [{"name": name, "in": "query", "schema": whole} for name in ("offset", "limit")]
    operation.setdefault("parameters", []).extend([fields, *(pages if paged else ())])


def _content(media: str, schema: Any) -> Row:
    return {"content": {media: {"schema": schema}}}
