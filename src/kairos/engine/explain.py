"""Why: a decision's record, in the words of the playbook it was made with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol

from kairos.decide import AMOUNTS, BudgetFigures, Verdict, as_agreed, explain, figures, moment_of
from kairos.domain.budget import Key, Standing
from kairos.domain.decision import Decision, Drawn, read_decision
from kairos.domain.identity import Held
from kairos.domain.inputs import Response
from kairos.domain.instant import date_time
from kairos.domain.money import Currency
from kairos.domain.passage import Passage
from kairos.domain.purchase import Purchase
from kairos.domain.subscriber import Proof
from kairos.engine.choices import Choices, versions_in
from kairos.engine.program import Program
from kairos.engine.work import decode_state
from kairos.learn import on_channels, reasons, thaw, variants_of
from kairos.ports import Loaded
from kairos.rules import Type

OTHERS: Final = 5  # messages of other systems that are shown


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision with every arm's verdict, what was known at the moment, and what became of the offer."""

    decision: Decision
    playbook: str
    verdicts: tuple[Verdict, ...]
    known: dict[str, Any]  # column -> value, where there was one
    shown: dict[str, str]  # the same in words: money as money, times as times
    channel: str  # of what was said; empty where nothing was
    msisdn: str  # empty where the subscriber is not in the store any more
    responses: tuple[Response, ...]
    held: tuple[Held, ...] = ()  # who had their number, oldest first, where it ever changed hands
    ended: int = 0  # when their subscription ended, ms
    purchases: tuple[Purchase, ...] = ()  # what they became, step by step, with what the subscriber said
    consents: Mapping[str, Proof] = field(default_factory=dict)  # the last change of each, whenever it was
    budgets: tuple[tuple[BudgetFigures, Mapping[str, str]], ...] = ()  # of its period as they now stand, and in words
    reasons: tuple[tuple[str, float], ...] = ()  # what counted most for the model, with what it adds to the log-odds
    others: tuple[Passage, ...] = ()  # the latest messages of other systems to them, the newest first
    drawn: Drawn | None = None  # how likely the choice was; None where nothing was said, or it is not replayable


class Records(Protocol):
    """What explaining asks of a store (see `kairos.ports.Store`)."""

    @property
    def epoch(self) -> str: ...

    def epoch_of(self, decision: int) -> str: ...

    def load(self, names: Collection[str], subscribers: Collection[int]) -> Loaded: ...

    def holders(self, name: str) -> list[Held]: ...

    def decision(self, id: int) -> bytes | None: ...  # noqa: A002

    def responses(self, offer: str) -> list[Response]: ...

    def purchases_of(self, offer: str) -> list[Purchase]: ...

    def passages_to(self, subscriber: int, limit: int) -> list[Passage]: ...

    def budgets(self, keys: Collection[Key]) -> dict[Key, Standing]: ...

    def playbook(self, revision: str) -> dict[str, str] | None: ...

    def model(self, version: str) -> tuple[str, bytes] | None: ...

    def choices(self, decisions: Collection[int]) -> dict[int, Drawn]: ...


class Explainer:
    """Looks records up. `compile_texts` makes a program of a stored revision's texts."""

    def __init__(self, store: Records, compile_texts: Callable[[dict[str, str]], Program]) -> None:
        self.store = store
        self._program = lru_cache(maxsize=8)(lambda revision: self._compile(revision, compile_texts))
        self._choices = Choices(self._program, versions_in(store.model))

    def program(self, revision: str) -> Program | None:
        """The program of a revision; None where its playbook is gone."""
        return self._program(revision)

    def verdicts(self, blob: bytes | None) -> tuple[Decision, Program, list[Verdict]] | None:
        """A record and what was decided of every arm, without all that was known; None as for `decision`."""
        record = read_decision(blob) if blob else None
        program = self._program(record.revision) if record else None
        return (record, program, explain(program.decide, record)) if record and program else None

    def decision(self, number: int) -> Explanation | None:
        """One decision explained, or None where there is no such record or its playbook is gone."""
        found = self.verdicts(self.store.decision(number))
        if found is None:
            return None
        record, program, verdicts = found
        row = zip(program.decide.columns, record.row, strict=True)
        known = {name: value for name, value in row if value is not None}
        kinds, currency = program.playbook.vocabulary.names, program.playbook.currency
        blob = self.store.load([], [record.subscriber]).states.get(record.subscriber)
        state = decode_state(blob) if blob else None
        budgets = figures(program.decide, record.now, self.store.budgets)
        held = self.store.holders(state.msisdn) if state and state.msisdn else []
        return Explanation(
            decision=record,
            playbook=program.playbook.name,
            verdicts=tuple(verdicts),
            known=known,
            shown={name: in_words(value, kinds[name], currency) for name, value in known.items()},
            channel=program.decide.channels[record.chosen.channel] if record.chosen else "",
            msisdn=state.msisdn if state else "",
            held=tuple(held) if len(held) > 1 else (),
            ended=state.known.ended if state and state.known else 0,
            responses=tuple(self.store.responses(f"{self.store.epoch_of(number)}-{number}")),
            consents=state.proofs if state else {},
            budgets=tuple((one, in_money(one, currency)) for one in budgets),
            purchases=tuple(self.store.purchases_of(f"{self.store.epoch_of(number)}-{number}")),
            reasons=self._reasons(program, record),
            others=tuple(self.store.passages_to(record.subscriber, OTHERS)),
            drawn=self._drawn(record),
        )

    def _drawn(self, record: Decision) -> Drawn | None:
        """As it was logged; computed where it was not, from the version that chose."""
        kept = self.store.choices([record.id]) if record.chosen else {}
        return kept.get(record.id) or next(iter(self._choices.of([record])), None)

    def _reasons(self, program: Program, record: Decision) -> tuple[tuple[str, float], ...]:
        """Of what was chosen; none where no model was learned then, or its version is gone."""
        kept = self.store.model(record.model) if record.chosen else None
        if kept is None or record.chosen is None:
            return ()
        variants = on_channels(variants_of(program.playbook), program.decide.channels)
        variant = variants[record.chosen.channel * len(program.decide.arms) + record.chosen.arm]
        (known,) = as_agreed(program.decide, [moment_of(record)])
        return tuple(reasons(thaw(kept[1]), known, variant))

    def messages_to(self, name: str) -> list[Passage]:
        """The latest messages of other systems to a subscriber, the newest first."""
        subscriber = self.store.load([name], []).subscribers.get(name, 0)
        return self.store.passages_to(subscriber, OTHERS) if subscriber else []

    def latest(self, name: str) -> list[int] | None:
        """The ids of a subscriber's latest decisions, the newest first; None for one who is not known."""
        loaded = self.store.load([name], [])
        blob = loaded.states.get(loaded.subscribers.get(name, 0))
        return decode_state(blob).decisions[::-1] if blob else None

    def _compile(self, revision: str, compile_texts: Callable[[dict[str, str]], Program]) -> Program | None:
        texts = self.store.playbook(revision)
        return compile_texts(texts) if texts else None


def in_words(value: Any, kind: Type, currency: Currency) -> str:
    """A value as a person reads it.

    >>> in_words(1240, "money", Currency("XTS", 2, "T$")), in_words(118.0, "number", Currency("XTS"))
    ('T$12.40', '118')
    >>> in_words(1_772_625_600_000, "time", Currency("XTS")), in_words(20516, "date", Currency("XTS"))
    ('2026-03-04 12:00:00', '2026-03-04')
    """
    match kind:
        case "money" if isinstance(value, int):
            return currency.show(value)
        case "number" if isinstance(value, int | float):
            return f"{round(value, 3):.15g}"
        case "boolean":
            return "yes" if value else "no"
        case "time" if isinstance(value, int):
            return moment(value)
        case "date" if isinstance(value, int):
            return moment(value * 86_400_000)[:10]
    return str(value)


def in_money(figures: BudgetFigures, currency: Currency) -> dict[str, str]:
    """A budget's amounts as a person reads them: money as money, offers as their number."""
    show = str if figures.counts == "offers" else currency.show
    return {name: show(getattr(figures, name)) for name in AMOUNTS}


def moment(ms: int) -> str:
    """A time (ms since the epoch) as text, in UTC; one that no calendar has stays a number."""
    try:
        return f"{date_time(ms):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return str(ms)
