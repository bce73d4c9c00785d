"""`kairos evaluate` on a store with planted tastes: a policy on its own log, one whose truth is known, and the rest."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.conftest import TEXTS
from tests.engine.town import WEEK, Town, heard, texts
from typer.testing import CliRunner

from kairos.adapters.sqlite.lessons import SqliteLessons
from kairos.cli import app
from kairos.engine.lessons import SAMPLE
from kairos.engine.propensities import scorer_of
from kairos.errors import KairosError
from kairos.learn import LearnedPropensity, freeze

EXPLORED = 3000  # moments decided by the model, after those by which it learned
LIKED = 0.5 * 500  # what a moment is worth that says what is liked


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evaluate") / "kairos.db"
    town = Town(path)
    town.meet(SAMPLE)
    version = heard(path, town.program, town.now).publish(town.now)
    assert version is not None
    with closing(SqliteLessons(path)) as lessons:
        version = replace(version, explore=12.0)
        lessons.save_model(LearnedPropensity(version, ()).version, town.now, freeze(version), 0)
    scorer = scorer_of(version, town.program)
    assert scorer is not None
    town.engine.scorer = scorer
    town.meet(EXPLORED)
    town.now += WEEK + 1000
    town.meet(100)
    town.store.close()
    return path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Any:
    """Writes a playbook to a folder."""

    def write(playbook: dict[str, str]) -> str:
        for name, text in playbook.items():
            file = tmp_path / "changed" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return str(tmp_path / "changed")

    return write


def said(store: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["evaluate", "--store", str(store), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def told(store: Path, *options: str) -> Any:
    return json.loads(said(store, "--json", *options))


def covers(interval: dict[str, float], truth: float) -> bool:
    return interval["low"] <= truth <= interval["high"]


def test_the_logs_own_policy_is_worth_what_it_earned(store: Path, elsewhere: Any) -> None:
    """A comment makes another revision of the same rules: every survivor is found again, with its chance."""
    same = elsewhere(texts() | {"replies.yaml": TEXTS["replies.yaml"] + "# the same\n"})
    found = told(store, "--playbook", same)
    values = found["values"]
    assert found["moments_by_use"] == {
        "all": SAMPLE + EXPLORED + 100,
        "window not over": 100,
        "playbook gone": 0,
        "model gone": 0,
        "other vocabulary or rules": 0,
        "not supported": 0,
    }
    assert values["effective_sample_size"] == pytest.approx(SAMPLE + EXPLORED, rel=0.02)
    for estimator in ("ips", "snips", "doubly_robust"):
        assert values[estimator]["value"] == pytest.approx(found["earned"], rel=0.02)
        assert covers(values[estimator], found["earned"])
    assert covers(values["difference"], 0)


def test_what_is_always_liked_is_worth_its_planted_truth(store: Path) -> None:
    version = told_models(store)[0]
    found = told(store, "--model", version, "--greedy", "--by", "language")
    values = found["values"]
    assert found["earned"] < 0.8 * 1000 * LIKED
    assert f"{SAMPLE:,} moments are older than the model: what it learned from them flatters it" in found["notes"][-1]
    for estimator in ("ips", "snips", "doubly_robust"):
        assert covers(values[estimator], 1000 * LIKED), values
    assert values["doubly_robust"]["high"] < 1.15 * 1000 * LIKED
    assert values["difference"]["low"] > 0
    assert "would have earned" in found["sentence"]
    liked = {"fr": "booster/large", "en": "booster/small"}
    for one in found["exchanges"]:
        assert one["would_say"] == liked[one["group"]] or one["moments"] < 10


def test_without_exploring_the_own_model_of_each_moment_is_judged(store: Path) -> None:
    """The fixed ones said either of two equals by chance, and would again."""
    found = told(store, "--greedy")
    values = found["values"]
    assert not any("older than the model" in note for note in found["notes"])
    learned = EXPLORED / (SAMPLE + EXPLORED)
    assert covers(values["doubly_robust"], 1000 * (learned * LIKED + (1 - learned) * 0.26 * 500))


def test_a_stricter_rule_shows_in_who_would_have_got_what(store: Path, elsewhere: Any) -> None:
    booster = texts()["offers/booster.yaml"].replace("data_left_mb < 200", "data_left_mb < 200 AND language = 'fr'")
    found = told(store, "--playbook", elsewhere(texts(**{"offers/booster.yaml": booster})), "--by", "language")
    silent = [one for one in found["exchanges"] if one["would_say"] == "nothing"]
    assert {(one["group"], one["said"]) for one in silent} == {("en", "booster/small"), ("en", "booster/large")}
    assert sum(one["moments"] for one in silent) == (SAMPLE + EXPLORED) / 2
    assert found["share_changed"] > 0.5
    assert found["moments_by_use"]["not supported"] == 0
    assert found["values"]["doubly_robust"]["value"] == pytest.approx(found["earned"] / 2, rel=0.15)
    assert found["values"]["difference"]["high"] < 0
    assert "less" in found["sentence"]


def test_what_was_never_offered_is_shown_and_not_valued(store: Path, elsewhere: Any) -> None:
    new = texts()["offers/booster.yaml"].replace("offer: booster", "offer: fresh").replace("value: 5}", "value: 500}")
    found = told(store, "--playbook", elsewhere(texts(**{"offers/fresh.yaml": new})))
    assert found["moments_by_use"]["not supported"] == SAMPLE + EXPLORED
    fresh = sum(one["moments"] for one in found["exchanges"] if one["would_say"].startswith("fresh/"))
    assert fresh > 0.9 * (SAMPLE + EXPLORED)
    assert "in no moment could all that it would say have been said" in found["refused"]


def told_models(store: Path) -> list[str]:
    with closing(sqlite3.connect(store)) as connection:
        return [name for (name,) in connection.execute("SELECT version FROM model ORDER BY id")]


def test_moments_whose_version_is_gone_are_counted_and_left_out(store: Path, tmp_path: Path) -> None:
    version = told_models(store)[0]
    file, copy = tmp_path / "model.bin", tmp_path / "copy.db"
    with closing(sqlite3.connect(store)) as whole, closing(sqlite3.connect(copy)) as part:
        whole.backup(part)
        ((content,),) = part.execute("SELECT content FROM model")
        part.execute("DELETE FROM model")
        part.commit()
    file.write_bytes(content)
    found = told(copy, "--model", str(file), "--greedy")
    assert found["moments_by_use"]["model gone"] == EXPLORED
    assert found["moments"] == SAMPLE
    assert f"{EXPLORED:,} of {SAMPLE + EXPLORED + 100:,} moments cannot be replayed: their model's" in found["notes"][1]
    assert covers(found["values"]["doubly_robust"], 1000 * LIKED)
    with pytest.raises(KairosError, match=f"no model `{version}`, nor is it a file; it has none"):
        said(copy, "--model", version)
    file.write_bytes(b"what is this")
    with pytest.raises(KairosError, match="is no model that this kairos reads"):
        said(copy, "--model", str(file))


def test_a_log_that_nothing_was_drawn_for_is_refused_in_words(tmp_path: Path, elsewhere: Any) -> None:
    dear = texts()["offers/booster.yaml"].replace(
        "2 GB, validity: 7 days, price: 10, value: 5", "2 GB, validity: 7 days, price: 10, value: 6"
    )
    town = Town(tmp_path / "kairos.db", texts(**{"offers/booster.yaml": dear}))
    town.meet(500)
    town.now += WEEK + 1000
    town.meet(100)
    town.store.close()
    cheap = dear.replace("value: 6", "value: 4")
    folder = elsewhere(texts(**{"offers/booster.yaml": cheap}))
    found = told(tmp_path / "kairos.db", "--playbook", folder)
    assert found["values"] is None
    assert "the log did too little of what the target policy would do" in found["refused"]
    (change,) = found["exchanges"]
    assert (change["said"], change["would_say"], change["moments"]) == ("booster/large", "booster/small", 500)


def test_the_table_and_the_page_and_nothing_written(store: Path, tmp_path: Path) -> None:
    before, file = store.read_bytes(), tmp_path / "page.html"
    table = said(store, "--greedy", "--by", "language", "--html", str(file))
    page = file.read_text(encoding="utf-8")
    assert "doubly robust" in table
    assert "effective sample size" in table
    assert page.count("<svg") == 1
    assert "//" not in page
    assert "Who would have got what" in page
    assert store.read_bytes() == before


def test_what_cannot_be_asked_is_said(store: Path, elsewhere: Any) -> None:
    with pytest.raises(KairosError, match="nothing is changed: name another --playbook, another --model, or --greedy"):
        said(store)
    with pytest.raises(KairosError, match="`fixed-high` is no fixed propensity; write it as"):
        said(store, "--model", "fixed-high")
    with pytest.raises(KairosError, match="--window `soon` is no time; write it as in 7 days"):
        said(store, "--greedy", "--window", "soon")
    with pytest.raises(KairosError, match="no attribute `gender`"):
        said(store, "--greedy", "--by", "gender")
    with pytest.raises(KairosError, match="no decisions of that time"):
        said(store, "--greedy", "--since", "2026-05-01")
    words = TEXTS["vocabulary.yaml"].replace("profile:      {", "profile:      {town: text, ")
    with pytest.raises(KairosError, match=r"another vocabulary than the store's playbook \(`profile.town`\)"):
        said(store, "--playbook", elsewhere(texts(**{"vocabulary.yaml": words})))
