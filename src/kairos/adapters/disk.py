"""The disk: what is on it when a power cut comes."""

from __future__ import annotations

import os
from pathlib import Path


def sync_path(path: Path) -> None:
    """What was written to a file, or named in a folder, is on the disk when this returns. Raises OSError."""
    held = os.open(path, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)
