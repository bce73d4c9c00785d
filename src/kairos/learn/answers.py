"""What was offered and what came of it: the ledger that models are learned from, and learned anew when it changes.

Nothing is learned from an offer before it was delivered. A yes (a reply, or a purchase through any door within the
window) counts in full as soon as it comes. An offer without an answer counts as a no by the share of yeses that would
have come by now, which is all of it at the end of the window: so nobody waits for the window, and late yeses do not
look like noes (to first order in the chance: log(1 - p F) = F log(1 - p)). A declined offer is a no; bought after all
within the window it is a yes. What is undone was never offered.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kairos.learn.features import Levels

OFFERED, WAITING, DECLINED, TAKEN, UNDONE = range(5)
FIELDS: Final = {
    "id": "i8",
    "arm": "i4",
    "at": "i8",  # when it was decided, then when it was delivered, ms
    "status": "i1",
    "delay": "i8",  # of a yes, ms
    "chance": "f4",  # that was expected
    "times": "f4",  # how many offers it stands for
}
DELAYS: Final = 2_000  # of the latest yeses


class Answers:
    """At most `capacity` offers. Ids that are not there (any more) are passed by.

    Where there is no more room, every second of the older offers that are no yes goes, and the next counts for both.
    """

    def __init__(self, columns: int, window: int, capacity: int = 200_000) -> None:
        self.window, self.capacity = window, capacity
        self.levels: Levels = np.zeros((1024, columns), np.uint8)
        self.rows: NDArray[Any] = np.zeros(1024, list(FIELDS.items()))
        self.count = 0
        self._place: dict[int, int] = {}
        self._bought: dict[int, int] = {}  # offers that nobody knows to have arrived -> when it was bought elsewhere

    def offer(self, ids: NDArray[Any], levels: Levels, arms: NDArray[Any], chances: NDArray[Any], at: int) -> None:
        """Offers that were decided at `at` (ms), with the model's chance of a yes for each."""
        many = len(ids)
        self._make_room(many)
        new = slice(self.count, self.count + many)
        self.levels[new] = levels
        rows = self.rows[new]
        rows["delay"], rows["times"] = 0, 1
        rows["id"], rows["arm"], rows["at"], rows["status"], rows["chance"] = ids, arms, at, OFFERED, chances
        self._place.update(zip(ids.tolist(), range(self.count, self.count + many), strict=True))
        self.count += many

    def deliver(self, id: int, at: int) -> None:  # noqa: A002
        """The handset has it: its window begins."""
        place = self._place.get(id)
        if place is not None and self.rows["status"][place] == OFFERED:
            self.rows["status"][place], self.rows["at"][place] = WAITING, at
            if id in self._bought:
                self.buy(id, self._bought.pop(id))

    def take(self, id: int, at: int) -> None:  # noqa: A002
        """A yes; one that comes after the window is no answer to the offer."""
        place = self._place.get(id)
        if place is None or self.rows["status"][place] not in (WAITING, DECLINED):
            return
        delay = at - int(self.rows["at"][place])
        if delay <= self.window:
            self.rows["status"][place], self.rows["delay"][place] = TAKEN, delay

    def buy(self, id: int, at: int) -> None:  # noqa: A002
        """Bought through another door: a yes once it had arrived; who had bought it before was asked in vain."""
        place = self._place.get(id)
        if place is None:
            return
        if self.rows["status"][place] == OFFERED:
            self._bought[id] = at  # receipts may be later than purchases
        elif at >= self.rows["at"][place]:
            self.take(id, at)
        else:
            self.undo(id)

    def decline(self, id: int) -> None:  # noqa: A002
        place = self._place.get(id)
        if place is not None and self.rows["status"][place] == WAITING:
            self.rows["status"][place] = DECLINED

    def undo(self, id: int) -> None:  # noqa: A002
        """The sale was reversed, or the message was never read: as if it had not been offered."""
        self._bought.pop(id, None)
        place = self._place.get(id)
        if place is not None:
            self.rows["status"][place] = UNDONE

    def weights(self, now: int) -> NDArray[np.float32]:
        """How much each offer counts, by what has been heard of it until now."""
        status, at = self.rows["status"][: self.count], self.rows["at"][: self.count]
        waiting = self.share_come(now - at)
        heard = np.select([status == WAITING, status == UNDONE, status == OFFERED], [waiting, 0, 0], 1)
        weights: NDArray[np.float32] = (heard * self.rows["times"][: self.count]).astype(np.float32)
        return weights

    def share_come(self, age: NDArray[Any]) -> NDArray[np.float64]:
        """The share of yeses that come within so many ms; without any known yet they are taken to come evenly."""
        evenly = np.clip(age / self.window, 0, 1)
        known = np.sort(self.rows["delay"][: self.count][self.taken][-DELAYS:])
        share = np.searchsorted(known, age, side="right") / max(len(known), 1)
        trust = len(known) / (len(known) + 20)
        return np.where(age >= self.window, 1.0, trust * share + (1 - trust) * evenly)

    @property
    def taken(self) -> NDArray[np.bool_]:
        return np.asarray(self.rows["status"][: self.count] == TAKEN)

    def _make_room(self, many: int) -> None:
        if self.count + many > self.capacity:
            self._thin(many)
        if self.count + many > len(self.rows):
            room = max(2 * len(self.rows), self.count + many)
            self.levels = np.resize(self.levels, (room, self.levels.shape[1]))
            self.rows = np.resize(self.rows, room)

    def _thin(self, many: int) -> None:
        """Of the older half every second that is no yes; and the oldest of all where that is not enough."""
        rows = self.rows[: self.count]
        others = np.flatnonzero(rows["status"][: self.count // 2] != TAKEN)
        gone, next_ones = others[: len(others) // 2 * 2 : 2], others[1::2]
        rows["times"][next_ones] += rows["times"][gone]
        kept = np.ones(self.count, np.bool_)
        kept[gone] = False
        room = max(0, self.capacity - many - self.capacity // 20)
        places = np.flatnonzero(kept)[-room:] if room else np.zeros(0, np.int64)
        self.count = len(places)
        self.rows[: self.count], self.levels[: self.count] = self.rows[places], self.levels[places]
        self._place = dict(zip(self.rows["id"][: self.count].tolist(), range(self.count), strict=True))
        self._bought = {id_: at for id_, at in self._bought.items() if id_ in self._place}
