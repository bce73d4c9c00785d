"""Every error kairos raises on purpose, and the diagnostic that all of them speak in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong, where it is, and what to do.

    >>> print(Diagnostic("offers/booster.yaml", 7, "unknown name `balanse`", "did you mean `balance`?"))
    offers/booster.yaml:7: unknown name `balanse`; did you mean `balance`?
    """

    file: str
    line: int  # 1-based; 0 where there is no line
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return place + self.message + (f"; {self.hint}" if self.hint else "")


class KairosError(Exception):
    """The root of the tree: catch this to catch everything kairos raises on purpose."""


class DiagnosedError(KairosError):
    """An error in what a person wrote, with one diagnostic or many."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(map(str, self.diagnostics)))


class RuleError(DiagnosedError):
    """A rule that cannot be parsed or typed."""


class PlaybookError(DiagnosedError):
    """A playbook that cannot be used as it is."""


class SettingsError(DiagnosedError):
    """Settings that cannot be used as they are."""


class ExtractError(DiagnosedError):
    """A file of another system that cannot be read."""


class EventError(KairosError):
    """An event that cannot be read; `field` is the user's own name of what is wrong."""

    def __init__(self, message: str, field: str = "") -> None:
        self.field = field
        super().__init__(message)


class ForbiddenError(KairosError):
    """Whoever asks may not do that."""


class StoreError(KairosError):
    """The store could not read or commit; nothing of the transaction was kept."""


class FallenError(StoreError):
    """A batch was not committed, because one that it stands on was not."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known word, or an empty text.

    >>> did_you_mean("balanse", ["balance", "plan"])
    'did you mean `balance`?'
    >>> did_you_mean("consent", ["plan", "marketing consent"])
    'did you mean `marketing consent`?'
    >>> did_you_mean("xyz", ["balance"])
    ''
    """
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1) or [name for name in names if len(word) > 3 and word in name]
    return f"did you mean `{near[0]}`?" if near else ""
