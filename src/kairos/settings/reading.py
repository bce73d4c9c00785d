"""Reading: a TOML file and the environment in, `Settings` out, or everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from kairos.errors import Diagnostic, SettingsError
from kairos.settings.checks import check
from kairos.settings.environment import override, variable
from kairos.settings.file import lines_of, read_toml
from kairos.settings.mappings import from_presets, placed
from kairos.settings.misfits import misfits
from kairos.settings.places import Wrong
from kairos.settings.secrets import secrets_in
from kairos.settings.sections import Audit, Channels, Learning, Section, Settings

S = TypeVar("S", bound=Section)


def load_settings(path: Path, environment: Mapping[str, str]) -> Settings:
    """Settings from a TOML file and the environment. Raises SettingsError with file, line and what to do."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError([Diagnostic(str(path), 0, "is not there", "name the file with --settings")]) from None
    except OSError as error:
        raise SettingsError([Diagnostic(str(path), 0, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError([Diagnostic(str(path), line, "is not UTF-8", "save it as UTF-8")]) from None
    settings = read_settings(text, environment, str(path))
    store = msgspec.structs.replace(settings.store, path=str(path.parent / settings.store.path))
    return msgspec.structs.replace(
        settings,
        playbook=str(path.parent / settings.playbook),
        registers=str(path.parent / settings.registers),
        store=store,
        learning=_with_model(path.parent, settings.learning),
        mappings=[*settings.mappings, *from_presets(path.parent, settings.sources)],
        http=_beside(path.parent, settings.http),
        oidc=_beside(path.parent, settings.oidc),
        audit=_with_folder(path.parent, settings.audit, store.path),
        notifications=_beside(path.parent, settings.notifications),
        smsc=_beside(path.parent, settings.smsc),
        ussd=_beside(path.parent, settings.ussd),
        channels=_with_files(path.parent, settings.channels),
    )


def _with_model(folder: Path, learning: Learning) -> Learning:
    """The section with its model seen from the folder of the settings."""
    model = str(folder / learning.model) if learning.model else ""
    return msgspec.structs.replace(learning, model=model)


def _with_folder(folder: Path, audit: Audit, store: str) -> Audit:
    """The section with its folder, seen from the settings, or beside the store."""
    return msgspec.structs.replace(audit, folder=str(folder / audit.folder) if audit.folder else f"{store}-audit")


def _with_files(folder: Path, channels: Channels) -> Channels:
    """The section with its files seen from the folder of the settings."""
    mms = msgspec.structs.replace(channels.mms, media=str(folder / channels.mms.media))
    return msgspec.structs.replace(channels, email=_beside(folder, channels.email), mms=mms)


def _beside(folder: Path, section: S) -> S:
    """The section with its files seen from the folder of the settings."""
    files = {name: getattr(section, name) for name in section.__struct_fields__ if name.endswith("_file")}
    return msgspec.structs.replace(section, **{name: str(folder / file) for name, file in files.items() if file})


def read_settings(text: str, environment: Mapping[str, str], file: str = "kairos.toml") -> Settings:
    """Settings from the text of a TOML file. Raises SettingsError with a diagnostic for everything that is wrong.

    >>> read_settings("[smsc]\\nport = 2776", {"KAIROS_SMSC_PORT": "3000"}).smsc.port
    3000
    """
    data = read_toml(text, file)
    wrong = Wrong(file, lines_of(text))
    for place in secrets_in(data, Settings, ()):
        wrong.say(place, f"`{place[-1]}` does not belong in the file", f"set {variable(place)} in the environment")
    wrong.variables = override(data, environment)
    for place, message, hint in misfits(data, Settings, ()):
        wrong.say(place, message, hint)
    wrong.end()
    settings = msgspec.convert(data, Settings, strict=False)
    for place, message, hint in check(settings):
        wrong.say(place, message, hint)
    wrong.end()
    return msgspec.structs.replace(settings, mappings=placed(settings.mappings, wrong))
