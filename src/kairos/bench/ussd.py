"""`kairos bench ussd`: screens over SMPP: how late, and how many a second.

Subscribers as those of `bench.inbound`: all have agreed to marketing, and three in ten have an open offer. Each dials a
menu, which is a look at their language, and then their offers, which are decided where none is open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from kairos.bench import inbound, open_loop
from kairos.bench.open_loop import Step
from kairos.playbook.ussd import WORDS, WORDS_OF_OFFERS

Ask = Callable[[float, Sequence[str]], Awaitable[Step]]  # (steps a second, who dials) -> what was seen

MENUS = """
entries: {"*123#": account}
menus:
  account:
    title: {en: My account}
    items:
      - {label: {en: My offers}, offers: yes}
      - {label: {en: Help}, text: {en: Choose one.}}
words:
""" + "".join(f'  "{word}": {{en: "{word}"}}\n' for word in (*WORDS, *WORDS_OF_OFFERS))


def texts(seed: int) -> dict[str, str]:
    """The workload's playbook, with a menu."""
    return inbound.texts(seed) | {"ussd.yaml": MENUS}


async def measure(ask: Ask, numbers: Iterator[str], rate: float, seconds: float, step_seconds: float) -> dict[str, Any]:
    """The asked rate for its time, and the highest rate that is held; nobody dials twice."""

    async def one(wanted: float, long: float) -> Step:
        return await ask(wanted, list(islice(numbers, max(1, int(wanted * long / 2)))))

    await one(rate, 2.0)  # binds and caches, which nobody measures
    told = ("menu_p99_ms", "offers_p99_ms")
    return await open_loop.measure(one, rate, seconds, step_seconds, lambda main: {name: main[name] for name in told})
