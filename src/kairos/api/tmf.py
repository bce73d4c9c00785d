"""What TM Forum's Open APIs share (TMF630, REST API design guidelines): bodies, errors, `fields=`, filters, pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from kairos.api.body import whole_body

B = TypeVar("B")
PATH: Final = "/tmf-api/"
TMF680: Final = f"{PATH}recommendationManagement/v4"
TMF681: Final = f"{PATH}communicationManagement/v4"
JSON: Final = "application/json;charset=utf-8"
ALWAYS: Final = ("id", "href")  # are in every answer, whatever `fields` asks for
LONGEST_PAGE: Final = 1000
PAGE: Final = 100  # resources of a list where no `limit` is named


class TmfError(Exception):
    """What is told instead of an answer. `reason` can be shown to a user, `message` says what to do."""

    def __init__(self, status: int, reason: str, message: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.message = status, reason, message


class Page(Struct, frozen=True):
    """What a list is to hold: every filter holds, one of its values being the attribute's."""

    filters: Mapping[str, Collection[str]] = {}
    fields: Sequence[str] = ()
    offset: int = 0
    limit: int = PAGE


def tmf_error(status: int, reason: str, message: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """A response with TM Forum's Error object; its code is the status' own word.

    >>> tmf_error(404, "there is no `7`").body
    b'{"@type":"Error","code":"notFound","reason":"there is no `7`","status":"404"}'
    """
    first, *rest = HTTPStatus(status).phrase.split()
    error = {"@type": "Error", "code": first.lower() + "".join(rest), "reason": reason, "status": str(status)}
    return Response(msgspec.json.encode(error | ({"message": message} if message else {})), status, headers, JSON)


def tmf_json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, JSON)


async def read_body(request: Request, kind: type[B], limit: int, hint: str = "") -> tuple[dict[str, Any], B]:
    """The body as it was sent, and as it is understood; `limit` in bytes. Raises TmfError, TooLargeError."""
    try:
        sent = msgspec.json.decode(await whole_body(request, limit), type=dict[str, Any])
        return sent, msgspec.convert(sent, kind, str_keys=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TmfError(400, f"the body cannot be read: {error}", hint) from None


def read_page(query: Iterable[tuple[str, str]], known: Collection[str]) -> Page:
    """The query of a list; `known`: the attributes of its resources. Raises TmfError.

    Values may stand in literal quotes, as the conformance kits send them; several are parted by commas.

    >>> read_page([("state", '"done"'), ("relatedParty.id", "a,b"), ("limit", "5")], ["state", "relatedParty"])
    Page(filters={'state': ['done'], 'relatedParty.id': ['a', 'b']}, fields=(), offset=0, limit=5)
    """
    filters: dict[str, Collection[str]] = {}
    fields: Sequence[str] = ()
    whole = {"offset": 0, "limit": PAGE}
    for name, value in query:
        if name in whole:
            whole[name] = _whole(name, value)
        elif name == "fields":
            fields = read_fields(value, known)
        else:
            _check(name.partition(".")[0], "attribute to filter by", known)
            filters[name] = _values(value)
    return Page(filters, fields, whole["offset"], min(whole["limit"], LONGEST_PAGE))


def read_fields(value: str, known: Collection[str]) -> Sequence[str]:
    """The attributes that `fields=` names; `none` is none but those that are always there. Raises TmfError."""
    names = [name for written in value.split(",") if (name := written.strip())]
    if names == ["none"]:
        return ALWAYS
    for name in names:
        _check(name.partition(".")[0], "attribute for `fields`", known)
    return [name.partition(".")[0] for name in names]


def selected(resource: Mapping[str, Any], fields: Sequence[str]) -> Mapping[str, Any]:
    """Those attributes of a resource that were asked for; all where none was named."""
    wanted = {*fields, *ALWAYS}
    return {name: value for name, value in resource.items() if name in wanted} if fields else resource


def matches(resource: Mapping[str, Any], filters: Mapping[str, Collection[str]]) -> bool:
    """Whether every filter holds: of a list, one of its elements is enough.

    >>> matches({"channel": [{"id": "care"}, {"id": "app"}]}, {"channel.id": ["app"]})
    True
    >>> matches({"instantSyncRecommendation": True}, {"instantSyncRecommendation": ["false"]})
    False
    """
    return all(any(found in values for found in _found(resource, name.split("."))) for name, values in filters.items())


def _found(value: Any, path: Sequence[str]) -> Iterable[str]:
    if isinstance(value, list):
        for one in value:
            yield from _found(one, path)
    elif path:
        if isinstance(value, Mapping) and path[0] in value:
            yield from _found(value[path[0]], path[1:])
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str | int | float):
        yield str(value)


def _values(value: str) -> list[str]:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return [value[1:-1]]
    return value.split(",")


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 9):
        raise TmfError(400, f"`{name}` is not a whole number from 0", f"write it as in `{name}=20`")
    return int(value)


def _check(name: str, what: str, known: Collection[str]) -> None:
    if name not in known:
        raise TmfError(400, f"`{name[:60]}` is no {what}", f"known: {', '.join(f'`{one}`' for one in known)}")
