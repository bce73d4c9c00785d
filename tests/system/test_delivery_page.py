"""Every promise of docs/delivery.md names the tests that hold it, and they are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "delivery.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(named) > 40
    for file, name in named:
        assert re.search(rf"^ *(async )?def {name}\(", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE), name


def test_every_promise_names_a_test() -> None:
    promises = [row.strip("| ").split(" | ") for row in PAGE.splitlines() if row.startswith("| ")]
    held = {promise: by for promise, by in promises if promise != "promise"}
    assert len(held) > 25
    assert all("::test_" in by for by in held.values())
