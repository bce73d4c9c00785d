"""A gateway may bring a step again, late, or out of its order: it gets the same screen, and nothing happens twice."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from kairos.ussd.dialogue import Show

AT_ONCE: Final = 500  # ms: nobody reads a screen and answers it sooner, so the same key again is a repeat of the step
BEGUN: Final = 10_000  # ms in which the same code again, on the same session, is the same dialogue

Kind = Literal["begin", "input", "abort", "timeout"]


class Heard(Struct, frozen=True, gc=False):
    """What a gateway says, whatever it speaks. `step`: the number of the screen that it answers; -1: it counts none."""

    session: str
    msisdn: str
    code: str
    text: str
    kind: Kind
    step: int = -1
    ahead: tuple[str, ...] = ()  # of a beginning: keys that were dialled with the code

    @property
    def keys(self) -> tuple[str, ...]:
        """All that it brings, whether it begins a dialogue or goes on with one."""
        return self.ahead if self.kind == "begin" else (*self.ahead, self.text)


class Steps:
    """The answers that a dialogue was given, by the number of the step (the code is 0)."""

    def __init__(self) -> None:
        self.answers: dict[int, Show] = {}
        self.keys: dict[int, tuple[str, ...]] = {}  # that they answer
        self.latest = Heard("", "", "", "", "begin")
        self.at = 0  # ms, when the latest answer was given

    @property
    def ended(self) -> bool:
        return bool(self.answers) and not self.answers[max(self.answers)].more

    def anew(self, heard: Heard) -> bool:
        """Whether the session's name is used again, for another dialogue: it begins after this one ended or was handed
        over, or brings other keys under a number that was answered."""
        if heard.kind == "begin":
            return self.ended or (bool(self.answers) and bool(self.answers[max(self.answers)].to))
        return heard.step in self.keys and self.keys[heard.step] != heard.keys

    def again(self, heard: Heard, now: int) -> Show | None:
        """The answer that this step was given before; None where it is a new one. A late one changes nothing: it is
        told where the dialogue stands."""
        if not self.answers:
            return None
        newest = self.answers[max(self.answers)]
        if heard.step >= 0:
            known = self.answers.get(heard.step)
            return known or (newest if heard.step < max(self.answers) or self.ended else None)
        if heard.kind == "begin":
            fresh = now - self.at <= BEGUN and len(self.answers) == 1 and self.latest.code == heard.code
            return newest if fresh else None
        at_once = now - self.at <= AT_ONCE and self.latest.kind == "input" and self.latest.text == heard.text
        return newest if self.ended or at_once else None

    def note(self, heard: Heard, answer: Show, now: int) -> None:
        step = heard.step if heard.step >= 0 else len(self.answers)
        self.answers[step], self.keys[step] = answer, heard.keys
        self.latest, self.at = heard, now
