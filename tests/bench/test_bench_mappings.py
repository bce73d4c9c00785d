"""`kairos bench mappings` reads the same from both."""

from __future__ import annotations

import pytest

from kairos.bench import mappings


def test_it_compares_what_is_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mappings, "ROUNDS", 1)
    figures = mappings.run()
    assert set(figures) == {"mapped_us", "native_us", "ratio", "mapped_per_s"}
