"""docs/reports.md names every column, kind and measure, and options that there are."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from kairos.adapters.duckdb_uplift import COLUMNS, KINDS, MEASURES
from kairos.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """The first column of the table under a heading."""
    table = PAGE.split(f"| {heading} |")[1].split("\n\n")[0]
    return [row.split("|")[1].strip(" `") for row in table.splitlines()[2:]]


def test_columns_kinds_and_measures() -> None:
    assert first_cells("column") == list(COLUMNS)
    assert first_cells("measure") == list(MEASURES)
    assert set(KINDS) <= set(re.findall(r"`(\w+)`:", PAGE))


def test_options() -> None:
    commands = (["report", "uplift"], ["report", "fairness"], ["evaluate"])
    known = "".join(CliRunner().invoke(app, [*one, "--help"], env={"COLUMNS": "200"}).stdout for one in commands)
    for option in set(re.findall(r"--[a-z]+", PAGE)):
        assert option in known, option
