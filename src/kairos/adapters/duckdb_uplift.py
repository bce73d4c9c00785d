"""What a cohort's subscribers recharged, spent, took and cost, before and after they entered it: summed by DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from kairos.adapters.extract import is_parquet, no_column
from kairos.domain.money import WHOLE, divide, split_tax
from kairos.domain.purchase import Purchase
from kairos.engine.cohort import Cohort
from kairos.errors import Diagnostic, ExtractError, KairosError
from kairos.evaluate import Summary

DAY: Final = 86_400_000
BEFORE: Final = 30  # days before the first moment, that CUPED knows subscribers by
COLUMNS: Final = ("msisdn", "subscriber", "happened", "kind", "amount", "tax")
KINDS: Final = ("recharge", "spend")
TAKEN: Final = "('accepted', 'fulfilled', 'redeemed', 'partly_reversed')"  # an offer's latest outcome: it was a yes
PARTS: Final = 10_000  # of a minor unit: a message may cost less than one
CUTS: Final = ("offer", "segment", "channel", "model")

# Each measure, of the flows within a window; and what of the time before CUPED takes for it. It is the same for all
# that sums up to the margin, so that adjusted differences sum up, too.
MEASURES: Final[Mapping[str, tuple[str, str]]] = {
    "recharges": ("recharge", "recharge_before"),
    "net spend": ("spend", "spend_before"),
    "offers' revenue": ("revenue", "spend_before"),
    "other spend": ("spend - revenue", "spend_before"),
    "offers' cost": ("purchase_cost", "spend_before"),
    "channel cost": ("message_cost", "spend_before"),
    "margin": ("spend - purchase_cost - message_cost", "spend_before"),
    "accepted": ("accepted", "spend_before"),
}
FLOWS: Final = ("recharge", "spend", "revenue", "purchase_cost", "message_cost", "accepted")

MS = "CASE WHEN regexp_full_match(happened, '\\d+') THEN try_cast(happened AS BIGINT) "
MS += "ELSE epoch_ms(try_cast(happened AS TIMESTAMPTZ)) END"


@dataclass(frozen=True, slots=True)
class Costs:
    """In parts (1 / PARTS) of a minor unit: of a message by channel, of a purchase by offer or offer/variant."""

    of: Mapping[str, int] = field(default_factory=dict)
    tax: int = 0  # the rate within what is spent, in parts of WHOLE; a column of the extract goes before it

    def purchase(self, one: Purchase) -> int:
        return self.of.get(f"{one.action}/{one.variant}", self.of.get(one.action, 0))


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an extract had in it. Times in ms."""

    rows: int
    strangers: int  # rows of nobody whom the store knows
    other_kinds: Mapping[str, int]  # rows by a kind that no measure counts
    first: int
    last: int
    orders: int = 0  # charged orders within its time
    orders_missed: int = 0  # those without a spend row of their price within a day


@dataclass(frozen=True, slots=True)
class Group:
    """Treated and control of one group within one window, by measure."""

    treated: Mapping[str, Summary]
    control: Mapping[str, Summary]


class Flows:
    """The flows of subscribers, in a DuckDB of its own in memory.

    Raises ExtractError, with its line (of a Parquet file: row), for an extract that cannot be read, and KairosError
    where DuckDB is not here.
    """

    def __init__(self, path: Path, columns: Mapping[str, str], words: Mapping[str, str]) -> None:
        try:
            import duckdb
        except ImportError:
            hint = "install the extra: pip install 'kairos-cvm[audiences]'"
            raise KairosError(f"a report of uplift needs DuckDB, which is not here; {hint}") from None
        self._path, self._error = path, duckdb.Error
        self._db = duckdb.connect()
        self.close = self._db.close
        self._run("SET TimeZone = 'UTC'")
        try:
            self._read(columns, words)
        except BaseException:
            self.close()
            raise

    def _read(self, columns: Mapping[str, str], words: Mapping[str, str]) -> None:
        """The extract as a table of typed rows."""
        parquet = is_parquet(self._path)
        source = "read_parquet(?)" if parquet else "read_csv(?, header = true, all_varchar = true)"
        try:
            there = [row[0] for row in self._run(f"DESCRIBE SELECT * FROM {source}", str(self._path))]
            self.by_id = columns.get("subscriber", "subscriber") in there
            needed = ("subscriber" if self.by_id else "msisdn", "happened", "kind", "amount")
            found = [self._column(ours, columns, there) for ours in needed]
            tax = columns.get("tax", "tax")
            found.append(_quoted(tax) if tax in there else "''")
            texts = (f"trim({one}::VARCHAR)" for one in found)
            picked = ", ".join(map(" AS ".join, zip(texts, ("who", "happened", "kind", "amount", "tax"), strict=True)))
            numbered = f"SELECT row_number() OVER () AS line, {picked} FROM {source}"
            self._run(f"CREATE TEMP TABLE raw AS {numbered}", str(self._path))
        except self._error as error:
            said = str(error).splitlines()[0]
            raise ExtractError([Diagnostic(str(self._path), 0, f"cannot be read: {said}", "")]) from None
        minor = "is no amount in minor units; write a whole number: 1250 for 12.50"
        head = 0 if parquet else 1
        self._refuse(head, "happened", f"({MS}) IS NULL", "is no time; write it as in 2026-03-04T12:00:00Z")
        self._refuse(head, "amount", "NOT regexp_full_match(ifnull(amount, ''), '[+-]?\\d{1,15}')", minor)
        self._refuse(head, "tax", "NOT regexp_full_match(ifnull(tax, ''), '([+-]?\\d{1,15})?')", minor)
        if self.by_id:
            self._refuse(head, "who", "try_cast(who AS BIGINT) IS NULL", "is no id of a subscriber in the store")
        ours = {theirs: mine for mine, theirs in words.items()} | {kind: kind for kind in KINDS}
        self._table("word", theirs=list(ours), ours=list(ours.values()))
        typed = f"{MS} AS ms, ours, kind, amount::BIGINT AS amount, nullif(tax, '')::BIGINT AS tax"
        self._run(f"CREATE TEMP TABLE typed AS SELECT who, {typed} FROM raw LEFT JOIN word ON theirs = kind")
        self._run("DROP TABLE raw")

    def _column(self, ours: str, columns: Mapping[str, str], there: Sequence[str]) -> str:
        name = columns.get(ours, ours)
        if name in there:
            return _quoted(name)
        raise no_column(self._path, ours, name, there)

    def _refuse(self, head: int, column: str, wrong: str, why: str) -> None:
        for row in self._run(f"SELECT line, {column} FROM raw WHERE {wrong} ORDER BY line LIMIT 1"):
            raise ExtractError([Diagnostic(str(self._path), row[0] + head, f"`{row[1] or ''}` {why}", "")])

    def fill(
        self,
        holdings: Sequence[tuple[str, int, int, int]],
        purchases: Iterable[Purchase],
        outcomes: Sequence[tuple[int, int, int, str, str, int]],
        cohort: Cohort,
        costs: Costs,
    ) -> Extracted:
        """Give every flow to its subscriber: an extract's row to whoever had the number at that time.

        See `kairos.adapters.sqlite.records` for what these are.
        """
        owner = "try_cast(who AS BIGINT)" if self.by_id else "held.subscriber"
        join = ""
        if not self.by_id:
            self._rows("held", ("value", "subscriber", "since", "until"), _from_the_start(holdings))
            join = "LEFT JOIN held ON value = ltrim(who, '+') AND ms >= held.since AND ms < held.until"
        self._run(f"CREATE TEMP TABLE event AS SELECT {owner} AS subscriber, typed.* EXCLUDE who FROM typed {join}")
        whole = WHOLE + costs.tax  # as `domain.money.split_tax` does
        within = f"sign(amount) * ((2 * abs(amount)::HUGEINT * {costs.tax} + {whole}) // {2 * whole})"
        net = f"amount - CASE ours WHEN 'spend' THEN coalesce(tax, {within}) ELSE 0 END"
        self._run(
            "CREATE TEMP TABLE flow AS SELECT subscriber, ms, ours AS what, "
            f"({net})::BIGINT AS amount FROM event WHERE ours IS NOT NULL AND subscriber > 0"
        )
        self._purchases(purchases, costs)
        self._outcomes(outcomes)
        self._said(cohort, costs)
        return self._extracted()

    def _purchases(self, purchases: Iterable[Purchase], costs: Costs) -> None:
        """What was bought and kept: its revenue, and its cost."""
        rows = []
        for one in purchases:
            if one.status == "done" and not one.test:
                net = one.kept - divide(one.tax * one.kept, one.price) if one.tax else split_tax(one.kept, costs.tax)[0]
                rows.append((one.subscriber, one.made, one.price if one.charges else 0, net, costs.purchase(one)))
        self._rows("purchase", ("subscriber", "ms", "paid", "net", "cost"), rows)
        self._run("INSERT INTO flow SELECT subscriber, ms, 'revenue', net FROM purchase WHERE net <> 0")
        self._run("INSERT INTO flow SELECT subscriber, ms, 'purchase_cost', cost FROM purchase WHERE cost <> 0")

    def _outcomes(self, outcomes: Sequence[tuple[int, int, int, str, str, int]]) -> None:
        """An acceptance counts when it was said, unless the offer's latest outcome took it back."""
        self._rows("outcome", ("id", "subscriber", "decision", "offer", "outcome", "ms"), outcomes)
        self._run(
            "INSERT INTO flow SELECT any_value(subscriber), min(ms) FILTER (outcome IN ('accepted', 'redeemed')), "
            "'accepted', 1 FROM outcome GROUP BY offer "
            f"HAVING arg_max(outcome, id) IN {TAKEN} AND count(*) FILTER (outcome IN ('accepted', 'redeemed')) > 0"
        )

    def _said(self, cohort: Cohort, costs: Costs) -> None:
        """A message costs what its channel costs, unless it was dropped unsent."""
        rows = [(who, ms, costs.of[channel], number) for who, ms, channel, number in cohort.said if channel in costs.of]
        self._rows("said", ("subscriber", "ms", "cost", "decision"), rows)
        dropped = "SELECT decision FROM outcome WHERE outcome = 'dropped'"
        self._run(
            f"INSERT INTO flow SELECT subscriber, ms, 'message_cost', cost FROM said WHERE decision NOT IN ({dropped})"
        )

    def _extracted(self) -> Extracted:
        counted = "count(*), count(*) FILTER (ifnull(subscriber, 0) <= 0), coalesce(min(ms), 0), coalesce(max(ms), 0)"
        ((rows, strangers, first, last),) = self._run(f"SELECT {counted} FROM event")
        others = self._run("SELECT kind, count(*) FROM event WHERE ours IS NULL GROUP BY kind ORDER BY kind")
        charged = f"FROM purchase WHERE paid > 0 AND ms BETWEEN {first} AND {last - DAY}"
        met = (
            "SELECT 1 FROM event WHERE ours = 'spend' AND event.subscriber = purchase.subscriber "
            f"AND event.amount = paid AND abs(event.ms - purchase.ms) <= {DAY}"
        )
        orders, missed = (
            self._run(f"SELECT count(*) {charged} {but}")[0][0] for but in ("", f"AND NOT EXISTS ({met})")
        )
        return Extracted(rows, strangers, dict(others), first, last, orders, missed)

    def enter(self, cohort: Cohort, segment: Sequence[str]) -> None:
        """The cohort, and those whom offers with control groups met, with what they did in the days before."""
        self._enter(
            "cohort",
            CUTS,
            subscriber=cohort.subscriber,
            since=cohort.since,
            held_out=cohort.held_out,
            offer=cohort.offer,
            segment=segment,
            channel=cohort.channel,
            model=cohort.model,
        )
        met = cohort.controls
        self._enter(
            "controls",
            ("offer",),
            subscriber=met.subscriber,
            since=met.since,
            held_out=met.held_out,
            offer=met.offer,
        )

    def _enter(self, table: str, cuts: Sequence[str], **columns: Sequence[Any]) -> None:
        """A table of members: somebody may be one more than once, each time with days of their own."""
        self._table("member", **columns)
        names = ("subscriber", "since", "held_out", *cuts)
        kept = ", ".join(f"any_value(member.{name}) AS {name}" for name in names)
        before = ", ".join(f"{_sum_of(what)} AS {what}_before" for what in KINDS)
        self._run(
            f"CREATE TEMP TABLE {table} AS SELECT number, {kept}, {before} "
            "FROM (SELECT row_number() OVER () AS number, * FROM member) AS member LEFT JOIN flow ON "
            f"flow.subscriber = member.subscriber AND ms < since AND ms >= since - {BEFORE * DAY} GROUP BY number"
        )
        self._run("DROP TABLE member")

    def within(
        self, days: int, last: int, whole: int = 0, cuts: Sequence[str] = CUTS, of: str = "cohort"
    ) -> dict[tuple[str, str], Group]:
        """The groups of each cut, by (cut, name) and ("", "") for all, `days` after the first moment.

        Only of subscribers whose `whole` days (at least `days`) had passed at `last` (ms), treated and control alike.
        `of` the cohort, or of the `controls`, which only the offer cuts.
        """
        sums = ", ".join(f"{_sum_of(what)} AS {what}" for what in FLOWS)
        carried = ("held_out", "recharge_before", "spend_before", *cuts)
        kept = ", ".join(f"any_value({name}) AS {name}" for name in carried)
        each = (
            f"SELECT {kept}, {sums} FROM {of} AS member LEFT JOIN flow ON flow.subscriber = member.subscriber "
            f"AND ms >= since AND ms < since + {days * DAY} WHERE since + {max(days, whole) * DAY} <= {last} "
            "GROUP BY number"
        )
        told = ", ".join(
            f"avg({y}), coalesce(var_samp({y}), 0), avg({x}), coalesce(var_samp({x}), 0), "
            f"coalesce(covar_samp({y}, {x}), 0)"
            for y, x in MEASURES.values()
        )
        sets = ", ".join(["(held_out)", *(f"(held_out, {cut})" for cut in cuts)])
        names = "".join(f"{cut}, " for cut in cuts)
        which = f"GROUPING({', '.join(cuts)})" if cuts else "0"
        rows = self._run(
            f"SELECT held_out, {which}, {names}count(*), {told} FROM ({each}) GROUP BY GROUPING SETS ({sets})"
        )
        return _groups(rows, cuts)

    def _table(self, name: str, **columns: Sequence[Any]) -> None:
        arrays = {column: _array(values) for column, values in columns.items()}
        self._db.register("given", arrays)
        self._run(f"CREATE TEMP TABLE {name} AS SELECT * FROM given")
        self._db.unregister("given")

    def _rows(self, name: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        by_column = zip(*rows, strict=True) if rows else [()] * len(columns)
        self._table(name, **dict(zip(columns, map(list, by_column), strict=True)))

    def _run(self, sql: str, *values: Any) -> list[Any]:
        return self._db.execute(sql, values).fetchall()  # a result that is not fetched blocks what follows


def _array(values: Sequence[Any]) -> Any:
    return np.array(values, dtype=object if values and isinstance(values[0], str) else None)


def _sum_of(what: str) -> str:
    parts = f" / {PARTS}" if what in ("purchase_cost", "message_cost") else ""
    return f"coalesce(sum(amount) FILTER (what = '{what}'), 0)::DOUBLE{parts}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _from_the_start(holdings: Sequence[tuple[str, int, int, int]]) -> list[tuple[str, int, int, int]]:
    """The first who had a value has always had it, as far as anybody knows; who has it still, has it for good.

    >>> _from_the_start([("1", 7, 100, 0)])
    [('1', 7, -9223372036854775808, 9223372036854775807)]
    """
    rows, seen = [], set()
    for value, subscriber, since, until in sorted(holdings, key=lambda held: held[2]):
        rows.append((value, subscriber, since if value in seen else -(2**63), until or 2**63 - 1))
        seen.add(value)
    return rows


def _groups(rows: Iterable[Sequence[Any]], cuts: Sequence[str]) -> dict[tuple[str, str], Group]:
    """GROUPING has a bit for each cut, set where the row is not cut by it; the first cut's is the highest."""
    found: dict[tuple[str, str], dict[bool, dict[str, Summary]]] = {}
    for held_out, bits, *rest in rows:
        place = next((i for i in range(len(cuts)) if not bits >> (len(cuts) - 1 - i) & 1), -1)
        name = ("", "") if place < 0 else (cuts[place], rest[place])
        n, *told = rest[len(cuts) :]
        summaries = {measure: Summary(n, *map(float, told[5 * i : 5 * i + 5])) for i, measure in enumerate(MEASURES)}
        found.setdefault(name, {})[bool(held_out)] = summaries
    nobody = {measure: Summary(0, 0.0) for measure in MEASURES}
    return {name: Group(sides.get(False, nobody), sides.get(True, nobody)) for name, sides in found.items()}
