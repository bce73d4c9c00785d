"""Where it is about noon now, so that no hour of the week at which tests run is one of quiet, or of a freeze."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "prepaid"


def noon() -> str:
    """A time zone where it is about noon: own messages have quiet hours where the subscriber is."""
    east = (12 - datetime.now(UTC).hour + 11) % 24 - 11  # -11..12
    return f"Etc/GMT{-east:+d}" if east else "Etc/GMT"


def example_at_noon(folder: Path) -> Path:
    """A copy of the example whose own time zone is that, for its freezes are in it (each Sunday at 03:00)."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("*.toml"))
    playbook = folder / "playbook.yaml"
    written = playbook.read_text(encoding="utf-8")
    assert "time_zone: UTC" in written
    playbook.write_text(written.replace("time_zone: UTC", f"time_zone: {noon()}"), encoding="utf-8")
    return folder
