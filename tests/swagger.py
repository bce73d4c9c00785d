"""Published API definitions, which are not a part of this project: tests that judge by them skip where they are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

SPECS = Path(__file__).parents[2] / "shared" / "specs"


class Swagger:
    """A Swagger 2.0 document whose definitions judge bodies by their name."""

    def __init__(self, name: str) -> None:
        self.document: dict[str, Any] = json.loads((SPECS / name).read_text())

    def judge(self, definition: str, body: Any) -> None:
        """Raises jsonschema.ValidationError; `definition[]` is a list of them."""
        one = {"$ref": f"#/definitions/{definition.removesuffix('[]')}"}
        schema = {"type": "array", "items": one} if definition.endswith("[]") else one
        whole = {**schema, "definitions": self.document["definitions"]}
        jsonschema.Draft4Validator(whole, format_checker=jsonschema.FormatChecker()).validate(body)

    def judge_response(self, path: str, method: str, status: int, body: Any) -> None:
        """A response of an operation must be one that it has."""
        answers = self.document["paths"][path][method]["responses"]
        assert str(status) in answers, f"{method} {path} has no {status}"
        schema = answers[str(status)].get("schema")
        if schema is None:
            assert body in (None, "", b"")
            return
        listed = schema.get("type") == "array"
        name = (schema["items"] if listed else schema)["$ref"].rpartition("/")[2]
        self.judge(f"{name}[]" if listed else name, body)


def swagger(name: str) -> Swagger:
    """The published document, or the test is skipped."""
    if not (SPECS / name).exists():
        pytest.skip(f"no {name} beside this project")
    return Swagger(name)
