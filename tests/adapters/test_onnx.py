"""A model that somebody brings: what it may be called with, what it says, and what becomes of it where it is broken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import HOUR, TEXTS, Bench

from kairos.adapters.memory import MemoryStore
from kairos.adapters.onnx import OnnxModel, Run
from kairos.bootstrap import Kairos, open_playbook
from kairos.decide import explain
from kairos.domain.decision import Decision, Drawn
from kairos.domain.subscriber import Bucket
from kairos.engine.choices import Choices
from kairos.engine.program import Program
from kairos.engine.replay import Target, outcomes_of, replay
from kairos.errors import SettingsError
from kairos.settings import load_settings

needs_onnx = pytest.mark.skipif(
    not (find_spec("onnx") and find_spec("onnxruntime")),
    reason="onnx and onnxruntime are not installed; `make test-peers` gets them",
)
PRICE = ("variant.price", "tensor(float)", ["N"])
CHANCE = ("chance", "tensor(float)", ["N"])
Columns = Mapping[str, NDArray[Any]]


def dear_is_liked(columns: Columns) -> NDArray[Any]:
    return np.asarray(columns["variant.price"] / 10_000)


class Brought(OnnxModel):
    """A model without onnxruntime: `says` in its place, of these inputs and outputs."""

    def __init__(
        self,
        path: Path,
        says: Callable[[Columns], NDArray[Any]] = dear_is_liked,
        inputs: list[Any] | None = None,
        outputs: list[Any] | None = None,
        within: float = 20.0,
    ) -> None:
        self.calls: list[Columns] = []
        self._says, self._shape = says, ([PRICE] if inputs is None else inputs, outputs or [CHANCE])
        path.write_bytes(b"a model")
        super().__init__(path, within)

    def _open(self, content: bytes) -> tuple[Run, Any, Any]:
        def run(columns: dict[str, NDArray[Any]]) -> NDArray[Any]:
            self.calls.append(columns)
            return self._says(columns)

        return run, *self._shape


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "own.onnx"


def ruled_by(bench: Bench, model: OnnxModel) -> Bench:
    model.check(bench.program)
    bench.engine.scorer_of = model.scorer_of
    bench.engine.scorer = model.scorer_of(bench.program)
    bench.profile()
    return bench


def call(bench: Bench, *, cost: int = 100) -> Decision:
    """booster/small and booster/large may be said, and after a dear call the hint, which is care."""
    balances = [Bucket("main", 5000), Bucket("data", 1000, bench.now + HOUR)]
    work = bench.apply(
        bench.event("end_of_call", notification="A call.", service="voice", cost=cost, balances=balances)
    )
    ((_, _, _, record),) = work.batch.decisions
    assert [row.channel for row in work.batch.outgoing] == ["notification"], "it goes out, whatever the model does"
    return msgspec.msgpack.decode(record, type=Decision)


def chosen(bench: Bench, decision: Decision) -> str:
    return bench.program.decide.arms[decision.chosen.arm].name if decision.chosen else ""


@pytest.mark.parametrize(
    ("says", "said"), [(lambda c: c["variant.price"] / 10_000, "large"), (lambda c: 1 / c["variant.price"], "small")]
)
def test_it_scores_and_every_decision_names_it(bench: Bench, file: Path, says: Any, said: str) -> None:
    model = Brought(
        file, lambda c: np.asarray(says(c)) * np.where(c["variant.price"] > 2000, 1 if said == "large" else 0.01, 1)
    )
    decision = call(ruled_by(bench, model))
    assert chosen(bench, decision) == f"booster/{said}"
    assert decision.model == model.version
    assert decision.model.startswith("onnx-")
    assert len(model.calls) == 1, "one call for all candidates"


def test_every_word_reaches_it_by_its_name(bench: Bench, file: Path) -> None:
    names = {
        "balance": "tensor(double)",
        "open_tickets": "tensor(float)",
        "marketing_consent": "tensor(float)",
        "language": "tensor(string)",
        "plan": "tensor(string)",
        "end_of_call.cost": "tensor(float)",
        "recharge.amount": "tensor(float)",
        "recharges_30d": "tensor(float)",
        "event.kind": "tensor(string)",
        "variant.name": "tensor(string)",
        "variant.content": "tensor(string)",
        "variant.size": "tensor(float)",
        "variant.price": "tensor(float)",
        "variant.validity": "tensor(float)",
        "variant.channel": "tensor(string)",
    }
    inputs = [(name, kind, ["N", 1] if name == "plan" else ["N"]) for name, kind in names.items()]
    model = Brought(file, inputs=inputs)
    call(ruled_by(bench, model))
    (columns,) = model.calls
    told = {name: column.tolist() for name, column in columns.items()}
    assert np.isnan(told.pop("recharge.amount")).all(), "unknown"
    assert told == {
        "balance": [5000, 5000],
        "open_tickets": [0, 0],
        "marketing_consent": [1, 1],
        "language": ["en", "en"],
        "plan": [["prepaid"], ["prepaid"]],
        "end_of_call.cost": [100, 100],
        "recharges_30d": [0, 0],
        "event.kind": ["end_of_call"] * 2,
        "variant.name": ["booster/small", "booster/large"],
        "variant.content": ["upsell data"] * 2,
        "variant.size": [500, 2000],
        "variant.price": [1000, 4500],
        "variant.validity": [1, 7],
        "variant.channel": ["notification"] * 2,
    }
    assert columns["balance"].dtype == np.float64
    assert columns["end_of_call.cost"].dtype == np.float32


WRONG: dict[str, tuple[list[Any], list[Any], str]] = {
    "a word that is none": (
        [("balanse", "tensor(float)", ["N"])],
        [CHANCE],
        "`balanse` is no word of the vocabulary; did you mean `balance`?",
    ),
    "a text as a number": (
        [("plan", "tensor(float)", ["N"])],
        [CHANCE],
        "`plan` is a tensor of numbers, and the word text; make it tensor(string)",
    ),
    "a number as a text": (
        [("balance", "tensor(string)", ["N"])],
        [CHANCE],
        "`balance` is tensor(string), and the word money; make it tensor(float)",
    ),
    "whole numbers": (
        [("balance", "tensor(int64)", ["N"])],
        [CHANCE],
        "`balance` is tensor(int64); make it tensor(float), where NaN is unknown",
    ),
    "a table": (
        [("input", "tensor(float)", ["N", 12])],
        [CHANCE],
        "`input` has the shape ['N', 12]; give each column an input of its own",
    ),
    "one row": (
        [("balance", "tensor(float)", [1])],
        [CHANCE],
        "`balance` takes 1 rows, no more, no less; leave the first open",
    ),
    "two outputs": (
        [PRICE],
        [CHANCE, ("also", "tensor(float)", ["N"])],
        "which output is the chance of a yes? It has `chance` tensor(float), `also`",
    ),
    "a map": ([PRICE], [("probabilities", "seq(map(int64,tensor(float)))", [])], "leave one tensor(float) output"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_it_cannot_be_called_with_is_said_with_what_to_do(bench: Bench, file: Path, wrong: str) -> None:
    inputs, outputs, why = WRONG[wrong]
    with pytest.raises(SettingsError) as raised:
        Brought(file, inputs=inputs, outputs=outputs).check(bench.program)
    (found,) = raised.value.diagnostics
    assert found.file == str(file)
    assert why in str(found)


def test_what_is_no_file_or_needs_an_extra_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file or directory; name the file in"):
        OnnxModel(file, 1.0)
    file.write_bytes(b"a model")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(SettingsError, match=r"needs onnxruntime; install it: pip install 'kairos-cvm\[onnx\]'"):
        OnnxModel(file, 1.0)


def broken(_columns: Columns) -> NDArray[Any]:
    raise RuntimeError("a node has no kernel")


BROKEN: dict[str, tuple[Callable[[Columns], Any], str]] = {
    "it raises": (broken, "a node has no kernel"),
    "it gives too few": (lambda _: np.zeros(1), "it gives 1 chances for 3 rows"),
    "it gives no chances": (lambda _: np.full(3, np.nan), "of 3 chances 3 are none from 0 to 1"),
    "it gives more than chances": (lambda _: np.full(3, 1.5), "of 3 chances 3 are none from 0 to 1"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_model_silences_marketing_and_nothing_else(bench: Bench, file: Path, how: str) -> None:
    says, why = BROKEN[how]
    model = Brought(file, says)
    decision = call(ruled_by(bench, model), cost=400)
    assert chosen(bench, decision) == "off_peak_hint/night", "care goes on"
    verdicts = {v.arm: (v.state, v.reason) for v in explain(bench.program.decide, decision)}
    assert verdicts["booster/small"] == verdicts["booster/large"] == ("limit", "no score")
    assert model.trouble == why
    model._says = dear_is_liked
    assert chosen(bench, call(bench)) == "booster/large"
    assert model.trouble == ""


def test_of_a_model_that_gives_some_scores_these_count(bench: Bench, file: Path) -> None:
    model = Brought(file, lambda c: np.where(c["variant.price"] > 2000, np.nan, 0.1))
    decision = call(ruled_by(bench, model))
    assert chosen(bench, decision) == "booster/small"


def test_one_that_hangs_is_not_waited_for(bench: Bench, file: Path) -> None:
    begun, released = threading.Event(), threading.Event()

    def hangs(columns: Columns) -> NDArray[Any]:
        begun.set()
        released.wait(60)
        return dear_is_liked(columns)

    model = Brought(file, hangs, within=0.01)
    ruled_by(bench, model)
    try:
        assert chosen(bench, call(bench)) == ""
        assert begun.wait(60)
        for _ in range(2):
            assert chosen(bench, call(bench)) == ""
        assert len(model.calls) == 1
        assert model._asked.qsize() == 0, "while it is at it, nobody asks again"
        assert model.trouble == "it takes longer than 10 ms"
    finally:
        released.set()
    assert model._late is not None
    model._late.result(60)
    model.within = 20.0
    assert chosen(bench, call(bench)) == "booster/large"


def test_a_new_playbook_without_its_words_is_refused_and_the_old_one_stays(bench: Bench, file: Path) -> None:
    model = Brought(file, inputs=[("open_tickets", "tensor(float)", ["N"]), PRICE])
    ruled_by(bench, model)
    renamed = {name: text.replace("open_tickets", "open_ticket") for name, text in TEXTS.items()}
    store = MemoryStore()
    with pytest.raises(SettingsError, match="`open_tickets` is no word of the vocabulary; did you mean `open_ticket`"):
        open_playbook(store, renamed, bench.program.playbook, model.check)
    assert store.playbook_with_layout(bench.program.playbook.vocabulary.layout) is None


def test_how_likely_its_choices_were_is_told_by_the_records_without_it(bench: Bench, file: Path) -> None:
    model = Brought(file)
    one = call(ruled_by(bench, model))
    programs: dict[str, Program] = {bench.program.decide.revision: bench.program}
    assert Choices(programs.get, lambda _: None).of([one]) == [Drawn(one.id, 1.0, "exact", 0.0)]
    made = replay(
        [msgspec.msgpack.encode(one)],
        programs.get,
        lambda _: None,
        outcomes_of([]),
        Target(model="fixed-0.05"),
        window=HOUR,
        end=one.now + HOUR,
    )
    assert (made.unversioned, list(made.probability)) == (0, [1.0])


async def test_a_server_whose_settings_name_one_decides_by_it(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kairos.toml").write_text('[learning]\nmodel = "models/own.onnx"\nmodel_within_ms = 30\n')
    chosen = load_settings(tmp_path / "kairos.toml", {})
    with pytest.raises(SettingsError, match="cannot be read: No such file or directory"):
        Kairos(chosen, MemoryStore(), bench.program)
    (tmp_path / "models").mkdir()
    monkeypatch.setattr("kairos.bootstrap.playbooks.OnnxModel", lambda path, within: Brought(path, within=within))
    server = Kairos(chosen, MemoryStore(), bench.program)
    assert server.engine.scorer.version.startswith("onnx-")
    server.engine.use(bench.program)
    assert server.engine.scorer.version.startswith("onnx-"), "under another playbook, too"
    assert server.model is not None
    assert (server.model.path, server.model.within) == (tmp_path / "models" / "own.onnx", 0.03)
    server.model.trouble = "it takes longer than 30 ms"
    (trouble,) = [told for told in server.status.troubles() if "model" in told]
    assert trouble.endswith("gives no scores, and marketing is silent: it takes longer than 30 ms")
    await server.fulfiller.close()


@pytest.mark.peers
@needs_onnx
def test_a_real_model_scores_and_a_real_broken_one_is_silent(bench: Bench, file: Path) -> None:
    """chance = sigmoid(price / 1000 - 6 + known words of the plan), and NaN where the balance is unknown."""
    onnx: Any = import_module("onnx")
    helper, numbers = onnx.helper, onnx.TensorProto
    inputs = [
        helper.make_tensor_value_info("variant.price", numbers.FLOAT, ["N"]),
        helper.make_tensor_value_info("balance", numbers.FLOAT, ["N"]),
        helper.make_tensor_value_info("plan", numbers.STRING, ["N", 1]),
    ]
    output = helper.make_tensor_value_info("chance", numbers.FLOAT, ["N"])
    constants = [
        helper.make_tensor("thousand", numbers.FLOAT, [], [1000.0]),
        helper.make_tensor("six", numbers.FLOAT, [], [6.0]),
        helper.make_tensor("nothing", numbers.FLOAT, [], [0.0]),
        helper.make_tensor("all", numbers.INT64, [1], [-1]),
    ]
    nodes = [
        helper.make_node("Div", ["variant.price", "thousand"], ["price"]),
        helper.make_node("Sub", ["price", "six"], ["from_six"]),
        helper.make_node("Mul", ["balance", "nothing"], ["or_unknown"]),
        helper.make_node(
            "LabelEncoder",
            ["plan"],
            ["liking"],
            domain="ai.onnx.ml",
            keys_strings=["prepaid"],
            values_floats=[1.0],
            default_float=0.0,
        ),
        helper.make_node("Reshape", ["liking", "all"], ["flat"]),
        helper.make_node("Sum", ["from_six", "or_unknown", "flat"], ["odds"]),
        helper.make_node("Sigmoid", ["odds"], ["chance"]),
    ]
    graph = helper.make_graph(nodes, "own", inputs, [output], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    written = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(written)
    file.write_bytes(written.SerializeToString())
    model = OnnxModel(file, within=20.0)
    decision = call(ruled_by(bench, model))
    assert model.trouble == ""
    assert chosen(bench, decision) == "booster/large"
    price = np.array([1.0, 4.5])
    np.testing.assert_allclose(decision.scores.propensity, 1 / (1 + np.exp(6 - 1 - price)), rtol=1e-5)
    file.write_bytes(written.SerializeToString()[:-40])
    with pytest.raises(SettingsError, match="is no model that onnxruntime reads"):
        OnnxModel(file, within=20.0)
