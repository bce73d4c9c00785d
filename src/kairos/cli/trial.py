"""`kairos try`: a test subscriber gets an offer now, from the running kairos."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer

from kairos.cli.door import address, call, no_answer, refused, with_scheme
from kairos.cli.options import TOML, SettingsFile, Url
from kairos.cli.status import NOT_REACHED
from kairos.errors import KairosError


def register(app: typer.Typer) -> None:
    app.command("try", help="Send an OFFER to a test subscriber (seeds.yaml) now.")(trial)


def trial(
    msisdn: Annotated[str, typer.Argument(help="The test subscriber's number.")],
    offer: Annotated[str, typer.Argument(help="The offer, or one variant of it as in booster/large.")],
    past_switches: Annotated[bool, typer.Option("--past-switches", help="Though marketing is switched off.")] = False,
    settings: SettingsFile = TOML,
    url: Url = "",
    as_json: Annotated[bool, typer.Option("--json", help="The decision, explained, as JSON.")] = False,
) -> None:
    from kairos.settings import load_settings

    door = with_scheme(url or address(load_settings(settings, os.environ).http))
    made = ask(door, {"msisdn": msisdn, "offer": offer, "past_switches": past_switches})
    typer.echo(json.dumps(made, ensure_ascii=False) if as_json else told(made, msisdn, offer))
    raise typer.Exit(0 if made["said"] else 1)


def ask(door: str, body: dict[str, Any]) -> Any:
    """The decision, explained. Raises KairosError where it is refused, with what to do."""
    import httpx

    try:
        answer = call("POST", f"{door}/v1/trials", body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        typer.echo(no_answer(door, error), err=True)
        raise typer.Exit(NOT_REACHED) from None
    if why := refused(answer):
        raise KairosError(f"the kairos at {door} takes no offer of ours: {why}")
    try:
        found = answer.json()
    except ValueError:
        found = {}
    if answer.status_code != 200 or "said" not in found:
        raise KairosError(str(found.get("detail") or f"{door} answered {answer.status_code}"))
    return found


def told(made: dict[str, Any], msisdn: str, offer: str) -> str:
    """What became of it, in words.

    >>> refused = {"action": "booster", "arm": "booster/small", "reason": "no text fits"}
    >>> print(told({"said": "", "decision": 7, "verdicts": [refused]}, "+12025550123", "booster"))
    `booster` is not sent: no text fits (what one shows may be unknown, as `{balance}`); `kairos explain 7` shows it
    """
    from kairos.decide.decide import NO_ROOM

    why = f"; `kairos explain {made['decision']}` shows it"
    if made["said"]:
        return f"{made['said']} is on its way to {msisdn}{why}"
    asked = [one for one in made["verdicts"] if offer in (one["arm"], one["action"])]
    reason = asked[0]["reason"] if asked else "nobody knows it"
    if reason == NO_ROOM:
        reason += " (what one shows may be unknown, as `{balance}`)"
    return f"`{offer}` is not sent: {reason}{why}"
