"""A status as a person reads it: what is wrong, then how everything stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kairos.engine.explain import moment

BINDS = {"smsc": "SMSC", "ussd": "USSD gateway", "accounts": "account"}
CHANNELS = {
    "notification": "notifications",
    "sms": "messages and answers",
    "email": "e-mails",
    "push": "push messages",
    "whatsapp": "WhatsApp messages",
    "mms": "MMS",
    "webhook": "webhooks",
    "ivr": "calls by a voice",
    "calls": "calls by an agent",
    "relay": "replies for others",
    "receipt": "receipts for accounts",
    "ocs": "orders",
}
TIMINGS = {
    "happened": "event until decided",
    "answering": "arrival until answered",
    "deciding": "deciding a batch",
    "committing": "committing a batch",
}
COUNTED = (  # what has happened, in the order in which it does; others follow
    "events",
    "decisions",
    "chosen",
    "accepted",
    "redeemed",
    "fulfilled",
    "refused",
)


def picture(status: Mapping[str, Any]) -> Group:
    """The whole of it, for 80 columns or more."""
    parts: list[RenderableType] = [*_verdict(status), _grid(_facts(status))]
    parts += ["", *_binds(status), *_queues(status), *_budgets(status), *_timings(status), *_counts(status)]
    return Group(*parts)


def _verdict(status: Mapping[str, Any]) -> Iterator[RenderableType]:
    if not status["troubles"]:
        yield Text("all is well", "bold green")
    for trouble in status["troubles"]:
        line = Table.grid(padding=(0, 1))  # so that what is folded stays under itself
        line.add_row(Text("✗", "bold red"), Text(trouble, "red", overflow="fold"))
        yield line
    yield ""


def _facts(status: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    now, playbook, store = status["now"], status["playbook"], status["store"]
    yield "kairos", Text(f"{status['version']}, up {span(now - status['started'])}, since {at(status['started'])}")
    yield "playbook", Text(f"{playbook['name']}, revision {playbook['revision']}, since {at(playbook['since'])}")
    if playbook["refused"]:
        yield "  refused", Text(playbook["refused"], "red", overflow="fold")
    yield "model", Text(status["model"])
    size = f"{octets(store['size'])}, log {octets(store['log_size'])}"
    yield "store", Text(f"{store['path']}: {size}, epoch {store['epoch'][:8]}", overflow="fold")
    if store["last_error"]:
        yield "  failed", Text(store["last_error"], "red", overflow="fold")
    for one in status["frozen"]:
        yield "freeze", Text(f"{one['why']}, until {at(one['until'])}", "yellow", overflow="fold")
    off = status["switches"]["off"]
    state = Text(", ".join(f"{one['name']} off" for one in off), "bold red") if off else Text("all on", "green")
    yield "switches", Text("not read", "bold red") if status["switches"]["trouble"] else state


def _binds(status: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Why one is not bound stands above."""
    table = _table("bind", "", "since", ">texts", ">throttled")
    for kind, end in BINDS.items():
        for link in status.get(kind, ()):  # an older server's may lack one
            name = f"{end} {link['name']}"
            state = Text("bound", "green") if link["bound"] else Text("not bound", "bold red")
            texts, throttled = (
                number(link.get(key, 0)) for key in ("received" if kind == "accounts" else "sent", "throttled")
            )
            since = f"{at(link['since'])} ({span(status['now'] - link['since'])})"
            table.add_row(Text(name), state, Text(since), texts, throttled)
    if not status["accounts"]:
        table.add_row("accounts", Text("none bound yet", "yellow"))
    yield table
    yield ""


def _queues(status: Mapping[str, Any]) -> Iterator[RenderableType]:
    queues = status["queues"]
    table = _table("queue", ">waiting", ">oldest")
    table.add_row("inputs for the engine", number(queues["waiting"]), "")
    for one in queues["unsent"]:
        oldest = span(status["now"] - one["oldest"]) if one["oldest"] else ""
        table.add_row(CHANNELS.get(one["channel"], one["channel"]), number(one["count"]), oldest)
    if not queues["unsent"]:
        table.add_row("to be sent", "0", "")
    table.add_row("timers overdue", number(queues["timers_overdue"]), "")
    for kind, count in status["dead_letters"].items():
        table.add_row(f"dead letters: {kind}", number(count), "")
    yield table
    yield ""


def _budgets(status: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What each has in its period, and until when that lasts; of a paced one, what of it is free by now."""
    table = _table("budget", ">of", ">by now", ">reserved", ">spent", ">left", "until")
    for one in status["budgets"]:
        shown = one["shown"]
        amounts = [shown[name] for name in ("cap", "allowed", "reserved", "spent", "left")]
        table.add_row(Text(one["name"], overflow="fold"), *amounts, at(one["until"]))
    if table.row_count:
        yield table
        yield ""


def _timings(status: Mapping[str, Any]) -> Iterator[RenderableType]:
    table = _table("lately, ms", ">median", ">p99", ">longest")
    for name, words in TIMINGS.items():
        if found := status["timings_ms"].get(name):
            table.add_row(words, *(f"{found[figure]:,.1f}" for figure in ("p50", "p99", "most")))
    if table.row_count:
        yield table
        yield ""


def _counts(status: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Since the start, three pairs a row."""
    counts = {name: count for name, count in status["counts"].items() if count}
    ordered = [name for name in COUNTED if name in counts] + sorted(set(counts) - set(COUNTED))
    if not ordered:
        return
    yield Text("since the start", "bold")
    table = Table.grid(padding=(0, 2, 0, 0))
    pairs = [(Text(name.replace("_", " "), "dim"), Text(number(counts[name]), justify="right")) for name in ordered]
    height = (len(pairs) + 2) // 3
    for row in range(height):
        cells = [pairs[place] for place in range(row, len(pairs), height)]
        table.add_row(*(cell for pair in cells for cell in pair))
    yield table


def _table(*heads: str) -> Table:
    """Without lines; a head that begins with `>` is of numbers."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), show_edge=False)
    for head in heads:
        table.add_column(head.removeprefix(">"), justify="right" if head.startswith(">") else "left")
    return table


def _grid(rows: Iterator[tuple[str, Text]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in rows:
        table.add_row(Text(name, "bold"), value)
    return table


def at(ms: int) -> str:
    return f"{moment(ms)[:16]} UTC" if ms else ""


def number(count: float) -> str:
    return f"{count:,.0f}"


def span(ms: int) -> str:
    """How long, in its two largest units.

    >>> span(40_000), span(3_720_000), span(90_000_000)
    ('40 s', '1 h 2 min', '1 d 1 h')
    """
    seconds = max(0, ms) // 1000
    found: list[tuple[int, str]] = []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size or found or size == 1:
            found.append((seconds // size, unit))
            seconds %= size
    return " ".join(f"{count} {unit}" for count, unit in found[:2] if count or len(found) == 1)


def octets(size: int) -> str:
    """A size as people say it.

    >>> octets(512), octets(4_300_000)
    ('512 B', '4.3 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
