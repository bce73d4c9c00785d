"""How purchases are found in the SQLite store, by whoever reads it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kairos.domain.purchase import Purchase

PURCHASE: Final = "SELECT record FROM purchase "
PURCHASES_OF: Final = PURCHASE + ("WHERE key = ? OR key BETWEEN ? || '~' AND ? || '~~' ORDER BY made, length(key), key")
"""By the offer's key, thrice: its own, and those that follow it with a `~`, the last of all printable characters."""

read_purchase = msgspec.msgpack.Decoder(Purchase).decode


def purchase_row(one: Purchase) -> tuple[Any, ...]:
    """Its columns, as they are written."""
    return (one.key, one.status, one.made, one.changed, msgspec.msgpack.encode(one))
