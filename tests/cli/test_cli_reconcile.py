"""`kairos reconcile`: each difference between the store and an extract is found, and what agrees is not."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from kairos.adapters.sqlite import SqliteStore
from kairos.cli import app
from kairos.domain.purchase import Purchase, Step
from kairos.errors import DiagnosedError
from kairos.fulfil.ledger import MEANINGS
from kairos.ports import Batch

AT = 1_772_625_600_000
ISO = "2026-03-04T12:00:00Z"
HEAD = ("key", "msisdn", "product", "price", "currency", "status", "at")


def purchase(key: str, status: str = "done", **changes: Any) -> Purchase:
    step = Step("order", key, "DATA500", status="done", at=AT)
    known = Purchase(
        key, key, 1, 1, "12025550123", "", "booster", "small", ("DATA500",), 1000, "XTS", True, AT, (step,)
    )
    return replace(known, **({"status": status, "changed": AT} | changes))


def row(key: str, status: str = "done", price: str = "10.00", currency: str = "XTS", **more: str) -> dict[str, str]:
    known = {"key": key, "msisdn": "12025550123", "product": "DATA500", "price": price, "currency": currency}
    return known | {"status": status, "at": ISO} | more


def compared(folder: Path, purchases: Iterable[Purchase], rows: list[dict[str, str]], *options: str) -> list[Any]:
    """What `--json` says; the last line has the sums."""
    with closing(SqliteStore(folder / "kairos.db")) as store:
        store.commit(Batch(purchases={one.key: one for one in purchases}))
        file = folder / "extract.csv"
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, rows[0] if rows else HEAD)
            writer.writeheader()
            writer.writerows(rows)
        command = ["reconcile", str(file), "--store", str(folder / "kairos.db"), "--json", *options]
        result = CliRunner().invoke(app, command, catch_exceptions=False)  # while the store is open and in use
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == (1 if len(found) > 1 else 0)
    return found


def test_both_sides_say_amounts_as_the_extract_does(tmp_path: Path) -> None:
    difference, _ = compared(tmp_path, [purchase("k")], [row("k", price="10.01")])
    assert (difference["store"], difference["extract"]) == ("done, 10.00 XTS", "done 10.01 XTS")


@pytest.mark.parametrize(
    ("kind", "bought", "rows"),
    [
        ("never accepted", [], [row("k")]),
        ("not charged", [purchase("k")], [row("other", "refused")]),
        ("charged twice", [purchase("k")], [row("k"), row("k")]),
        (
            "charged twice",
            [purchase("k")],
            [row("k.charge", "charged"), row("k.x", "charged"), row("k", "provisioned")],
        ),
        ("amount differs", [purchase("k")], [row("k", price="10.01")]),
        ("amount differs", [purchase("k")], [row("k", currency="XXX")]),
        ("another payer", [purchase("k")], [row("k", msisdn="12025550199")]),
        (
            "not provisioned",
            [purchase("k"), purchase("j", charges=False)],
            [row("k", "charged"), row("j", "provisioned")],
        ),
        (
            "not provisioned",
            [purchase("k", products=("A", "B"))],
            [row("k.charge", "charged"), row("k.provision1", "provisioned")],
        ),
        ("charged all the same", [purchase("k", "refused")], [row("k")]),
        ("charged all the same", [purchase("k", "refunded")], [row("k.charge", "charged")]),
        ("refunded, yet revenue", [purchase("k")], [row("k"), row("k", "refunded")]),
        ("stuck", [purchase("k", "stuck")], []),
        # the payer's gift, charged at whoever got it
        ("another payer", [purchase("k", payer="12025550150")], [row("k")]),
        # what cost nothing, or is owed, was charged all the same
        ("charged all the same", [purchase("k", charges=False)], [row("k")]),
        # not all of it went back, or more than all of it
        ("charged all the same", [purchase("k", "refunded")], [row("k"), row("k", "refunded", "4.00")]),
        ("charged all the same", [purchase("k", "reversed")], [row("k"), row("k", "refunded", "-9.99")]),
        ("charged all the same", [purchase("k", returned=400)], [row("k")]),
        ("charged all the same", [purchase("k", returned=400)], [row("k"), row("k", "refunded", "3.99")]),
        ("refunded, yet revenue", [purchase("k", returned=400)], [row("k"), row("k", "refunded", "4.01")]),
        ("refunded, yet revenue", [purchase("k")], [row("k"), row("k", "refunded", "4.00")]),
        ("refunded too much", [purchase("k", "refunded")], [row("k"), row("k", "refunded"), row("k", "refunded")]),
        ("refunded too much", [purchase("k", "refused")], [row("k", "refunded")]),
        ("amount differs", [purchase("k", returned=400)], [row("k"), row("k", "refunded", "4.00", "XXX")]),
        ("tax differs", [purchase("k", tax=130)], [row("k", tax="1.31")]),
        ("tax differs", [purchase("k")], [row("k", tax="1.30")]),
        # one charge too many, and it went back: nobody lost a cent, and still it happened
        ("charged twice", [purchase("k")], [row("k"), row("k"), row("k", "refunded")]),
        # products
        ("never accepted", [], [row("k", "provisioned")]),
        ("never accepted", [], [row("k", "refunded")]),
        ("not provisioned", [purchase(key, charges=False) for key in "jk"], [row("j", "provisioned")]),
        (
            "not provisioned",
            [purchase("k", products=("A", "B"))],
            [row("k.charge", "charged"), *(row(f"k.{n}", "provisioned", product=p) for n, p in enumerate("AC"))],
        ),
        (
            "not provisioned",
            [purchase("k")],
            [row("k.charge", "charged"), row("k.p", "provisioned"), row("k.d", "deprovisioned")],
        ),
        (
            "provisioned twice",
            [purchase("k")],
            [row("k.charge", "charged"), row("k.p", "provisioned"), row("k.p", "provisioned")],
        ),
        ("provisioned all the same", [purchase("k", "refused")], [row("k.provision1", "provisioned")]),
        (
            "another receiver",
            [purchase("k", payer="12025550150")],
            [row("k.charge", "charged", msisdn="12025550150"), row("k.p", "provisioned", msisdn="12025550150")],
        ),
    ],
)
def test_each_difference_is_found(
    tmp_path: Path, kind: str, bought: list[Purchase], rows: list[dict[str, str]]
) -> None:
    *found, sums = compared(tmp_path, bought, rows)
    assert [(one["kind"], one["key"]) for one in found] == [(kind, "k")]
    assert sums["by_kind"] == {kind: 1}
    assert kind in MEANINGS


def test_what_agrees_is_no_difference(tmp_path: Path) -> None:
    bought = [
        purchase("a"),
        purchase("b~2"),
        purchase("c", "refused"),
        purchase("d", "refunded"),
        purchase("e", "reversed"),
        purchase("f", charges=False),
        purchase("g", payer="12025550150"),
        purchase("h", "under_way"),
        purchase("i", changed=AT + 1),  # ended after the extract was drawn
        purchase("j", made=AT - 1),
        purchase("l", returned=400),
        purchase("m", "reversed", changed=AT + 1),  # given back after the extract was drawn
        purchase("n", returned=400, changed=AT + 1),
        purchase("o", products=("A", "B")),
        purchase("p", "refused"),
        purchase("q", payer="promotions"),
        purchase("r", "reversed"),  # they kept the product
        purchase("s", tax=130),
    ]
    rows = [
        row("a.charge", "charged"),
        row("a.provision1", "provisioned", price=""),
        row("b~2"),
        row("c", "refused"),
        *(row(key, status) for key in ("d", "e") for status in ("charged", "refunded")),
        row("f", "provisioned"),
        row("g", msisdn="12025550150"),
        row("l"),
        row("l", "refunded", "-1.50"),
        row("l", "refunded", "2.50"),
        row("m"),
        row("n"),
        row("o.charge", "charged", product=""),
        row("o.p", "provisioned", product=""),  # it does not say which
        row("o.q", "provisioned", product="A"),
        row("p.p", "provisioned"),
        row("p.d", "deprovisioned"),
        row("q", msisdn="promotions"),
        row("r"),
        row("r", "refunded"),
        row("s"),
    ]
    rows = [one | {"tax": "1.30" if one["key"] == "s" else ""} for one in rows]
    assert compared(tmp_path, bought, rows) == [{"rows": 24, "purchases": 18, "differences": 0, "by_kind": {}}]


@pytest.mark.parametrize(
    ("options", "missed"),
    [((), 0), (("--until", "2026-03-05"), 1), (("--since", "2026-03-03T12:00:00Z", "--until", "2026-03-05"), 2)],
)
def test_what_is_missing_after_the_last_row_is_missed_where_the_extract_says_how_far_it_goes(
    tmp_path: Path, options: tuple[str, ...], missed: int
) -> None:
    """A charging system that stopped writing at noon: there is no later row that would show it."""
    bought = [purchase("a"), purchase("b", made=AT + 1, changed=AT + 2), purchase("c", made=AT - 1)]
    *found, _ = compared(tmp_path, bought, [row("a")], *options)
    assert [one["kind"] for one in found] == ["not charged"] * missed


def test_columns_and_words_of_the_file(tmp_path: Path) -> None:
    rows = [{"ID": "k", "WHAT": "DEBIT", "AMOUNT": "11.00"}, {"ID": "k", "WHAT": "PROV", "AMOUNT": ""}]
    options = ("key=ID", "status=WHAT", "price=AMOUNT"), ("charged=DEBIT", "provisioned=PROV")
    named = [
        word
        for option, pairs in zip(("--column", "--word"), options, strict=True)
        for p in pairs
        for word in (option, p)
    ]
    *found, _ = compared(tmp_path, [purchase("k")], rows, *named)
    assert [one["kind"] for one in found] == ["amount differs"]


def test_parquet_says_the_same(tmp_path: Path) -> None:
    compared(tmp_path, [purchase("a"), purchase("b")], [row("a"), row("b"), row("b"), row("c")])
    source, target = tmp_path / "extract.csv", tmp_path / "extract.parquet"
    duckdb.sql(f"COPY (SELECT * FROM read_csv('{source}')) TO '{target}' (FORMAT parquet)")
    command = ["reconcile", "--store", str(tmp_path / "kairos.db"), "--json"]
    said = [CliRunner().invoke(app, [*command, str(file)]).stdout for file in (source, target)]
    assert said[0] == said[1]
    assert '"by_kind":{"charged twice":1,"never accepted":1}' in said[0]


def test_without_duckdb_parquet_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteStore(tmp_path / "kairos.db").close()
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(DiagnosedError, match=r"DuckDB.*audiences"):
        CliRunner().invoke(
            app,
            ["reconcile", str(tmp_path / "x.parquet"), "--store", str(tmp_path / "kairos.db")],
            catch_exceptions=False,
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,status\nk,done\n", r"extract.csv:1: there is no column `key`.*--column key=NAME"),
        ("key,status,price\nk,done,1.00\nk,done,ten\n", r"extract.csv:3: `ten` is not a number"),
        ("key,status,price\nk,done,1.005\n", r"extract.csv:2: `1.005` has more than 2 decimals"),
        ("key,status,price\nk,done,1e30\n", r"extract.csv:2: `1e30` is not a number"),
        (f"key,status,price\nk,done,{10**30}\n", r"extract.csv:2: `10+` is too large"),
        ("key;status;at\nk;done;yesterday\n", r"extract.csv:2: `yesterday` is no time"),
        ("key,status,at\nk,done,1772625600\n", r"extract.csv:2: `1772625600` is no time in milliseconds"),
        ("key,status,at\nk,done,20260304\n", r"extract.csv:2: `20260304` is no time in milliseconds"),
        ("key,status\n,done\n", r"extract.csv:2: the row has no key"),
    ],
)
def test_what_cannot_be_read_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    SqliteStore(tmp_path / "kairos.db").close()
    (tmp_path / "extract.csv").write_text(text)
    command = ["reconcile", str(tmp_path / "extract.csv"), "--store", str(tmp_path / "kairos.db")]
    with pytest.raises(DiagnosedError, match=said):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_the_table_is_for_people(tmp_path: Path) -> None:
    compared(tmp_path, [purchase("a"), purchase("b", "stuck")], [row("a")])
    command = ["reconcile", str(tmp_path / "extract.csv"), "--store", str(tmp_path / "kairos.db")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "stuck" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 rows, 2 purchases: 1 stuck"
