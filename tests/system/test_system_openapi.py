"""The running server is held to its own OpenAPI document, by whatever schemathesis makes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid" / "kairos.toml"
NUMBER = "+12025550123"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
# What waits on somebody else, or stops what the others need.
LEFT_OUT = {("PUT", "/v1/switches/{name}")}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose lock is open, with a subscriber who has an offer."""
    folder = tmp_path_factory.mktemp("openapi")
    ours = {
        "KAIROS_SMSC_PASSWORD": "one",
        "KAIROS_SMSC_PORT": "1",
        "KAIROS_CHANNELS_IVR_SECRET": "whsec_" + "MDEy" * 8,
        "KAIROS_CHANNELS_IVR_KEY": "thediallerknowsit",
        "KAIROS_ACCOUNTS_OCS_PASSWORD": "two",
        "KAIROS_ACCOUNTS_INFO_PASSWORD": "three",
        "KAIROS_STORE_PATH": str(folder / "kairos.db"),
        "KAIROS_HTTP_PORT": "0",
        "KAIROS_HTTP_INSECURE": "true",
        "KAIROS_NOTIFICATIONS_PORT": "0",
        "KAIROS_LEARNING_ON": "false",
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KAIROS_")}
    command = [sys.executable, "-m", "kairos.cli", "run", "--settings", str(EXAMPLE), "--announce"]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, env=clean | ours, stdout=subprocess.PIPE, stderr=log, cwd=folder)
    assert process.stdout is not None
    url = f"http://127.0.0.1:{json.loads(process.stdout.readline())['http_port']}"
    known = {"plan": "prepaid", "language": "en", "marketing_consent": True}
    balances = [{"wallet": "main", "amount": "5.00"}, {"wallet": "data", "amount": "100"}]
    happened(url, "profile", known)
    happened(url, "recharge", {"amount": "5.00", "balances": balances})
    for call in range(3):
        happened(url, "end_of_call", {"service": "voice", "cost": "0.10"}, str(call))
    yield url
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    log.close()


def happened(url: str, kind: str, data: dict[str, Any], identity: str = "1") -> None:
    event = {"specversion": "1.0", "type": kind, "source": kind, "id": identity, "subject": NUMBER}
    body = event | {"time": datetime.now(UTC).isoformat(), "data": data}
    answer = httpx.post(f"{url}/v1/events", json=body, headers={"content-type": "application/cloudevents+json"})
    assert answer.json()["results"][0]["status"] == "applied", answer.text


def hold(url: str, most: int) -> int:
    """Every operation to its document, with so many made-up requests each; how many there were."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", timeout=30)
    count = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if (operation.method.upper(), operation.path) in LEFT_OUT:
            continue

        @settings(
            max_examples=most,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @given(case=operation.as_strategy())
        def held(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(checks=CHECKS, timeout=30)

        held()
        count += 1
    return count


def test_what_is_made_up_is_answered_as_the_document_says(door: str) -> None:
    assert hold(door, 2) >= 22


@pytest.mark.long
def test_a_thousand_times_more(door: str) -> None:
    assert hold(door, 300) >= 22


def test_what_is_there_is_answered_as_the_document_says(door: str) -> None:
    """Made-up requests mostly find nothing: these find what they ask for."""
    with httpx.Client(base_url=door, timeout=30) as client:
        _find_and_judge(client)


def _find_and_judge(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    base = "/tmf-api/recommendationManagement/v4"
    asked = {"subscriber": NUMBER, "channel": "care"}
    told = client.post("/v1/decisions", json=asked | {"id": "1"})
    assert told.json()["offers"], told.text
    offer = told.json()["offers"][0]["offer"]
    said = asked | {"id": "2", "offer": offer, "answer": "accept"}
    party = {"relatedParty": {"id": NUMBER, "@referredType": "Individual"}}
    kept = client.post(f"{base}/queryProductRecommendation", json=party).json()["id"]
    seen = [
        ("post", "/v1/decisions", told),
        ("post", "/v1/responses", client.post("/v1/responses", json=said)),
        ("get", "/v1/subscribers/{name}", client.get(f"/v1/subscribers/{NUMBER}")),
        ("get", "/v1/subscribers/{msisdn}/decisions", client.get(f"/v1/subscribers/{NUMBER}/decisions")),
        ("get", "/v1/decisions/{decision}", client.get(f"/v1/decisions/{told.json()['decision']}")),
        ("get", "/v1/purchases/{key}", client.get(f"/v1/purchases/{offer}")),
        ("get", "/v1/subscribers/{name}/export", client.get(f"/v1/subscribers/{NUMBER}/export")),
        ("put", "/v1/switches/{name}", client.put("/v1/switches/marketing", json={"on": True})),
        ("get", "/v1/switches", client.get("/v1/switches")),
        ("get", "/v1/status", client.get("/v1/status")),
        ("get", "/v1/stats", client.get("/v1/stats")),
        ("get", "/health", client.get("/health")),
        ("get", f"{base}/queryProductRecommendation", client.get(f"{base}/queryProductRecommendation")),
        ("get", f"{base}/queryProductRecommendation/{{key}}", client.get(f"{base}/queryProductRecommendation/{kept}")),
        ("delete", "/v1/subscribers/{name}", client.delete(f"/v1/subscribers/{NUMBER}?force=true")),
        ("get", "/v1/erasures", client.get("/v1/erasures")),
    ]
    for method, path, answer in seen:
        assert answer.status_code < 400, f"{method} {path}: {answer.text}"
        content = document["paths"][path][method]["responses"][str(answer.status_code)]["content"]
        media = answer.headers["content-type"].partition(";")[0]
        whole = content[media]["schema"] | {"components": document["components"]}
        jsonschema.Draft202012Validator(whole).validate(answer.json())


def test_every_route_says_what_it_answers(door: str) -> None:
    """A route without a shape in the document fails here."""
    document = httpx.get(f"{door}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            assert good, f"{method} {path}"
            if "204" not in operation["responses"]:
                schemas = [kind["schema"] for answer in good for kind in answer["content"].values()]
                assert all(schemas), f"{method} {path} says nothing of its answer"
            assert "default" in operation["responses"]
