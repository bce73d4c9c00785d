"""One group of subscribers against those who were kept out of it: what a report of uplift has of it, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kairos.domain.money import Currency
from kairos.evaluate import Effect, Interval, balance, detectable, effect

if TYPE_CHECKING:
    from kairos.adapters.duckdb_uplift import Group

UNLIKELY = 0.001  # a check fails below this: it is made at every report
COUNTS = ("accepted",)  # measures that are no money


@dataclass(frozen=True, slots=True)
class Check:
    """Whether the comparison may be trusted, in words."""

    name: str
    sound: bool
    words: str


@dataclass(frozen=True, slots=True)
class Row:
    """One group of a cut (both empty: all) within a window: its sizes, and effects by measure."""

    cut: str
    name: str
    treated: int
    control: int
    effects: Mapping[str, Effect]

    @property
    def margin(self) -> Effect:
        return self.effects["margin"]

    def plain(self) -> dict[str, Any]:
        """As JSON has it; amounts in minor units."""
        effects = {
            measure: {
                "difference": one.difference._asdict(),
                "relative": one.relative._asdict() if one.relative else None,
                "p": one.p,
                "detectable_80": detectable(one.error),
                "variance_saved": one.saved,
            }
            for measure, one in self.effects.items()
        }
        return {"treated": self.treated, "control": self.control, "effects": effects}


def row_of(cut: str, name: str, group: Group, adjust: bool) -> Row | None:
    """None where too few are on either side. `adjust`: by what they did before (CUPED)."""
    effects = {
        measure: found
        for measure in group.treated
        if (found := effect(group.treated[measure], group.control[measure], adjust=adjust))
    }
    sizes = group.treated["margin"].n, group.control["margin"].n
    return Row(cut, name, *sizes, effects) if effects else None


def alike_before(group: Group, among: int = 1) -> bool:
    """Whether both sides did alike before. `among`: so many groups are looked at."""
    measures = ("recharges", "margin")
    return all(among * balance(group.treated[one], group.control[one]) >= UNLIKELY for one in measures)


def earned(row: Row, days: int, show: Currency) -> str:
    """As in `earned T$4.20 a subscriber in 30 days (95 %: +T$3.10 to +T$5.30, +6.1 %)`."""
    margin = row.margin
    word = "earned" if margin.difference.value > 0 else "lost"
    each = amount(abs(margin.difference.value), show, plus=False)
    relative = f", {percent(margin.relative.value)}" if margin.relative else ""
    return f"{word} {each} a subscriber in {days} days ({bounds(margin.difference, show)}{relative})"


def amount(minor: float, currency: Currency, *, plus: bool = True) -> str:
    """Minor units, which need not be whole, as a person reads them.

    >>> amount(42.4, Currency("XTS", 2, "T$")), amount(-123456, Currency("XTS", 2, "T$"))
    ('+T$0.42', '−T$1,234.56')
    """
    major = abs(minor) / 10**currency.digits
    nothing = round(major, currency.digits) == 0
    sign = "" if nothing else "−" if minor < 0 else "+" if plus else ""
    return f"{sign}{currency.sign or currency.code + ' '}{major:,.{0 if major >= 10_000 else currency.digits}f}"


def bounds(interval: Interval, currency: Currency) -> str:
    """As in `95 %: +T$3.10 to +T$5.30`."""
    return f"95 %: {amount(interval.low, currency)} to {amount(interval.high, currency)}"


def percent(share: float) -> str:
    return f"{share:+.1%}".replace("-", "−").replace("%", " %")


def told(interval: Interval, measure: str, currency: Currency) -> tuple[str, str]:
    """An estimate and its bounds."""
    if measure in COUNTS:
        return f"{interval.value:+.3f}".replace("-", "−"), f"{interval.low:.3f} to {interval.high:.3f}"
    low, high = (amount(bound, currency) for bound in interval[1:])
    return amount(interval.value, currency), f"{low} to {high}"


def date(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}"
