"""Places: where a setting stands, and what is wrong there."""

from __future__ import annotations

from collections.abc import Mapping

from kairos.errors import Diagnostic, SettingsError

Place = tuple[str | int, ...]  # the way to a value: names of sections and keys, positions in lists
Misfit = tuple[Place, str, str]  # where something is wrong, what, and what to do


class Wrong:
    """What is wrong so far, each at its line of the file, or at its variable of the environment."""

    def __init__(self, file: str, lines: Mapping[Place, int]) -> None:
        self.file, self.lines = file, lines
        self.variables: Mapping[Place, str] = {}
        self.said: list[Diagnostic] = []

    def say(self, place: Place, message: str, hint: str) -> None:
        within = [place[:length] for length in range(len(place), 0, -1)]
        if variable := next((self.variables[outer] for outer in within if outer in self.variables), ""):
            self.said.append(Diagnostic(variable, 0, message, hint))
            return
        alone = next((name for inner, name in self.variables.items() if inner[: len(place)] == place), "")
        if alone and place not in self.lines:  # the section is there because of the variable alone
            gone = f"there is no [{shown(place)}] in {self.file}; add it, or unset the variable"
            self.said.append(Diagnostic(alone, 0, message, hint or gone))
            return
        line = next((self.lines[outer] for outer in within if outer in self.lines), 0)
        self.said.append(Diagnostic(self.file, line, message, hint))

    def end(self) -> None:
        """Raises SettingsError where something was said, in the order of the lines."""
        if self.said:
            raise SettingsError(sorted(self.said, key=lambda said: (said.file != self.file, said.line)))


def shown(place: Place) -> str:
    return ".".join(step for step in place if isinstance(step, str))
