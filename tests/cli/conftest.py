"""Commands in this process, as somebody types them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kairos.cli import main


@pytest.fixture
def kairos(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in an empty folder, without settings in the environment: status, output, errors."""
    monkeypatch.chdir(tmp_path)
    for name in ("KAIROS_STORE_PATH", "KAIROS_SMSC_PASSWORD", "KAIROS_ACCOUNTS_OCS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kairos", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run
