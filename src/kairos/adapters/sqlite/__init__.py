"""The store of one machine, in a SQLite file.

store        the port itself: what is loaded, committed and asked; `process` runs it in a process of its own
schema       the tables, step by step; `statements`: many rows in one step of SQLite
journal      where states are kept; `checkpoint`, `retention`: the upkeep of the file
budgets, choices, letters, passages, purchases, switches   the rows of each
erasure      what forgets a person in the engine's transaction; `sweep`: the rest, beside the engine
file         the file in the hands of others, beside a running kairos or while none runs; on it stand `records`
             (what `kairos explain` and reports read), `person` (all of one person), `lessons` (what a model learns
             from, and its versions) and `queries` (TMF680)
backup       copies of the file, and a store made of one again
"""

from kairos.adapters.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
