"""A person is forgotten at the running server, which is killed at once: it stays so, and their no holds."""

from __future__ import annotations

import asyncio
from typing import Any


async def test_who_said_stop_and_was_forgotten_is_not_spoken_to_again(launch: Any) -> None:
    async with launch(restarts=True) as system:
        msisdn = system.with_language("en")
        await system.known(msisdn)
        await system.call(msisdn)
        await system.reply(msisdn, "STOP")
        await system.drained()
        url = f"{system.server.url}/v1/subscribers/{msisdn}"
        exported = (await system.http.get(f"{url}/export")).json()
        assert msisdn in {one["payload"]["destination"] for one in exported["messages"]}
        done = await system.http.delete(url, params={"reason": "asked for it"})
        assert (done.status_code, done.json()["no_is_kept"]) == (200, True), done.text
        await system.server.kill()
        await system.restart()
        url = f"{system.server.url}/v1/subscribers/{msisdn}"
        assert (await system.http.get(url)).status_code == 404

        async def over() -> bool:
            found = (await system.http.get(f"{system.server.url}/v1/erasures")).json()["erasures"]
            return [one["reason"] for one in found if one["done"]] == ["asked for it"]

        async with asyncio.timeout(60):
            while not await over():
                await asyncio.sleep(0.05)
        assert msisdn not in str(system.states())
        await system.tell([("recharge", msisdn, {"amount": "5.00"})])
        seen = await system.call(msisdn)
        shown = (await system.http.get(url)).json()
        assert shown["profile"]["marketing_consent"]["value"] is False
        assert shown["offers"] == []
        assert "Reply" not in seen.text
