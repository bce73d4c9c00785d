"""Mappings in files of their own: the presets that kairos has, and those that a source names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec

from kairos.domain.source import Mapping as SourceMapping
from kairos.domain.source import Source, Where
from kairos.errors import Diagnostic, SettingsError, did_you_mean
from kairos.settings.file import lines_of, read_toml
from kairos.settings.misfits import misfits
from kairos.settings.places import Wrong
from kairos.settings.sections import Preset


def presets() -> dict[str, Traversable]:
    """The presets that kairos has, by name."""
    folder = files("kairos") / "ingest" / "presets"  # without what reading events needs
    found = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file for file in found if file.name.endswith(".toml")}


def from_presets(folder: Path, sources: Mapping[str, Source]) -> Iterator[SourceMapping]:
    """The mappings that sources bring in by `preset`: one of kairos's own, or a file. Raises SettingsError."""
    shipped = presets()
    for name, source in sources.items():
        if not source.preset:
            continue
        own = source.preset not in shipped
        file: Traversable = folder / source.preset if own else shipped[source.preset]
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            hint = did_you_mean(source.preset, shipped) or f"there are {', '.join(f'`{one}`' for one in shipped)}"
            what = f"`sources.{name}.preset`: `{source.preset}` is neither a preset nor a file that can be read"
            raise SettingsError([Diagnostic("", 0, what, f"{hint}, or name a TOML file")]) from None
        for mapping in read_preset(text, str(file) if own else f"preset {source.preset}"):
            yield msgspec.structs.replace(mapping, source=name, lenient=not own)


def read_preset(text: str, file: str) -> list[SourceMapping]:
    """The mappings of a file of their own. Raises SettingsError."""
    data = read_toml(text, file)
    wrong = Wrong(file, lines_of(text))
    for place, message, hint in misfits(data, Preset, ()):
        wrong.say(place, message, hint)
    wrong.end()
    return placed(msgspec.convert(data, Preset, strict=False).mappings, wrong)


def placed(mappings: list[SourceMapping], wrong: Wrong) -> list[SourceMapping]:
    """Mappings that know the lines of their keys: what is wrong with them shows only beside a playbook."""
    return [
        msgspec.structs.replace(
            mapping,
            where=Where(
                wrong.file,
                {
                    ".".join(step for step in place[2:] if isinstance(step, str)): line
                    for place, line in reversed(list(wrong.lines.items()))
                    if place[:2] == ("mappings", number)
                },
            ),
        )
        for number, mapping in enumerate(mappings)
    ]
