"""The charging system's door on HTTP, and what can be made to go wrong there.

POST /v1/orders                  one call does all; `Idempotency-Key` names the purchase
POST /v1/orders/STEP             reserve, charge, provision, confirm, release, refund, deprovision: each has its key
GET  /v1/orders/KEY, /v1/orders/STEP/KEY    what became of it; 404 where it never arrived
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from kairos.simulate.ocs import STEPS, Call, Ocs, Order, OrderRequest

FAULTS: Mapping[str, str] = {
    "error": "nothing is done, and 500 is the answer",
    "ignored": "nothing is done, and the connection is cut",
    "late": "it is done, and answered when nobody waits any more",
    "lost": "it is done, and the connection is cut",
    "error_after": "it is done, and 500 is the answer",
    "twice": "it is done, and answered twice on one connection",
    "pending": "it is done, and 202 says that it is not yet",
}

Hook = Callable[[str, str], Awaitable[None]]


@dataclass
class Faults:
    """What goes wrong: `coming` for the next calls of a step (`order`, `charge`, ...), one each; else a `share` of all.

    `when` is called with the step and `before` or `after` it was carried out: a crash test kills kairos there.
    `happened` counts what went wrong, by step and fault.

    >>> faults = Faults()
    >>> faults.coming["charge"] += ["lost", "late"]
    >>> faults.take("charge"), faults.take("charge"), faults.take("charge")
    ('lost', 'late', '')
    """

    coming: defaultdict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    share: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    late: float = 2.0  # seconds
    when: Hook | None = None
    happened: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, step: str) -> str:
        """The fault of this call; empty for none."""
        fault = ""
        if self.coming[step]:
            fault = self.coming[step].popleft()
        elif self.share and self.chance.random() < self.share:
            fault = self.chance.choice(list(FAULTS))
        if fault:
            self.happened[step, fault] += 1
        return fault


class OrderDoor:
    """Orders and steps of an Ocs, on HTTP. `port` 0 takes a free one. `more`: what else is asked for at it."""

    def __init__(
        self,
        ocs: Ocs,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Faults | None = None,
        more: Sequence[Route] = (),
    ) -> None:
        self._ocs = ocs
        self.faults = faults or Faults()
        self._socket = socket.create_server((host, port), backlog=512)
        self.port = int(self._socket.getsockname()[1])
        routes = [
            Route("/v1/orders", self._orders, methods=["POST"]),
            Route("/v1/orders/{step}", self._step, methods=["POST"]),
            Route("/v1/orders/{key}", self._ordered, methods=["GET"]),
            Route("/v1/orders/{step}/{key}", self._stepped, methods=["GET"]),
            *more,
        ]
        self._server = _Server(
            uvicorn.Config(
                Starlette(routes=routes), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 (uvicorn announces it no other way)
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()

    async def _orders(self, request: Request) -> Response:
        return await self._take(request, "order", self._ocs.order)

    async def _step(self, request: Request) -> Response:
        step = request.path_params["step"]
        if step not in STEPS:
            return _answer(404, {"reason": "unknown_step"})
        return await self._take(request, step, lambda key, body: self._ocs.call(step, key, body))

    async def _take(self, request: Request, step: str, act: Callable[[str, OrderRequest], Order | Call]) -> Response:
        """Carry out one call, with whatever is to go wrong."""
        if self._ocs.out_of_service:
            return _answer(503, {"reason": "out_of_service"})
        key = request.headers.get("idempotency-key", "")
        if not key:
            return _answer(400, {"reason": "idempotency_key_missing"})
        try:
            body = msgspec.json.decode(await request.body(), type=OrderRequest)
        except ClientDisconnect:  # whoever asked has died: nothing was read, nothing is done
            return _answer(400, {"reason": "no_request"})
        except msgspec.MsgspecError as wrong:
            return _answer(422, {"reason": "bad_request", "detail": str(wrong)})
        fault = self.faults.take(step)
        if fault in ("error", "ignored"):
            return _answer(500, {"reason": "broken"}) if fault == "error" else _cut(request)
        await self._tell(step, "before")
        made = act(key, body)
        await self._tell(step, "after")
        if fault == "late":
            await asyncio.sleep(self.faults.late)
        if fault in ("error_after", "pending"):
            return _answer(500, {}) if fault == "error_after" else _answer(202, {"status": "pending"})
        if fault == "lost":
            return _cut(request)
        answer = _found(made.status, made.reason, key)
        if fault == "twice":
            _write(request, answer)
        return answer

    async def _tell(self, step: str, when: str) -> None:
        if self.faults.when:
            await self.faults.when(step, when)

    async def _ordered(self, request: Request) -> Response:
        key = request.path_params["key"]
        return self._known(self._ocs.orders.get(key), key)

    async def _stepped(self, request: Request) -> Response:
        key = request.path_params["key"]
        return self._known(self._ocs.calls.get(key), key)

    def _known(self, found: Order | Call | None, key: str) -> Response:
        if self._ocs.out_of_service:
            return _answer(503, {"reason": "out_of_service"})
        if found is None:
            return _answer(404, {"reason": "unknown_key"}, key)
        refused = {"status": "refused", "reason": found.reason}
        return _answer(200, {"status": "done"} if found.status < 300 else refused, key)


def _found(status: int, reason: str, key: str) -> Response:
    return _answer(status, {"status": "done"} if status < 300 else {"reason": reason}, key)


def _answer(status: int, body: Mapping[str, str], key: str = "") -> Response:
    """It names the call that it answers."""
    headers = {"Idempotency-Key": key} if key else {}
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def _cut(request: Request) -> Response:
    """Close the connection under the request: whatever is answered then comes nowhere."""
    _transport(request).abort()
    return _answer(500, {})


def _write(request: Request, answer: Response) -> None:
    """Send an answer past the server, which knows nothing of it."""
    head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
    _transport(request).write(b"HTTP/1.1 %d OK\r\n%s\r\n%s" % (answer.status_code, head, bytes(answer.body)))


def _transport(request: Request) -> Any:
    """The connection that a request came on."""
    cycle: Any = getattr(request.receive, "__self__", None)
    return cycle.transport


class _Server(uvicorn.Server):
    """Leaves signals to the process that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
