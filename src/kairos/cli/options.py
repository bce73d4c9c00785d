"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

SettingsFile = Annotated[Path, typer.Option("--settings", help="The settings file.")]
StoreFile = Annotated[
    Path | None, typer.Option("--store", help="The store's file, if it is not the one of the settings.")
]
Url = Annotated[str, typer.Option("--url", help="The HTTP door, if it is not the one of the settings.")]
TOML: Final = Path("kairos.toml")
