"""`kairos explain` shows a purchase: each yes with the identity it came under, and how each step ended."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from kairos.adapters.explanations import plain
from kairos.cli.explanation import picture
from kairos.domain.inputs import Fulfilment
from kairos.domain.subscriber import Bucket
from kairos.engine.explain import Explainer
from kairos.engine.program import compile_program
from kairos.playbook import read

DAY = 86_400_000


def test_the_proof_and_the_steps_are_shown(bench_with: Any) -> None:
    bench = bench_with(steps=("charge", "provision"))
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    bench.profile()
    bench.apply(bench.event("end_of_call", notification="n", service="v", cost=1, balances=balances))
    taken = bench.apply(bench.reply("Yes, 1"))
    (row,) = [row for row in taken.batch.outgoing if row.channel == "ocs"]
    (purchase,) = bench.store.purchases("", 2)
    bench.store.save_playbook(bench.program.playbook.revision, "", bench.program.playbook.texts)
    bench.apply(Fulfilment(row.id, row.subscriber, purchase.steps[0].key, "refused", bench.now, "barred"))
    explanation = Explainer(bench.store, lambda texts: compile_program(read(texts))).decision(1)
    assert explanation is not None
    console = Console(width=120, file=(out := StringIO()))
    console.print(picture(explanation))
    shown = " ".join(out.getvalue().split())
    assert f"purchase {purchase.key}: refused" in shown
    assert "said Yes, 1 reply/3" in shown
    assert "charge refused barred" in shown
    (told,) = plain(explanation)["purchases"]
    assert (told["proof"][0]["text"], told["steps"][0]["status"]) == ("Yes, 1", "refused")
