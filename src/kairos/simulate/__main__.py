"""python -m kairos.simulate: a synthetic operator as a process of its own, for demos and tests.

One JSON object a line, each with its `type`. First `ports`, when the SMSC and the order door listen. Then it needs
kairos: from `--kairos-smpp` and `--kairos-http`, else from a line on standard input:

    {"kairos_smpp": "127.0.0.1:2775", "kairos_http": "http://127.0.0.1:8080"}

Where the HTTP door has a lock, the line has a `kairos_key`, too, or the environment KAIROS_KEY.
(Another such line later moves it to another kairos; the end of standard input ends it.) Then `stats` every while,
and at the end `final`, with every figure of its own ledgers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from kairos.simulate.operator import Operator, OperatorSettings
from kairos.simulate.starter import Address, tell

DRAIN = 2.5  # seconds of `--for` in which nothing new begins


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `--for 0` runs until standard input ends or a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m kairos.simulate", description="A synthetic mobile operator.")
    parser.add_argument("--kairos-smpp", default="", metavar="HOST:PORT", help="else a line on standard input says it")
    parser.add_argument("--kairos-http", default="", metavar="URL")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--smsc-port", type=int, default=0, help="0: a free one")
    parser.add_argument("--ocs-port", type=int, default=0, help="0: a free one")
    parser.add_argument("--ussd-port", type=int, default=0, help="0: a free one")
    parser.add_argument("--ocs-faults", type=float, default=0.0, help="share of the OCS's calls that go wrong, 0 to 1")
    parser.add_argument("--others", type=float, default=0.0, help="messages a second of a content partner")
    parser.add_argument("--subscribers", type=int, default=400)
    parser.add_argument("--rate", type=float, default=60.0, help="chargeable events a second")
    parser.add_argument("--for", dest="seconds", type=float, default=20.0, help="seconds; 0: until told to stop")
    parser.add_argument("--sources", default="", help="other systems that post JSON of their own: dpi,vas")
    parser.add_argument("--drain", type=float, default=10.0, help="seconds at most to wait for what is under way")
    parser.add_argument("--bind-within", type=float, default=60.0, help="seconds at most to wait for kairos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json-every", type=float, default=0.5, help="seconds between stats lines; 0: none")
    parser.add_argument("--no-history", action="store_true", help="kairos knows the subscribers already")
    parser.add_argument("--parted", action="store_true", help="long notifications in several parts")
    return parser.parse_args(given)


class Run:
    """One run: the operator, who started it, and the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._operator = Operator(
            OperatorSettings(
                subscribers=options.subscribers,
                rate=options.rate,
                seed=options.seed,
                host=options.host,
                smsc_port=options.smsc_port,
                ocs_port=options.ocs_port,
                parted=options.parted,
                ocs_faults=options.ocs_faults,
                ussd_port=options.ussd_port,
                sources=tuple(filter(None, options.sources.split(","))),
                others=options.others,
            )
        )
        self._connected = asyncio.Event()
        self._ended = asyncio.Event()
        self._began = 0.0

    async def go(self) -> int:
        """The whole run; the exit status: 0, or 1 where kairos was not to be had."""
        operator = self._operator
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._ended.set)
        await operator.start()
        tell("ports", **operator.ports)
        try:
            if await self._find_kairos():
                await self._live()
                return 0
            return 1
        finally:
            await operator.stop()

    async def _find_kairos(self) -> bool:
        options = self._options
        if options.kairos_smpp:
            await self._connect(Address(options.kairos_smpp, options.kairos_http, os.environ.get("KAIROS_KEY", "")))
        else:
            self._listen_to_starter()
        try:
            async with asyncio.timeout(options.bind_within):
                await self._or_end(self._until_bound())
        except TimeoutError:
            tell("error", message=f"kairos was not bound within {options.bind_within:g} s")
            return False
        return not self._ended.is_set()

    async def _until_bound(self) -> None:
        await self._connected.wait()
        await self._operator.bound()

    async def _live(self) -> None:
        operator, options = self._operator, self._options
        if not options.no_history:
            await self._or_end(operator.load_history())
        self._began = time.perf_counter()
        reporter = asyncio.create_task(self._report())
        await self._or_end(operator.run(max(options.seconds - DRAIN, options.seconds / 2) or float("inf")))
        settled = await operator.drain(options.drain)
        reporter.cancel()
        await asyncio.gather(reporter, return_exceptions=True)
        tell("final", settled=settled, **self._values(final=True))

    async def _or_end(self, work: Coroutine[Any, Any, Any]) -> None:
        """Work until it is done or the end comes; what the work raises is raised."""
        task = asyncio.ensure_future(work)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            if not task.done():
                task.cancel()
            await asyncio.gather(task, ended, return_exceptions=True)
        if not task.cancelled():
            task.result()

    async def _report(self) -> None:
        every: float = self._options.json_every
        pause = every
        while every > 0:
            await asyncio.sleep(pause)
            began = time.perf_counter()
            tell("stats", **self._values(final=False))
            pause = max(every, 50 * (time.perf_counter() - began))  # long ledgers must not slow the traffic

    def _values(self, *, final: bool) -> dict[str, Any]:
        operator = self._operator
        figures: dict[str, Any] = msgspec.to_builtins(operator.figures(final=final))
        return figures | {
            "seconds": round(time.perf_counter() - self._began, 2),
            "bound": operator.smsc.bound and operator.charging.is_bound,
            "recent": list(operator.recent),
            "complaints": [complaint for feed in operator.feeds for complaint in feed.complaints],
        }

    # --- who started us -------------------------------------------------------------------------

    def _listen_to_starter(self) -> None:
        loop = asyncio.get_running_loop()

        def listen() -> None:  # a thread: standard input may be a file, which the event loop cannot watch
            for line in sys.stdin:
                asyncio.run_coroutine_threadsafe(self._told(line), loop)
            with contextlib.suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(self._ended.set)

        threading.Thread(target=listen, daemon=True, name="starter").start()

    async def _told(self, line: str) -> None:
        if not line.strip():
            return
        try:
            address = msgspec.json.decode(line, type=Address)
            await self._connect(address)
        except (msgspec.MsgspecError, ValueError) as fault:
            tell("error", message=f"{fault}; expected " + '{"kairos_smpp": "HOST:PORT", "kairos_http": "URL"}')

    async def _connect(self, address: Address) -> None:
        await self._operator.connect(address.smpp, address.kairos_http, address.kairos_key, address.partner_key)
        self._connected.set()


def main(given: Sequence[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    return asyncio.run(_go(arguments(given)))


async def _go(options: argparse.Namespace) -> int:
    return await Run(options).go()


if __name__ == "__main__":
    sys.exit(main())
