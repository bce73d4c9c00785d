"""Playbooks as folders: the texts of one, and a new one to start from."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from kairos.errors import Diagnostic, PlaybookError

NAMED = "name: Starter\n"


def load_texts(path: Path) -> dict[str, str]:
    """Every YAML file of a folder, hidden ones aside: path in the folder (with `/`) -> content.

    Raises PlaybookError where the folder or a file cannot be read as UTF-8 text.
    """
    if not path.is_dir():
        raise PlaybookError([Diagnostic(str(path), 0, "there is no such folder", "`kairos new` makes one")])
    texts = {}
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path)
        if file.suffix in (".yaml", ".yml") and file.is_file() and not any(p.startswith(".") for p in inside.parts):
            texts[inside.as_posix()] = _text(file, inside.as_posix())
    return texts


def _text(file: Path, inside: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlaybookError([Diagnostic(inside, 0, "the file is not UTF-8 text", f"see byte {error.start}")]) from None
    except OSError as error:
        raise PlaybookError([Diagnostic(inside, 0, f"the file cannot be read: {error.strerror}")]) from None


def new(name: str) -> dict[str, str]:
    """The texts of a small playbook that passes its own tests, under a name of one's own."""
    texts = _gathered(files("kairos.playbook") / "starter", "")
    shown = json.dumps(" ".join(name.split()) or "Starter", ensure_ascii=False)
    texts["playbook.yaml"] = texts["playbook.yaml"].replace(NAMED, f"name: {shown}\n")
    return texts


def _gathered(folder: Traversable, inside: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            texts |= _gathered(entry, f"{inside}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            texts[inside + entry.name] = entry.read_text(encoding="utf-8")
    return texts
