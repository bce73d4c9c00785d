"""`kairos report fairness`: a rule that keeps offers from one group is found and named; else nobody is accused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.operator import Operator
from typer.testing import CliRunner

from kairos.cli import app
from kairos.errors import KairosError


def said(operator: Operator, *options: str) -> str:
    command = ["report", "fairness", "--store", str(operator.store), *options]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def told(operator: Operator, *options: str) -> Any:
    return json.loads(said(operator, "--json", *options))


@pytest.fixture(scope="module")
def unfair(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    operator = Operator(tmp_path_factory.mktemp("unfair"), 1000, fair=False)
    operator.live()
    return operator


def test_a_group_that_is_offered_less_is_found_with_the_rule_that_refused(unfair: Operator) -> None:
    report = told(unfair, "--by", "language")
    assert report["sentence"].startswith(
        "By language, these are offered less than four fifths of what others are: fr ("
    )
    rates = {line["group"]: line for line in report["offered"]}
    assert rates["en"]["rate"]["value"] == pytest.approx(0.8, abs=0.05)
    assert rates["fr"]["rate"]["value"] == pytest.approx(0.24, abs=0.06)
    assert (rates["en"]["adverse"], rates["fr"]["adverse"]) == (False, True)
    differing = [(line["group"], line["offer"], line["rule"]) for line in report["lines"] if line["differs"]]
    assert sorted(differing) == [("fr", "booster", ""), ("fr", "booster", "running low")]
    holdout = next(line for line in report["lines"] if line["rule"] == "holdout")
    assert holdout["offer"] == "every offer"
    assert not holdout["differs"]


def test_groups_that_are_treated_alike_are_not_accused(tmp_path: Path) -> None:
    operator = Operator(tmp_path, 1000)
    operator.live()
    report = told(operator, "--by", "language")
    assert report["sentence"] == "By language, no group is shown to be offered more or less often than others."
    assert not any(line["differs"] for line in report["lines"])


def test_the_table_and_the_page(unfair: Operator, tmp_path: Path) -> None:
    file = tmp_path / "fairness.html"
    table = said(unfair, "--by", "language", "--html", str(file))
    page = file.read_text(encoding="utf-8")
    assert "running low" in table
    assert page.count("<svg") == 2
    assert "//" not in page
    assert "below four fifths" in page
    assert "fr: running low" in page


def test_where_there_are_no_groups_it_says_so(unfair: Operator) -> None:
    with pytest.raises(KairosError, match=r"no attribute `gender`"):
        said(unfair, "--by", "gender")
    with pytest.raises(KairosError, match="have the same `plan`: there are no groups to compare"):
        said(unfair, "--by", "plan")
    with pytest.raises(KairosError, match="the store has no decisions of that time"):
        said(unfair, "--by", "plan", "--since", "2026-05-01")
