"""The text of a settings file: what it says, and at which line."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import Any

from kairos.errors import Diagnostic, SettingsError
from kairos.settings.places import Place


def read_toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said, _, where = str(error).partition(" (at ")
        line = int(found[1]) if (found := re.match(r"line (\d+)", where)) else text.count("\n") + 1
        raise SettingsError([Diagnostic(file, line, f"this is not TOML: {said}")]) from None


HEADER = re.compile(r"\s*(\[\[?)\s*([^\]#]+?)\s*\]")
KEY = re.compile(r"""\s*([\w-]+|"[^"]*"|'[^']*')(\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*\s*=""")


def lines_of(text: str) -> dict[Place, int]:
    """The line of every section and key that begins a line; what is written inside a line is found by its section.

    >>> lines_of("[[patterns]]\\ntexts = []\\nwords.service = {}")
    {('patterns', 0): 1, ('patterns', 0, 'texts'): 2, ('patterns', 0, 'words', 'service'): 3}
    >>> lines_of("[smsc]\\n[[smsc.also]]\\nhost = 1\\n[[smsc.also]]")
    {('smsc',): 1, ('smsc', 'also', 0): 2, ('smsc', 'also', 0, 'host'): 3, ('smsc', 'also', 1): 4}
    """
    found: dict[Place, int] = {}
    seen: Counter[Place] = Counter()  # [[lists of sections]]
    section: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := HEADER.match(line):
            names = _steps(header[2])
            if header[1] == "[[":
                seen[names] += 1
                for inner in [inner for inner in seen if len(inner) > len(names) and inner[: len(names)] == names]:
                    del seen[inner]
            section = ()
            for depth, name in enumerate(names, 1):
                place_in_list = (seen[names[:depth]] - 1,) if seen[names[:depth]] else ()
                section = (*section, name, *place_in_list)
            found.setdefault(section, number)
        elif key := KEY.match(line):
            found.setdefault((*section, *_steps(key[0].rpartition("=")[0])), number)
    return found


def _steps(dotted: str) -> Place:
    return tuple(name.strip().strip("\"'") for name in dotted.split("."))
