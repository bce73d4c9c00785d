"""A propensity model that somebody brings: an ONNX file, run by onnxruntime (the extra `onnx`).

Each of its inputs has the name of one column of the vocabulary, or of what is said of a variant, and one value for each
row; see docs/learning.md. It runs in a thread of its own, and whoever decides waits for it only so long.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from kairos.domain.moment import Moment
from kairos.domain.pairs import Pairs
from kairos.engine.program import Program
from kairos.errors import Diagnostic, SettingsError, did_you_mean
from kairos.learn import BROUGHT, Variant, variants_of
from kairos.rules import Names

log = structlog.get_logger("kairos.model")

KIND: Final = "event.kind"  # what happened
CHANNEL: Final = "variant.channel"
ABOUT: Final = {  # a variant -> how it is read, and its type
    "variant.name": ("name", "text"),
    "variant.content": ("content", "text"),
    "variant.size": ("size", "number"),
    "variant.price": ("price", "number"),
    "variant.validity": ("validity", "number"),
}
NUMBERS: Final[Mapping[str, type[np.floating[Any]]]] = {"tensor(float)": np.float32, "tensor(double)": np.float64}
TEXT: Final = "tensor(string)"

Run = Callable[[dict[str, NDArray[Any]]], NDArray[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its name, the numbers that it takes (None: texts), and whether they stand in a column of a table."""

    name: str
    number: type[np.floating[Any]] | None
    column: bool


class OnnxModel:
    """The model of a file, for every playbook. Raises SettingsError where it cannot be used.

    `within`: seconds that whoever decides waits for one batch.
    """

    def __init__(self, path: Path, within: float) -> None:
        self.path, self.within = path, within
        content = self._content()
        self.version = f"{BROUGHT}{hashlib.blake2b(content, digest_size=6).hexdigest()}"
        self.trouble = ""  # why it gave no scores the last time
        self._run, inputs, outputs = self._open(content)
        self.inputs = [self._input(*one) for one in inputs]
        self.output = self._output(outputs)
        self._asked = SimpleQueue[tuple[Future[NDArray[Any]], dict[str, NDArray[Any]]]]()
        self._late: Future[NDArray[Any]] | None = None
        threading.Thread(target=self._serve, daemon=True).start()  # should it hang, we can end all the same

    def check(self, program: Program) -> None:
        """Raises SettingsError for each input that this playbook has no word for, or one of another type."""
        words = words_of(program.playbook.vocabulary.names)
        found = [wrong for one in self.inputs for wrong in self._wrong(one, words)]
        if found:
            raise SettingsError(found)

    def scorer_of(self, program: Program) -> OnnxPropensity:
        return OnnxPropensity(self, program)

    def run(self, columns: Callable[[], dict[str, NDArray[Any]]], rows: int) -> Floats:
        """The chance of a yes for each row; NaN where it gives none, or gives it too late."""
        try:
            if self._late and not self._late.done():
                raise TimeoutError
            asked = columns()
            self._late = Future()
            self._asked.put((self._late, asked))
            chances = self._chances(self._late.result(self.within), rows)
        except TimeoutError:
            self._tell(f"it takes longer than {self.within * 1000:g} ms")
        except Exception as error:  # whatever is wrong with it, nothing of kairos waits for it
            self._tell(str(error) or repr(error))
        else:
            broken = int(np.isnan(chances).sum())
            self._tell(f"of {rows} chances {broken} are none from 0 to 1" if broken else "")
            return chances
        return np.full(rows, np.nan)

    def _serve(self) -> None:
        while True:
            future, columns = self._asked.get()
            try:
                future.set_result(self._run(columns))
            except Exception as error:
                future.set_exception(error)

    def _chances(self, given: NDArray[Any], rows: int) -> Floats:
        chances = np.asarray(given, np.float64)
        if chances.ndim == 2 and chances.shape[1] == 2:  # of a no and of a yes
            chances = chances[:, 1]
        if chances.size != rows:
            raise ValueError(f"it gives {chances.size} chances for {rows} rows")
        chances = chances.reshape(rows)
        return np.where((chances >= 0) & (chances <= 1), chances, np.nan)

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.error("the model gives no scores: marketing is silent", model=self.version, reason=trouble)
        self.trouble = trouble

    # -- the file ------------------------------------------------------------------------------------------------------

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise self._refused(f"cannot be read: {error.strerror}", "name the file in [learning] `model`") from None

    def _open(self, content: bytes) -> tuple[Run, list[tuple[str, str, Any]], list[tuple[str, str, Any]]]:
        try:
            ort: Any = import_module("onnxruntime")
        except ImportError:
            raise self._refused("needs onnxruntime", "install it: pip install 'kairos-cvm[onnx]'") from None
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the processor is for deciding
        options.log_severity_level = 4
        try:
            session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            raise self._refused(f"is no model that onnxruntime reads: {reason}", "export it as ONNX again") from None

        def run(columns: dict[str, NDArray[Any]]) -> NDArray[Any]:
            found: NDArray[Any] = session.run([self.output], columns)[0]
            return found

        inputs = [(one.name, one.type, one.shape) for one in session.get_inputs()]
        return run, inputs, [(one.name, one.type, one.shape) for one in session.get_outputs()]

    def _input(self, name: str, kind: str, shape: Sequence[Any]) -> Input:
        many = len(shape) > 2 or (len(shape) == 2 and shape[1] != 1)
        if many or not shape:
            hint = "give each column an input of its own, of shape [N] or [N, 1]"
            raise self._refused(f"the input `{name}` has the shape {list(shape)}", hint)
        if isinstance(shape[0], int):
            raise self._refused(f"the input `{name}` takes {shape[0]} rows, no more, no less", "leave the first open")
        if kind not in (TEXT, *NUMBERS):
            hint = "make it tensor(float), where NaN is unknown, or tensor(string), where the empty text is"
            raise self._refused(f"the input `{name}` is {kind}", hint)
        return Input(name, NUMBERS.get(kind), len(shape) == 2)

    def _output(self, outputs: Sequence[tuple[str, str, Any]]) -> str:
        chances = [name for name, kind, _ in outputs if kind in NUMBERS]
        if len(chances) != 1:
            told = ", ".join(f"`{name}` {kind}" for name, kind, _ in outputs)
            hint = "leave one tensor(float) output, the chance of a yes (with scikit-learn: zipmap=False)"
            raise self._refused(f"which output is the chance of a yes? It has {told}", hint)
        return chances[0]

    def _wrong(self, one: Input, words: Mapping[str, str]) -> list[Diagnostic]:
        kind = words.get(one.name)
        if kind is None:
            hint = did_you_mean(one.name, words) or "name it for a column of the vocabulary; see docs/learning.md"
            return [Diagnostic(str(self.path), 0, f"the input `{one.name}` is no word of the vocabulary", hint)]
        if (kind == "text") != (one.number is None):
            wanted = TEXT if kind == "text" else "tensor(float)"
            given = TEXT if one.number is None else "a tensor of numbers"
            return [
                Diagnostic(
                    str(self.path), 0, f"the input `{one.name}` is {given}, and the word {kind}", f"make it {wanted}"
                )
            ]
        return []

    def _refused(self, what: str, hint: str) -> SettingsError:
        return SettingsError([Diagnostic(str(self.path), 0, what, hint)])


class OnnxPropensity:
    """A Scorer: the model of a file, for the arms and channels of one playbook."""

    def __init__(self, model: OnnxModel, program: Program) -> None:
        self.model = model
        self.version = model.version
        self._places = {name: place for place, name in enumerate(program.decide.columns)}
        variants = variants_of(program.playbook)
        self._about = {name: _column(one, variants) for name, one in ABOUT.items()}
        self._channels = np.array(program.decide.channels, object)

    def score(self, pairs: Pairs, moments: Sequence[Moment]) -> Floats:
        """float64, one for each row of `pairs`; NaN where the model gives none."""
        return self.model.run(lambda: self._columns(pairs, moments), len(pairs.arm))

    def _columns(self, pairs: Pairs, moments: Sequence[Moment]) -> dict[str, NDArray[Any]]:
        values = {one.name: self._values(one, pairs, moments) for one in self.model.inputs}
        return {
            one.name: values[one.name].reshape(-1, 1) if one.column else values[one.name] for one in self.model.inputs
        }

    def _values(self, one: Input, pairs: Pairs, moments: Sequence[Moment]) -> NDArray[Any]:
        if one.name in self._about:
            return self._about[one.name].astype(one.number or object)[pairs.arm]
        if one.name == CHANNEL:
            return self._channels[pairs.channel]
        if one.name == KIND:
            return np.array([moment.kind for moment in moments], object)[pairs.moment]
        place = self._places[one.name]
        values = [moment.row[place] for moment in moments]
        if one.number is None:
            return np.array(["" if value is None else value for value in values], object)[pairs.moment]
        return np.array(values, np.float64).astype(one.number)[pairs.moment]  # None becomes NaN


def _column(about: tuple[str, str], variants: Sequence[Variant]) -> NDArray[Any]:
    field, kind = about
    return np.array([getattr(variant, field) for variant in variants], object if kind == "text" else np.float64)


def words_of(names: Names) -> dict[str, str]:
    """What an input may be named, and its type."""
    columns = {name: str(kind) for name, kind in names.items()}
    return columns | {name: kind for name, (_, kind) in ABOUT.items()} | {CHANNEL: "text", KIND: "text"}
