"""TMF681 Communication Management v4: other systems send through here, under the one contact policy. docs/gateway.md"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Protocol

import msgspec
from fastapi import FastAPI, Request
from msgspec import Meta, Struct, field
from starlette.responses import Response

from kairos.api.hubs import Listeners, add_hub
from kairos.api.lock import about, client_of
from kairos.api.tmf import TMF681, TmfError, matches, read_body, read_page, selected, tmf_json
from kairos.domain.passage import SENDS, Asked

MESSAGE: Final = f"{TMF681}/communicationMessage"
BODY_LIMIT: Final = 100_000  # bytes
RECEIVERS_AT_MOST: Final = 100
EXAMPLE: Final = (
    'write it as in {"messageType": "SMS", "content": "Your parcel is here.", '
    '"sender": {"phoneNumber": "1234"}, "receiver": [{"phoneNumber": "+12025550123"}]}'
)
OURS: Final = ("id", "href", "state", "lastUpdate", "sendTime", "sendTimeComplete")
ATTRIBUTES: Final = (  # of a communicationMessage: `fields` and filters may name them
    *("id", "href", "content", "description", "logFlag", "messageType", "priority", "scheduledSendTime", "sendTime"),
    *("sendTimeComplete", "subject", "tryTimes", "attachment", "characteristic", "receiver", "sender", "state"),
    *("lastUpdate", "@type", "@baseType", "@schemaLocation"),
)
CHANGEABLE: Final = ("description", "logFlag")

Text = Annotated[str, Meta(max_length=1000)]
Number = Annotated[str, Meta(min_length=1, max_length=32)]


class Party(Struct, frozen=True):
    """A reference to a party of another system's."""

    id: Text
    referred_type: Text | None = field(default=None, name="@referredType")


class Receiver(Struct, frozen=True, rename="camel"):
    """Whom it is for; what is not by SMS is not read."""

    phone_number: Number
    id: Text | None = None
    name: Text | None = None
    party: Party | None = None


class From(Struct, frozen=True, rename="camel"):
    """Who sends it: its sender id is a number, or else `id`, or else `name`."""

    phone_number: Number | None = None
    id: Number | None = None
    name: Number | None = None
    email: Text | None = None
    party: Party | None = None

    @property
    def source(self) -> str:
        return self.phone_number or self.id or self.name or ""


class Characteristic(Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    value: Any


class Wanted(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """CommunicationMessage_Create."""

    content: Annotated[str, Meta(min_length=1, max_length=10_000)]
    receiver: Annotated[list[Receiver], Meta(min_length=1, max_length=RECEIVERS_AT_MOST)]
    sender: From
    message_type: Text
    description: Text | None = None
    log_flag: bool | None = None
    priority: Annotated[str, Meta(pattern="^[0-9]{1,9}$")] | None = None
    scheduled_send_time: datetime | None = None
    send_time: datetime | None = None
    send_time_complete: datetime | None = None
    subject: Text | None = None
    try_times: Annotated[int, Meta(ge=0, le=1000)] = 0
    attachment: list[Any] = []
    characteristic: list[Characteristic] = []
    state: Text | None = None
    id: Text | None = None
    href: Text | None = None
    base_type: Text | None = field(default=None, name="@baseType")
    schema_location: Text | None = field(default=None, name="@schemaLocation")
    type: Text | None = field(default=None, name="@type")

    def asked(self) -> tuple[Asked, str]:
        """In kairos' own words; and the key that it brings for itself. Raises TmfError."""
        if self.message_type.lower() != "sms":
            raise TmfError(400, f"`messageType`: `{self.message_type[:40]}` cannot be sent here", "write `SMS`")
        if self.attachment:
            raise TmfError(400, "`attachment`: an SMS has none", "leave it out")
        if not self.sender.source:
            raise TmfError(400, "`sender` names no sender id", "write it in `sender.phoneNumber`, `id` or `name`")
        more = {one.name: one.value for one in self.characteristic}
        sends = more.get("purpose", "")
        if sends and sends not in SENDS:
            raise TmfError(400, f"`characteristic`: `{str(sends)[:40]}` is no purpose", f"known: {', '.join(SENDS)}")
        asked = Asked(
            self.content,
            self.sender.source,
            tuple(one.phone_number for one in self.receiver),
            sends,
            _ms("scheduledSendTime", self.scheduled_send_time),
            _time("validUntil", more.get("validUntil")),
            max(0, 4 - int(self.priority)) if self.priority else 0,
            self.try_times,
        )
        return asked, str(more.get("externalId", ""))[:200]


class Changed(Struct, frozen=True, rename="camel"):
    """CommunicationMessage_Update, as far as it is ours to read."""

    state: str | None = None
    description: Text | None = None
    log_flag: bool | None = None


class Communications(Protocol):
    """The running kairos, for one client (empty: a door without locks). All raise KairosError where that cannot be."""

    @property
    def hubs(self) -> Listeners: ...

    async def create(self, client: str, key: str, asked: Asked, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """The message as it stands when it is kept. Raises EventError, ForbiddenError."""
        ...

    async def message(self, client: str, id_: str) -> Mapping[str, Any] | None: ...

    async def messages(
        self, client: str, holds: Callable[[dict[str, Any]], bool], offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """A page, the newest first; and whether it goes to the end."""
        ...

    async def change(self, client: str, id_: str, changes: Mapping[str, Any]) -> Mapping[str, Any] | None: ...

    async def cancel(self, client: str, id_: str) -> int | None:
        """To how many it will not go any more."""
        ...

    async def delete(self, client: str, id_: str) -> bool: ...


def add_communications(app: FastAPI, communications: Communications) -> None:
    """The routes."""

    @app.post(MESSAGE, response_model=None, status_code=201)
    async def create(request: Request) -> Response:
        """Send a message to one subscriber or several; with the same `Idempotency-Key` again it is the same one."""
        sent, wanted = await read_body(request, Wanted, BODY_LIMIT, EXAMPLE)
        asked, key = wanted.asked()
        key = request.headers.get("idempotency-key", "")[:200] or key
        document = {name: value for name, value in sent.items() if name not in OURS}
        document.setdefault("@type", "CommunicationMessage")
        about(request, asked.receivers[0] if asked.receivers else "", f"receivers: {len(asked.receivers)}")
        made = await communications.create(client_of(request), key, asked, document)
        return tmf_json(made, 201, {"location": made["href"]})

    @app.get(MESSAGE, response_model=None)
    async def messages(request: Request) -> Response:
        """The client's messages, the newest first: `fields`, `offset`, `limit`, and any attribute as a filter."""
        page = read_page(request.query_params.multi_items(), ATTRIBUTES)
        found, to_the_end = await communications.messages(
            client_of(request), lambda one: matches(one, page.filters), page.offset, page.limit
        )
        counts = {"x-result-count": str(len(found))}
        if to_the_end:
            counts["x-total-count"] = str(page.offset + len(found))
        return tmf_json([selected(one, page.fields) for one in found], 200, counts)

    @app.get(MESSAGE + "/{id_}", response_model=None)
    async def message(id_: str, request: Request) -> Response:
        """One message: how it stands with each receiver."""
        fields = read_page(request.query_params.multi_items(), ATTRIBUTES).fields
        found = await communications.message(client_of(request), id_)
        return tmf_json(selected(_there(found, id_), fields))

    @app.patch(MESSAGE + "/{id_}", response_model=None)
    async def change(id_: str, request: Request) -> Response:
        """Cancel what waits (`state`), or change `description` and `logFlag`; the rest stays as it was sent."""
        sent, wanted = await read_body(request, Changed, BODY_LIMIT)
        client = client_of(request)
        known = _there(await communications.message(client, id_), id_)
        _check_changes(sent, known)
        if (
            wanted.state == "cancelled"
            and known["state"] != "cancelled"
            and not await communications.cancel(client, id_)
        ):
            raise TmfError(409, "nothing of it waits any more", "what is on its way cannot be cancelled")
        changes: dict[str, Any] = {name: sent[name] for name in CHANGEABLE if name in sent}
        found = await (communications.change(client, id_, changes) if changes else communications.message(client, id_))
        return tmf_json(_there(found, id_))

    @app.delete(MESSAGE + "/{id_}", response_model=None, status_code=204)
    async def delete(id_: str, request: Request) -> Response:
        """Cancel what waits, and show the message no more."""
        if not await communications.delete(client_of(request), id_):
            _there(None, id_)
        return Response(None, 204)

    add_hub(app, TMF681, communications.hubs, client_of)


def _there(found: Mapping[str, Any] | None, id_: str) -> Mapping[str, Any]:
    if found is None:
        raise TmfError(404, f"there is no communicationMessage `{id_[:60]}`")
    return found


def _check_changes(sent: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """What was sent stays; what is repeated as it is changes nothing. Raises TmfError."""
    for name, value in sent.items():
        if name not in ATTRIBUTES:
            raise TmfError(400, f"`{name[:60]}` is no attribute of a communicationMessage")
        may = name in CHANGEABLE or (name == "state" and value == "cancelled")
        if not may and known.get(name) != value:
            told = "`state` can become `cancelled`, and nothing else" if name == "state" else "send another message"
            raise TmfError(400, f"`{name}` cannot be changed", told)


def _time(name: str, value: Any) -> int:
    if value is None:
        return 0
    try:
        return _ms(name, msgspec.convert(value, datetime))
    except msgspec.ValidationError:
        raise TmfError(400, f"`{name}` is no time", "write it like `2026-03-04T12:00:00Z`") from None


def _ms(name: str, moment: datetime | None) -> int:
    if moment is None:
        return 0
    if moment.tzinfo is None:
        raise TmfError(400, f"`{name}` names no time zone", "write it like `2026-03-04T12:00:00Z`")
    return max(1, int(moment.astimezone(UTC).timestamp() * 1000))
