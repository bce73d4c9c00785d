"""`kairos report uplift`: a planted lift is found in a store and an extract, and nothing where nothing was planted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.cli.operator import Operator
from typer.testing import CliRunner

from kairos.cli import app
from kairos.errors import DiagnosedError, KairosError


def told(operator: Operator, *options: str, extract: Path | None = None) -> Any:
    return json.loads(said(operator, "--json", *options, extract=extract))


def said(operator: Operator, *options: str, extract: Path | None = None) -> str:
    command = ["report", "uplift", "--store", str(operator.store), "--events", str(extract or operator.extract)]
    days = [] if "--days" in options else ["--days", "7", "--days", "30"]
    result = CliRunner().invoke(app, [*command, *days, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def gained(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """The treated spend 6.00 more in 40 days, 4.80 in 30, and a third of them buy for 45.00 besides."""
    operator = Operator(tmp_path_factory.mktemp("gained"), lift=600)
    operator.live()
    return operator


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """Nobody is held out; whoever is not in the booster's control group spends 4.80 more in 30 days."""
    operator = Operator(tmp_path_factory.mktemp("controlled"), lift=600, holdout=0, control=0.3)
    operator.live()
    return operator


@pytest.fixture(scope="module")
def loyal(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """Nobody spends more; who buys spends as much less in 40 days."""
    operator = Operator(tmp_path_factory.mktemp("loyal"), loyal=True)
    operator.live()
    return operator


def covers(interval: dict[str, float], truth: float) -> bool:
    return interval["low"] <= truth <= interval["high"]


def effects(report: Any, days: int = 30) -> dict[str, Any]:
    return {name: one["difference"] for name, one in report["horizons"][str(days)]["effects"].items()}


def test_a_planted_lift_is_found_and_taken_apart(gained: Operator) -> None:
    report = told(gained, "--by", "language", "--cost", "booster=3.00", "--cost", "notification=0.01")
    found = effects(report)
    assert covers(found["other spend"], 480)
    assert covers(found["recharges"], 480)
    assert found["margin"]["low"] > 0
    assert found["accepted"]["value"] == pytest.approx(1 / 3, abs=0.04)
    assert found["offers' revenue"]["value"] == pytest.approx(4500 * found["accepted"]["value"], rel=0.02)
    assert found["offers' cost"]["value"] == pytest.approx(300 * found["accepted"]["value"], rel=0.02)
    assert found["channel cost"]["value"] == pytest.approx(1)
    parts = found["offers' revenue"]["value"] + found["other spend"]["value"]
    assert found["net spend"]["value"] == pytest.approx(parts)
    costs = found["offers' cost"]["value"] + found["channel cost"]["value"]
    assert found["margin"]["value"] == pytest.approx(parts - costs)
    assert all(check["sound"] for check in report["checks"]), report["checks"]
    assert report["horizons"]["30"]["effects"]["margin"]["variance_saved"] > 0.5
    assert report["sentence"].startswith("Marketing earned T$")
    assert [day["days"] for day in report["curve"]] == [1, 2, 3, 5, 7, 10, 14, 21, 30]
    assert {name: report["curve"][-1][name] for name in ("value", "low", "high")} == found["margin"]


def test_what_is_cut_sums_up_to_the_whole(gained: Operator) -> None:
    report = told(gained, "--by", "language")
    whole = report["horizons"]["30"]
    for cut in ("offer", "language", "channel", "model"):
        rows = [row for row in report["groups"] if row["cut"] == cut]
        assert sum(row["treated"] for row in rows) == whole["treated"]
        assert sum(row["control"] for row in rows) == whole["control"]
    assert [row["name"] for row in report["groups"]] == ["booster", "en", "fr", "notification", "fixed-0.05"]
    assert all(row["holds"] for row in report["groups"])
    assert "segment" not in {row["cut"] for row in told(gained)["groups"]}


def test_what_offers_take_from_other_spend_is_no_gain(loyal: Operator) -> None:
    """In 30 days, 8 of 10 payments are over: 36.00 of the 45.00 that a third of them spent on offers."""
    found = effects(told(loyal))
    assert found["other spend"]["high"] < 0
    assert covers(found["other spend"], -3600 * found["accepted"]["value"])
    assert covers(found["margin"], 900 * found["accepted"]["value"])


def test_an_offer_is_compared_with_its_own_control_group(controlled: Operator, tmp_path: Path) -> None:
    file = tmp_path / "uplift.html"
    options = ("--cost", "booster=3.00", "--cost", "notification=0.01")
    report = told(controlled, *options)
    assert report["horizons"] == {}
    assert report["sentence"].startswith("Against its own control group, booster earned T$")
    (booster,) = report["controls"]
    assert (booster["offer"], booster["days"], booster["holds"]) == ("booster", 30, True)
    assert (booster["share"], booster["told"]) == (pytest.approx(0.3), 1)
    row = booster["horizons"]["30"]
    assert row["treated"] + row["control"] == 1500
    found = {name: one["difference"] for name, one in row["effects"].items()}
    assert covers(found["other spend"], 480)
    assert covers(found["recharges"], 480)
    assert found["accepted"]["value"] == pytest.approx(1 / 3, abs=0.04)
    assert found["offers' revenue"]["value"] == pytest.approx(4500 * found["accepted"]["value"], rel=0.02)
    assert found["offers' cost"]["value"] == pytest.approx(300 * found["accepted"]["value"], rel=0.02)
    assert found["channel cost"]["value"] == pytest.approx(1)
    assert row["effects"]["margin"]["variance_saved"] > 0.5
    assert covers(booster["horizons"]["7"]["effects"]["other spend"]["difference"], 600 / 40 * 8)
    checks = {check["name"]: check["sound"] for check in report["checks"]}
    assert all(checks.values()), report["checks"]
    assert {"control groups were alike before", "who is in a control group did not hear its offer"} <= checks.keys()
    table = said(controlled, *options, "--html", str(file))
    assert "against the offer's own control group" in table
    page = file.read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    for words in ("Each offer against its control group", "booster", "30% in control", "margin, 7 days"):
        assert words in page


def test_control_groups_stand_beside_the_holdout(tmp_path: Path) -> None:
    operator = Operator(tmp_path, lift=600, control=0.3)
    operator.live()
    report = told(operator)
    whole, (booster,) = report["horizons"]["30"], report["controls"]
    assert booster["horizons"]["30"]["treated"] + booster["horizons"]["30"]["control"] == whole["treated"]
    assert report["sentence"].startswith("Marketing earned T$")
    assert len(report["checks"]) == 7
    file = tmp_path / "uplift.html"
    said(operator, "--html", str(file))
    assert file.read_text(encoding="utf-8").count("<svg") == 4


def test_where_nothing_is_planted_nothing_is_shown(tmp_path: Path) -> None:
    """The holdout of a playbook that then says nothing: every twentieth such run at most should differ."""
    operator = Operator(tmp_path, loyal=True, seed=4)
    operator.live()
    report = told(operator, "--days", "38")
    assert "No effect is shown in 38 days" in report["sentence"]
    assert "would have been found with a chance of 80 %" in report["sentence"]


def test_tax_is_taken_out_of_what_is_spent(gained: Operator) -> None:
    plain, net = effects(told(gained)), effects(told(gained, "--tax", "15%"))
    assert net["recharges"] == plain["recharges"]
    for measure in ("net spend", "offers' revenue", "margin"):
        assert net[measure]["value"] == pytest.approx(plain[measure]["value"] / 1.15, rel=1e-3)


def test_parquet_times_and_names_of_the_extract(gained: Operator, tmp_path: Path) -> None:
    file = tmp_path / "extract.parquet"
    duckdb.sql(
        "COPY (SELECT ltrim(msisdn, '+') AS \"A NUMBER\", make_timestamp(happened::BIGINT * 1000) AS happened, "
        "CASE kind WHEN 'spend' THEN 'DEBIT' ELSE kind END AS kind, amount::BIGINT AS amount, 0 AS tax "
        f"FROM read_csv('{gained.extract}', all_varchar = true)) TO '{file}' (FORMAT parquet)"
    )
    same = told(gained, "--column", "msisdn=A NUMBER", "--word", "spend=DEBIT", extract=file)
    assert same["horizons"] == told(gained)["horizons"]


def test_an_extract_without_what_offers_charged_is_noticed(gained: Operator, tmp_path: Path) -> None:
    file = tmp_path / "extract.csv"
    rows = gained.extract.read_text().splitlines()
    file.write_text("\n".join(row for row in rows if not row.endswith(",4500")) + "\n")
    sound = {check["name"]: check["sound"] for check in told(gained, extract=file)["checks"]}
    assert not sound["what offers charged is in the extract"]
    assert sound["both groups were alike before"]


def test_where_the_treated_were_others_before_cuped_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    operator = Operator(tmp_path, 800, before=1.5)
    operator.live()
    report = told(operator)
    (check,) = [check for check in report["checks"] if check["name"] == "both groups were alike before"]
    assert not check["sound"]
    assert "Start the report with --since when the holdout began" in check["words"]
    assert report["horizons"]["30"]["effects"]["margin"]["variance_saved"] == 0


def test_the_page_holds_everything_and_asks_nothing_of_a_network(gained: Operator, tmp_path: Path) -> None:
    file = tmp_path / "uplift.html"
    table = said(gained, "--by", "language", "--html", str(file))
    page = file.read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    for asking in ("http:", "https:", "//", "<script", "@import", "url(", "src="):
        assert asking not in page, asking
    for words in ("Marketing earned T$", "From offers to margin", "By language", "booster", "Is the comparison sound?"):
        assert words in page
    assert "Marketing earned" in table
    assert "language: fr" in table


def test_it_is_refused_where_there_is_nothing_to_compare(tmp_path: Path, gained: Operator) -> None:
    everybody = Operator(tmp_path, subscribers=40, holdout=0)
    everybody.live()
    with pytest.raises(KairosError, match=r"held nobody out. Set `holdout: 5%` .* `control: 5%`"):
        said(everybody)
    with pytest.raises(KairosError, match="too early: by 2026-04-14"):
        said(gained, "--days", "90")
    with pytest.raises(KairosError, match="no marketing would have been said"):
        said(gained, "--since", "2026-05-01")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--by", "langage"], "no attribute `langage`; did you mean `language`"),
        (["--cost", "boster=1"], "`boster=1` names nothing of the playbook; did you mean `booster`"),
        (["--cost", "sms=cheap"], "--cost `sms=cheap`: `cheap` is not a number"),
        (["--tax", "much"], "--tax: `much` is not a number; write it as in 15%"),
        (["--since", "yesterday"], "--since `yesterday` is no day"),
        (["--column", "msisdn=MSISDN_A"], r"events.csv:1: there is no column `MSISDN_A`; it has `msisdn`, `happened`"),
    ],
)
def test_what_cannot_be_read_is_said_with_what_to_do(gained: Operator, options: list[str], why: str) -> None:
    with pytest.raises(KairosError, match=why):
        said(gained, *options)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("+12025550001,0,spend,1\n+12025550001,soon,spend,1", r"bad.csv:3: `soon` is no time"),
        ("+12025550001,0,spend,12.50", r"bad.csv:2: `12.50` is no amount in minor units"),
        ("+12025550001,2026-03-04T12:00:00Z,spend,1\n+12025550001,0,spend,", r"bad.csv:3: `` is no amount"),
    ],
)
def test_a_bad_row_is_named_by_its_line(gained: Operator, tmp_path: Path, rows: str, why: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(f"msisdn,happened,kind,amount\n{rows}\n")
    with pytest.raises(DiagnosedError, match=why):
        said(gained, extract=file)


def test_without_duckdb_it_says_what_to_install(gained: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(KairosError, match=r"DuckDB.*kairos-cvm\[audiences\]"):
        said(gained)
