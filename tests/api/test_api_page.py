"""The landing page over HTTP, before an engine: what it shows, whom it lets take what, and that a GET takes none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from html import unescape
from ipaddress import ip_network
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from kairos.adapters.page import HttpPages
from kairos.api import create_app
from kairos.api.page import add_page
from kairos.deliver import OfferLinks
from kairos.domain.inputs import Change, Fulfilment
from kairos.domain.message import Order, Text
from kairos.domain.subscriber import Bucket, OpenOffer
from kairos.domain.switch import Switch, Switches
from kairos.engine.engine import Engine
from kairos.engine.loop import Loop
from kairos.errors import StoreError
from kairos.learn import FixedPropensity

NUMBER, OTHER = "12025550123", "12025550124"
HEADER = "x-msisdn"
LINKS = OfferLinks("https://offers.example", [b"a secret of thirty-two characters"])
MESSAGES = """
booster_line:
  en: ["{title} for {price}: {link}", "{title} for {price}: reply {number}"]
  ar: ["{title} {price} {link}"]
booster_told:
  en: ["{data_left_mb} MB left, {balance} to spend: {title} at {price}", "Just for you: {title}."]
page_brand: {en: Tidal & Sons}
page_take: {en: "Take it: {price}", ar: "خذها بسعر {price}"}
"""


class Visitor:
    """A browser that keeps no cookie, on the other side of a link; `network` says which number it is known by."""

    def __init__(self, page: Any, link: str, network: str = "", peer: str = "127.0.0.1") -> None:
        self.path = link.removeprefix("https://offers.example")
        headers = {HEADER: network} if network else {}
        transport = httpx.ASGITransport(page.app, client=(peer, 1))
        self.http = httpx.AsyncClient(transport=transport, base_url="https://offers.example", headers=headers)

    async def look(self, path: str = "") -> httpx.Response:
        return await self.http.get(path or self.path)

    async def tap(self, answer: str = "accept", form: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        """Press a button of the page as it is now; what it shows then."""
        fields = form_of(await self.look()) if form is None else form
        sent = await self.http.post(self.path, data=fields | {"answer": answer}, headers=headers)
        if sent.status_code != 303:
            return sent
        assert sent.content == b""
        return await self.look(self.path.rpartition("/")[0] + "/" + sent.headers["location"])


def form_of(page: httpx.Response) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))


def buttons(page: httpx.Response) -> list[str]:
    return [unescape(said) for said in re.findall(r"<button[^>]*>(.*?)</button>", page.text)]


def news(page: httpx.Response) -> str:
    found = re.search(r'class="news" role="status"><bdi>(.*?)</bdi>', page.text)
    return unescape(found[1]) if found else ""


class Page:
    """An engine whose loop runs, the page before it, and one subscriber with T$50 who was offered 2 GB by SMS."""

    def __init__(self, bench: Any, tap_up_to: str) -> None:
        self.bench = bench
        bench.engine = Engine(bench.store, bench.program, FixedPropensity(), link=LINKS.link)
        self.loop = Loop(bench.engine, lambda: bench.now, lambda _: None)
        self.pages = HttpPages(self.loop, bench.store, LINKS, tap_up_to)
        self.clock = 0.0
        nothing: Any = object()

        def add(app: Any) -> None:
            add_page(app, self.pages, HEADER, [ip_network("127.0.0.1")], lambda: self.clock)

        self.app = create_app(nothing, nothing, CollectorRegistry(), lambda: 0, more=[add])

    async def offered(self, **profile: Any) -> str:
        """The text of the message."""
        self.bench.profile(**profile)
        balances = [Bucket("main", 5000), Bucket("data", 100_000, self.bench.now + 86_400_000)]
        await self.loop.submit(self.bench.event("end_of_call", service="voice", cost=1, balances=balances))
        (text,) = [text for text in self.texts() if text.marketing]
        return text.text

    def texts(self) -> list[Text]:
        return [msgspec.msgpack.decode(row.payload, type=Text) for row in self.rows("sms")]

    def orders(self) -> list[Order]:
        return [msgspec.msgpack.decode(row.payload, type=Order) for row in self.rows("ocs")]

    def rows(self, channel: str) -> list[Any]:
        store = self.bench.store
        return [row for row in store.outgoing(range(1, store.next_ids().outgoing)) if row.channel == channel]

    def offer(self) -> OpenOffer:
        (offer,) = self.bench.state().offers
        assert isinstance(offer, OpenOffer)
        return offer

    async def ended(self, status: str, reason: str = "") -> None:
        """What the charging system says to the latest order."""
        row = self.rows("ocs")[-1]
        order = msgspec.msgpack.decode(row.payload, type=Order)
        await self.loop.submit(Fulfilment(row.id, row.subscriber, order.key, status, self.bench.now, reason))


@pytest.fixture
async def page_with(bench_with: Callable[..., Any], texts: dict[str, str]) -> AsyncIterator[Callable[..., Page]]:
    running = []

    def build(tap_up_to: str = "100", **files: str) -> Page:
        booster = texts["offers/booster.yaml"].replace(
            "treatments:", "treatments:\n  ask: {channel: inbound, message: booster_told}"
        )
        written = re.sub(r"booster_line:.*?(?=top_up_line)", "", texts["messages.yaml"], flags=re.DOTALL)
        policy = texts["contact_policy.yaml"] + files.pop("policy", "")
        playbook = texts["playbook.yaml"].replace("[en, fr]", "[en, fr, ar]")
        changed = {
            "offers/booster.yaml": booster.replace("accept_within", files.pop("add", "") + "accept_within"),
            "messages.yaml": written + MESSAGES + files.pop("messages", ""),
            "contact_policy.yaml": policy,
            "playbook.yaml": playbook.replace("languages", files.pop("named", "") + "languages"),
        }
        page = Page(bench_with(changed), tap_up_to)
        running.append((page.loop, asyncio.create_task(page.loop.run())))
        return page

    yield build
    for loop, task in running:
        loop.close()
        await asyncio.wait_for(task, 60)


async def test_the_link_of_the_message_opens_the_offer_and_a_tap_takes_it_once(page_with: Any) -> None:
    page = page_with()
    text = await page.offered()
    link = text.rpartition(" ")[2]
    assert (text, link) == (f"2 GB for 7 days for T$45: {link}", LINKS.link(page.offer().key))
    visitor = Visitor(page, link)
    seen = await visitor.look()
    assert (seen.status_code, buttons(seen)) == (200, ["Take it: T$45", "No, thanks"])
    assert "<h1><bdi>2 GB for 7 days</bdi></h1>" in seen.text
    taken = await visitor.tap()
    assert news(taken) == "It is on its way. A message tells you when it is active."
    assert buttons(taken) == []
    (order,) = page.orders()
    assert (order.price, order.product, page.offer().proof[0].text) == (4500, "DATA2G", "yes (page, by the link alone)")
    await page.ended("done")
    assert news(await visitor.look()) == "Done: 2 GB for 7 days for T$45."


async def test_nothing_but_a_post_changes_anything(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    before, revisions = page.bench.state(), page.bench.store.next_ids()
    for path in (visitor.path, visitor.path + "?answer=accept", visitor.path + "?now=page_not_now"):
        assert (await visitor.look(path)).status_code == 200
        assert (await visitor.http.head(path)).content == b""
    assert (page.bench.state(), page.bench.store.next_ids(), page.orders()) == (before, revisions, [])


async def test_double_taps_reloads_and_old_forms_order_once(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    form, other = form_of(await visitor.look()), form_of(await visitor.look())
    taps = await asyncio.gather(*(visitor.tap(form=one) for one in (form, form, other)))
    taps.append(await visitor.tap(form=form))
    assert {tap.status_code for tap in taps} == {200}
    assert len(page.orders()) == 1
    await visitor.tap("decline", form=other)
    assert page.offer().status == "accepted"


async def test_who_has_no_form_of_ours_takes_nothing(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    form = form_of(await visitor.look())
    wrong: list[dict[str, str]] = [{}, form | {"seal": "0" * 32}, form | {"nonce": "another"}]
    for one in wrong:
        assert buttons(await visitor.tap(form=one)) == ["Take it: T$45", "No, thanks"]
    await visitor.tap(form=form, **{"sec-fetch-site": "cross-site"})
    await visitor.tap("buy", form=form)
    much = await visitor.http.post(visitor.path, content=b"answer=accept&x=" + b"x" * 5000)
    odd = await visitor.http.post(visitor.path, content=b"\xff\xfe=%zz&&&==&" * 9)
    assert (much.status_code, odd.status_code) == (303, 303)
    assert (page.offer().status, page.orders()) == ("open", [])


async def test_the_page_says_nothing_of_the_subscriber(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    seen = (await visitor.look()).text
    assert "Just for you: 2 GB for 7 days." in seen
    assert "MB left" not in seen
    assert NUMBER not in seen
    assert "T$50" not in seen


async def test_what_a_playbook_says_is_text_and_no_markup(page_with: Any) -> None:
    page = page_with(messages='page_heading: {en: "<script>alert(1)</script>"}\n')
    seen = await Visitor(page, (await page.offered()).rpartition(" ")[2]).look()
    assert "<script" not in seen.text
    assert "&lt;script&gt;" in seen.text
    assert "Tidal &amp; Sons" in seen.text


async def test_its_headers_let_nothing_else_in_and_nobody_keep_it(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    for answer in (await visitor.look(), await visitor.look("/o/nonsense"), await visitor.http.post(visitor.path)):
        headers = answer.headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
        assert (headers["x-robots-tag"], headers["x-frame-options"]) == ("noindex, nofollow", "DENY")
    assert len((await visitor.look()).content) < 6_000


@pytest.mark.parametrize("path", ["/o/", "/u/"])
async def test_a_link_that_we_did_not_sign_is_told_so_and_nothing_is_looked_up(page_with: Any, path: str) -> None:
    page = page_with()
    link = (await page.offered()).rpartition(" ")[2]
    page.bench.store.decision = None  # whoever asked it would break
    visitor = Visitor(page, link)
    token = link.rpartition("/")[2] if path == "/u/" else LINKS.unsubscribe(page.offer().key).rpartition("/")[2]
    for wrong in ("1", "nonsense", token, token + "2", "x" * 3000):
        for answer in (await visitor.look(path + wrong), await visitor.http.post(path + wrong)):
            assert (answer.status_code, news(answer)) == (404, "This link opens no offer. Was all of it copied?")


async def test_without_the_networks_word_a_tap_takes_only_what_is_cheap(page_with: Any) -> None:
    page = page_with("44.99")
    link = (await page.offered()).rpartition(" ")[2]
    stranger = Visitor(page, link)
    seen = await stranger.look()
    assert (buttons(seen), '<a class="reply go" href="sms:5000?body=1">Reply 1 to 5000</a>' in seen.text) == ([], True)
    assert news(seen) == "To get it, reply 1 to 5000 from the phone that this offer was sent to."
    await stranger.tap()
    await stranger.tap(form={"nonce": "n", "seal": LINKS.seal(link.rpartition("/")[2], "", "n")})
    assert (page.offer().status, page.orders()) == ("open", [])
    owner = Visitor(page, link, NUMBER)
    assert "Take it: T$45" in (await owner.look()).text
    await owner.tap()
    assert (len(page.orders()), page.offer().proof[0].text) == (1, "yes (page, vouched for by the network)")


async def test_two_words_of_the_network_are_none(page_with: Any) -> None:
    page = page_with("44.99")
    link = (await page.offered()).rpartition(" ")[2]
    both = Visitor(page, link)
    for one, other in ((NUMBER, "12025550199"), ("12025550199", NUMBER), (NUMBER, NUMBER)):
        both.http.headers = httpx.Headers([(HEADER, one), (HEADER, other)])
        assert buttons(await both.look()) == []


async def test_whom_the_network_knows_by_another_number_sees_nothing_and_takes_nothing(page_with: Any) -> None:
    page = page_with()
    link = (await page.offered()).rpartition(" ")[2]
    other = Visitor(page, link, f"+{OTHER}")
    seen = await other.look()
    assert (news(seen), buttons(seen), "2 GB" in seen.text) == ("This offer was sent to another number.", [], False)
    for said in ("accept", "decline"):
        await other.tap(said, form={"nonce": "n", "seal": LINKS.seal(link.rpartition("/")[2], f"+{OTHER}", "n")})
    assert page.offer().status == "open"


async def test_a_number_that_anybody_could_say_vouches_for_nobody(page_with: Any) -> None:
    page = page_with("0")
    link = (await page.offered()).rpartition(" ")[2]
    assert buttons(await Visitor(page, link, NUMBER, peer="203.0.113.9").look()) == []
    assert buttons(await Visitor(page, link, "nonsense").look()) == []


async def test_a_form_that_a_stranger_fetched_is_none_for_whom_the_network_vouches(page_with: Any) -> None:
    """A forwarded link's holder cannot have the subscriber's own browser send the tap that they may not send."""
    page = page_with("0")
    link = (await page.offered()).rpartition(" ")[2]
    token = link.rpartition("/")[2]
    await Visitor(page, link, NUMBER).tap(form={"nonce": "n", "seal": LINKS.seal(token, "", "n")})
    assert page.orders() == []


async def test_no_thanks_declines_and_the_page_says_so(page_with: Any) -> None:
    page = page_with("0")  # to say no, the link is enough
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2], NUMBER)
    assert news(await visitor.tap("decline")) == "All right."
    assert (page.offer().status, page.bench.state().cooldowns[0].action) == ("declined", "booster")


async def test_too_little_money_says_what_to_do_and_a_later_tap_takes_it(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    old = form_of(await visitor.look())
    await visitor.tap(form=old)
    await page.ended("refused", "insufficient_funds")
    seen = await visitor.look()
    assert (news(seen), buttons(seen)) == ("Not enough balance for 2 GB for 7 days.", ["Take it: T$45", "No, thanks"])
    await visitor.tap(form=old)  # the tap of before, sent again
    assert len(page.orders()) == 1
    await visitor.tap()
    assert len(page.orders()) == 2


async def test_what_is_asked_twice_takes_two_taps_with_time_between(page_with: Any) -> None:
    page = page_with(add="confirm: twice\n", messages='confirm: {en: "Sure? {number}"}\n')
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    first = form_of(await visitor.look())
    sure = await visitor.tap(form=first)
    assert (news(sure), buttons(sure)) == (
        "Are you sure? 2 GB for 7 days costs T$45.",
        ["Yes, get it for T$45", "No, thanks"],
    )
    await visitor.tap()  # a double tap
    page.bench.now += 5_000
    await visitor.tap(form=first)  # the back button, and the first once more
    assert page.orders() == []
    await visitor.tap()
    assert len(page.orders()) == 1


async def test_after_its_end_it_is_told_kindly(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    form = form_of(await visitor.look())
    page.bench.now += 86_400_000
    seen = await visitor.tap(form=form)
    assert (news(seen), buttons(seen), page.orders()) == ("2 GB for 7 days has ended.", [], [])


async def test_of_a_decision_that_nobody_remembers_nothing_is_shown(page_with: Any) -> None:
    page = page_with()
    await page.offered()
    gone = await Visitor(page, LINKS.link(f"{page.bench.store.epoch}-999")).look()
    assert (gone.status_code, news(gone)) == (410, "This offer is not open any more.")


async def test_the_next_owner_of_the_number_has_no_part_in_it(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    form = form_of(await visitor.look())
    await page.loop.submit(Change("c1", "number_recycled", NUMBER, page.bench.now))
    page.bench.profile()
    seen = await visitor.tap(form=form)
    assert (buttons(seen), page.orders()) == ([], [])


async def test_charging_that_is_switched_off_is_told_and_the_offer_stays(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    page.bench.engine.turn(Switches({"charging": Switch("charging", False, "billing is down", "ada", 0)}))
    seen = await visitor.tap()
    assert news(seen) == "This cannot be done right now, and nothing was charged. The offer stays open."
    assert (page.offer().status, buttons(seen)) == ("open", ["Take it: T$45", "No, thanks"])


async def test_an_arab_reads_from_right_to_left(page_with: Any) -> None:
    page = page_with()
    seen = await Visitor(page, (await page.offered(language="ar")).rpartition(" ")[2]).look()
    assert '<html lang="ar" dir="rtl">' in seen.text
    assert buttons(seen)[0] == "خذها بسعر \u2066T$45\u2069"
    assert seen.headers["content-language"] == "ar"


async def test_a_link_is_opened_only_so_often(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    statuses = [(await visitor.look()).status_code for _ in range(25)]
    assert statuses == [200] * 20 + [429] * 5
    hurried = await visitor.look()
    assert (news(hurried), hurried.headers["retry-after"]) == (
        "That was too fast, or we are busy. Please try again in a moment.",
        "5",
    )
    page.clock += 2.0
    assert (await visitor.look()).status_code == 200


async def test_while_the_store_cannot_be_read_it_says_so(page_with: Any) -> None:
    page = page_with()
    visitor = Visitor(page, (await page.offered()).rpartition(" ")[2])
    form = form_of(await visitor.look())

    def broken(_id: int) -> bytes:
        raise StoreError("the disk is gone")

    page.bench.store.decision = broken
    for answer in (await visitor.look(), await visitor.tap(form=form)):
        assert (answer.status_code, "disk" in answer.text) == (503, False)


# -- no more offers ----------------------------------------------------------------------------------------------------


async def test_one_click_of_a_mail_program_is_a_stop(page_with: Any) -> None:
    page = page_with()
    await page.offered()
    visitor = Visitor(page, LINKS.unsubscribe(page.offer().key))
    asked = await visitor.look()
    assert (news(asked), buttons(asked)) == ("Shall we send you no more offers?", ["No more offers"])
    await visitor.http.post(visitor.path)  # a crawler that posts nothing
    assert page.offer().status == "open"
    for _ in range(2):
        done = await visitor.http.post(visitor.path, data={"List-Unsubscribe": "One-Click"})
        assert (done.status_code, news(done)) == (200, "No more offers.")
    state = page.bench.state()
    consent = state.attributes[page.bench.program.plan.places["marketing_consent"]]
    assert (consent, page.offer().status) == (False, "withdrawn")
    assert state.proofs["marketing_consent"].by.startswith("page/stop/")
    assert [text for text in page.texts() if not text.marketing] == []


async def test_where_a_click_ends_e_mails_alone_the_page_says_so(page_with: Any) -> None:
    page = page_with(policy="stop_on: {email: marketing_consent}\n")
    await page.offered()
    visitor = Visitor(page, LINKS.unsubscribe(page.offer().key))
    assert news(await visitor.look()) == "Shall we send you no more offers by e-mail?"
    done = await visitor.http.post(visitor.path, data={"List-Unsubscribe": "One-Click"})
    assert news(done) == "You will get no more offers by e-mail."
    assert page.offer().status == "open", "it came by SMS"


async def test_it_stops_long_after_the_offer_too(page_with: Any) -> None:
    page = page_with()
    await page.offered()
    visitor = Visitor(page, LINKS.unsubscribe(page.offer().key))
    page.bench.now += 30 * 86_400_000
    page.bench.profile()  # which lets go of old offers
    await page.loop.submit(page.bench.event("end_of_call", service="voice", cost=1))
    assert (await visitor.http.post(visitor.path, data={"List-Unsubscribe": "One-Click"})).status_code == 200
    state = page.bench.state()
    assert state.attributes[page.bench.program.plan.places["marketing_consent"]] is False


async def test_a_link_of_another_store_stops_nobody_here(page_with: Any) -> None:
    page = page_with()
    await page.offered()
    theirs = LINKS.unsubscribe(f"another-{page.offer().decision}")  # one begun anew counts the same decisions
    visitor = Visitor(page, theirs)
    await visitor.http.post(visitor.path, data={"List-Unsubscribe": "One-Click"})
    consent = page.bench.state().attributes[page.bench.program.plan.places["marketing_consent"]]
    assert (consent, page.offer().status) == (True, "open")


async def test_a_stop_after_consenting_again_is_heeded(page_with: Any) -> None:
    page = page_with()
    await page.offered()
    visitor = Visitor(page, LINKS.unsubscribe(page.offer().key))
    place = page.bench.program.plan.places["marketing_consent"]
    for consents in (False, True, False):
        page.bench.now += 3_600_000
        if consents:
            page.bench.profile()
        else:
            done = await visitor.http.post(visitor.path, data={"List-Unsubscribe": "One-Click"})
            assert news(done) == "No more offers."
        assert page.bench.state().attributes[place] is consents
