"""`bench memory` measures what it says, at sizes that a test can wait for."""

from __future__ import annotations

from kairos.bench import memory


def test_figures_for_each_size() -> None:
    figures = memory.run(sizes=(300, 600), events=1000)
    for size in (300, 600):
        state, disk = figures[f"state_bytes_{size}"], figures[f"disk_bytes_a_subscriber_{size}"]
        assert isinstance(state, int)
        assert isinstance(disk, int)
        assert 900 < state < disk
        assert figures[f"rss_mb_{size}"] > figures[f"memory_bytes_a_subscriber_{size}"] * size / 1e6  # type: ignore[operator]
