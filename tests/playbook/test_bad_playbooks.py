"""One wrong thing in a good playbook: the exact diagnostic, with file, line, the user's own word and what to do."""

from __future__ import annotations

import pytest

from kairos.errors import PlaybookError
from kairos.playbook import new, read

GOOD = new("Good")

# what is replaced (file, old, new) -> everything that is said of it
BAD = {
    "a syntax error": (
        ("contact_policy.yaml", "holdout: 5%", "holdout: [5%"),
        "contact_policy.yaml:8: this is no YAML: expected ',' or ']', but got '<stream end>'; "
        "the `[` on line 7 is not closed, or a `,` is missing",
    ),
    "a brace that is not closed": (
        ("offers/booster.yaml", "value: 0.50}", "value: 0.50"),
        "offers/booster.yaml:7: this is no YAML: expected ',' or '}', but got ':'; "
        "the `{` on line 6 is not closed, or a `,` is missing",
    ),
    "a rule without its key": (
        ("offers/booster.yaml", "running low: data_left_mb < 200", "data_left_mb < 200"),
        "offers/booster.yaml:12: the rule `data_left_mb < 200` has no name; write it as in `can afford it: ...`",
    ),
    "a colon in a text": (
        ("contact_policy.yaml", "holdout: 5%", "holdout: 5%: really"),
        "contact_policy.yaml:7: this is no YAML: mapping values are not allowed here; "
        "put a text with `: ` in it in quotes",
    ),
    "a brace that begins a text": (
        ("offers/booster.yaml", '"Data {size}"', "{size} data"),
        "offers/booster.yaml:2: this is no YAML: expected <block end>, but found '<scalar>'; "
        "put a text that begins with `{`, `[` or a quote in quotes as a whole",
    ),
    "a tab": (
        ("replies.yaml", "  accept:", "\taccept:"),
        "replies.yaml:2: this is no YAML: found character '\\t' that cannot start any token; indent with spaces",
    ),
    "a repeated key": (
        ("offers/booster.yaml", "issue: bundle", "issue: bundle\ntitle: Again"),
        "offers/booster.yaml:4: `title` stands here twice; the first is on line 2",
    ),
    "an alias": (
        ("offers/booster.yaml", "issue: bundle", "issue: *there"),
        "offers/booster.yaml:3: the alias `*there` is not allowed; write the value out",
    ),
    "an anchor": (
        ("offers/booster.yaml", "issue: bundle", "issue: &here bundle"),
        "offers/booster.yaml:3: the anchor `&here` is not allowed; write the value out where it is used",
    ),
    "a tag": (
        ("offers/booster.yaml", "issue: bundle", "issue: !!python/name:os.system bundle"),
        "offers/booster.yaml:3: the tag `tag:yaml.org,2002:python/name:os.system` is not allowed; leave it out",
    ),
    "a second document": (
        ("offers/booster.yaml", "issue: bundle", "issue: bundle\n---\n"),
        "offers/booster.yaml:4: a second document begins here; keep one document in a file",
    ),
    "a character that names nothing": (
        ("messages.yaml", "Nothing was charged.", "\\UFFFFFFFF"),
        "messages.yaml: an escape in quotes names no character",
    ),
    "a control character": (
        ("messages.yaml", "Nothing was charged.", "\\x07"),
        "messages.yaml:10: the character U+0007 cannot stand in a text",
    ),
    "an unknown key": (
        ("offers/booster.yaml", "suitable_when:", "sutable_when:"),
        "offers/booster.yaml:13: unknown key `sutable_when`; did you mean `suitable_when`?",
    ),
    "a missing key": (
        ("offers/booster.yaml", "accept_within: 24 hours\n", ""),
        "offers/booster.yaml:1: `accept_within` is missing; add it, as in `accept_within: 24 hours`",
    ),
    "an empty value": (
        ("offers/booster.yaml", "issue: bundle", "issue:"),
        "offers/booster.yaml:3: issue: the value is missing",
    ),
    "a table instead of a text": (
        ("offers/booster.yaml", '"Data {size}"', "{size}"),
        "offers/booster.yaml:2: title: a single text is wanted here; put a text with `{` or `[` at its start in quotes",
    ),
    "a text instead of a table": (
        ("offers/booster.yaml", "{charge: price, provision: product}", "price"),
        "offers/booster.yaml:20: a table of keys and values is wanted here; write it as in `key: value`\n"
        "offers/booster.yaml:20: `fulfil` does nothing; write `fulfil: {charge: price, provision: product}`",
    ),
    "a name with a space": (
        ("playbook.yaml", "languages: [en]", "languages: [English]"),
        "playbook.yaml:3: languages: `English` is no language tag; write it as in `en` or `pt-BR`",
    ),
    "no language": (
        ("playbook.yaml", "languages: [en]", "languages: []"),
        "playbook.yaml:3: languages: there is no language; write them as in `languages: [en, fr]`",
    ),
    "a time zone": (
        ("playbook.yaml", "time_zone: UTC", "time_zone: Europe/Pariss"),
        "playbook.yaml:4: time_zone: unknown time zone `Europe/Pariss`; did you mean `Europe/Paris`?",
    ),
    "a currency": (
        ("playbook.yaml", "code: XTS", "code: dollars"),
        "playbook.yaml:2: code: `dollars` is no currency code; write its three capital letters, as in `XTS`",
    ),
    "an unknown file": (
        ("tests/booster.yaml", None, "test/booster.yaml"),
        "test/booster.yaml: nothing in a playbook has this place; did you mean `tests`?",
    ),
    "another ending": (
        ("offers/booster.yaml", None, "offers/booster.yml"),
        "offers/booster.yml: nothing in a playbook has this place; name it `.yaml`",
    ),
    "an event's field type": (
        ("vocabulary.yaml", "cost: money", "cost: mony"),
        "vocabulary.yaml:4: cost: unknown type `mony`; did you mean `money`?\n"
        "vocabulary.yaml:20: sum: `end_of_call.cost` is text: it cannot be added up or compared; "
        "take a number or money",
    ),
    "a source": (
        ("vocabulary.yaml", "[profile.plan]", "[profil.plan]"),
        "vocabulary.yaml:13: from: unknown event `profil`; did you mean `profile.plan`?",
    ),
    "a source of another type": (
        ("vocabulary.yaml", "from: [profile.plan]", "from: [end_of_call.cost]"),
        "vocabulary.yaml:13: from: `end_of_call.cost` is money, not text; make the types the same",
    ),
    "a wallet": (
        ("vocabulary.yaml", "total: main}", "total: mein}"),
        "vocabulary.yaml:16: total: unknown wallet `mein`; did you mean `main`?",
    ),
    "a total of another type": (
        ("vocabulary.yaml", "{type: number,  means: unexpired", "{type: money,  means: unexpired"),
        "vocabulary.yaml:17: `data_left_mb` is number, not money; write `type: number`",
    ),
    "a habit": (
        ("vocabulary.yaml", "total: main}", "usual: chanel}"),
        "vocabulary.yaml:16: usual: unknown habit `chanel`; did you mean `channel`?",
    ),
    "a habit of another type": (
        ("vocabulary.yaml", "total: data}", "usual: channel}"),
        "vocabulary.yaml:17: `data_left_mb` is text, not number; write `type: text`",
    ),
    "a habit that events set": (
        ("vocabulary.yaml", "from: [profile.plan]", "from: [profile.plan], usual: channel"),
        "vocabulary.yaml:13: `from` and `usual` exclude each other; keep one",
    ),
    "a counter named as an attribute": (
        ("vocabulary.yaml", "spend_7d:", "balance:"),
        "vocabulary.yaml:20: `balance` is an attribute already; give the counter another name",
    ),
    "a word of the rules as a name": (
        ("vocabulary.yaml", "spend_7d:", "between:"),
        "vocabulary.yaml:20: `between` cannot name a counter: the rules use that word; take another name",
    ),
    "a column of every vocabulary as a name": (
        ("vocabulary.yaml", "spend_7d:", "now:"),
        "vocabulary.yaml:20: `now` cannot name a counter: it has a meaning of its own; take another name",
    ),
    "a counter that counts nothing": (
        ("vocabulary.yaml", "{sum: end_of_call.cost,", "{"),
        "vocabulary.yaml:20: `spend_7d` needs one of `sum`, `count`, `max` and `min`; "
        "as in `sum: recharge.amount` or `count: recharge`",
    ),
    "a counter with too many steps": (
        ("vocabulary.yaml", "over: 7 days}", "over: 7 days, step: 1 minute}"),
        "vocabulary.yaml:20: `over` must be a whole number of steps, 1000 at most; change `step`",
    ),
    "a counter's rule over another event": (
        ("vocabulary.yaml", "over: 7 days}", "over: 7 days, where: recharge.amount > 1}"),
        "vocabulary.yaml:20: where: unknown name `recharge.amount`; a text stands in quotes: 'recharge.amount'",
    ),
    "a duration": (
        ("vocabulary.yaml", "over: 7 days", "over: 7d"),
        "vocabulary.yaml:20: over: `7d` is no duration; write it as in `5 minutes`, `24 hours` or `7 days`",
    ),
    "a kind": (
        ("offers/booster.yaml", "offer: booster", "offer: booster\nkind: sel"),
        "offers/booster.yaml:2: kind: unknown kind `sel`; did you mean `sell`?",
    ),
    "no variant": (
        ("offers/booster.yaml", "variants:", "treatments: {}\nvariants: {}\neligible_when:"),
        "offers/booster.yaml:11: `eligible_when` stands here twice; the first is on line 7\n"
        "offers/booster.yaml:17: `treatments` stands here twice; the first is on line 5",
    ),
    "an amount with a currency": (
        ("offers/booster.yaml", "price: 4", "price: T$4"),
        "offers/booster.yaml:7: price: `T$4` is no amount; write digits only, as in 2.50, without a currency",
    ),
    "an amount with too many decimals": (
        ("offers/booster.yaml", "price: 4", "price: 4.005"),
        "offers/booster.yaml:7: price: `4.005` has more than 2 decimals; an amount in XTS has at most 2",
    ),
    "a negative price": (
        ("offers/booster.yaml", "price: 4", "price: -4"),
        "offers/booster.yaml:7: price: `-4` is negative; write 0 or more",
    ),
    "a price that is missing": (
        ("offers/booster.yaml", "price: 4, ", ""),
        "offers/booster.yaml:7: `price` is missing; add it, as in `price: 10`",
    ),
    "a variant without a product": (
        ("offers/booster.yaml", ", large: DATA2G_7D", ""),
        "offers/booster.yaml:4: variant `large` has no product to provision; "
        "add it, as in `product: {large: DATA500_1D}`",
    ),
    "a product of no variant": (
        ("offers/booster.yaml", "large: DATA2G_7D", "large: DATA2G_7D, larg: X"),
        "offers/booster.yaml:4: unknown variant `larg`; did you mean `large`?",
    ),
    "a field that hides a word of the vocabulary": (
        ("offers/booster.yaml", "size: 2GB,  ", "size: 2GB, balance: 3,"),
        "offers/booster.yaml:7: `balance` cannot name a variant's own field; "
        "small letters, digits and `_`; and no word of the vocabulary or of every message",
    ),
    "a title's placeholder": (
        ("offers/booster.yaml", "Data {size}", "Data {sise}"),
        "offers/booster.yaml:2: title: variant `small` has no `sise`; did you mean `size`?",
    ),
    "an event that is not there": (
        ("offers/booster.yaml", "{end_of_call: 5 minutes}", "{end_of_cal: 5 minutes}"),
        "offers/booster.yaml:8: unknown event `end_of_cal`; did you mean `end_of_call`?",
    ),
    "a rule's name, told once though there are two variants": (
        ("offers/booster.yaml", "data_left_mb < 200", "data_left < 200"),
        "offers/booster.yaml:12: running low: unknown name `data_left`; did you mean `data_left_mb`?",
    ),
    "a rule of another type": (
        ("offers/booster.yaml", "balance >= price", "balance >= size"),
        "offers/booster.yaml:14: can afford it: `balance >= size` compares money (`balance`) and a text (`size`)",
    ),
    "two rules of one name": (
        ("offers/booster.yaml", "can afford it:", "running low:"),
        "offers/booster.yaml:14: the rule `running low` stands on line 12 already; give it another name",
    ),
    "a channel": (
        ("offers/booster.yaml", "channel: sms", "channel: smss"),
        "offers/booster.yaml:17: channel: unknown channel `smss`; did you mean `sms`?",
    ),
    "two treatments on one channel": (
        ("offers/booster.yaml", "channel: sms", "channel: notification"),
        "offers/booster.yaml:17: `ride` goes out on `notification` already; "
        "one treatment a channel; give the message several texts instead",
    ),
    "a message": (
        ("offers/booster.yaml", "message: booster_sms", "message: boster_sms"),
        "offers/booster.yaml:17: message: unknown message `boster_sms`; did you mean `booster_sms`?",
    ),
    "a yes that does nothing": (
        ("offers/booster.yaml", "fulfil: {charge: price, provision: product}", ""),
        "offers/booster.yaml:1: `fulfil` is missing: a yes would do nothing; "
        "write `fulfil: {charge: price, provision: product}`",
    ),
    "an offer that says how it is redeemed": (
        ("offers/booster.yaml", "fulfil:", "redeemed_by: {recharge: recharge.amount >= 3}\nfulfil:"),
        "offers/booster.yaml:20: a sell action is not redeemed; write `kind: promise`",
    ),
    "a weight": (
        ("offers/booster.yaml", "offer: booster", "offer: booster\nkind: gift\nweight: 0"),
        "offers/booster.yaml:3: weight: `0` is not above zero; 1 is the weight of all others",
    ),
    "a promise that does not": (
        ("offers/booster.yaml", "offer: booster", "offer: booster\nkind: promise"),
        "messages.yaml:3: `{number}` has no value: `booster` is not taken by a reply; say what to do instead\n"
        "messages.yaml:4: `{number}` has no value: `booster` is not taken by a reply; say what to do instead\n"
        "messages.yaml:6: `{number}` has no value: `booster` is not taken by a reply; say what to do instead\n"
        "offers/booster.yaml:1: a promise needs `redeemed_by`; "
        'add it, as in `redeemed_by: {recharge: "recharge.amount >= top_up"}`\n'
        "offers/booster.yaml:21: a promise cannot charge; "
        "leave `charge` out: the qualifying event is what it costs",
    ),
    "two files with one action": (
        ("offers/another.yaml", "", GOOD["offers/booster.yaml"]),
        "offers/booster.yaml:1: `booster` stands in offers/another.yaml already; give it another name",
    ),
    "a placeholder": (
        ("messages.yaml", "{size} for {validity}, {price}", "{size} for {validty}, {price}"),
        "messages.yaml:3: unknown placeholder `{validty}`; did you mean `validity`?",
    ),
    "what an offer is worth to the operator": (
        ("messages.yaml", "{size} for {validity}, {price}", "{size} for {value}"),
        "messages.yaml:3: unknown placeholder `{value}`",
    ),
    "a placeholder that an answer lacks": (
        ("messages.yaml", "Nothing was charged.", "{size} was not charged."),
        "messages.yaml:10: `refused_funds` cannot say `{size}`; "
        "there are `title`, `price`, `number`, `expires`, `short_code`, `link`, `net` and `tax`",
    ),
    "a page that is about no offer, and says its title": (
        ("messages/page.yaml", "", "page_brand: {en: Tidal}\npage_unknown: {en: '{title} is unknown'}"),
        "messages/page.yaml:2: `page_unknown` cannot say `{title}`; there is none yet",
    ),
    "a placeholder that only one variant has": (
        ("offers/booster.yaml", "size: 2GB,   validity: 7 days,", "size: 2GB,"),
        "messages.yaml:3: variant `large` of `booster` has no `validity`; add it, or leave the placeholder out\n"
        "messages.yaml:6: variant `large` of `booster` has no `validity`; add it, or leave the placeholder out",
    ),
    "half a placeholder": (
        ("messages.yaml", "{title} is active", "{title is active"),
        "messages.yaml:9: en: a brace stands alone; write `{name}` for a placeholder, or `{{` for a brace\n"
        "messages.yaml:9: the message `confirmed` has no text in en, the language that all fall back to",
    ),
    "a language": (
        ("messages.yaml", "help:          {en:", "help:          {fr: Aide, en:"),
        "messages.yaml:16: unknown language `fr`; there is `en`",
    ),
    "an answer that is missing": (
        ("messages.yaml", "nothing_open:", "nothing_opened:"),
        "messages.yaml: the message `nothing_open` is missing; kairos says it in answer to a reply; add it",
    ),
    "a line that rides nowhere": (
        (
            "messages.yaml",
            GOOD["messages.yaml"][: GOOD["messages.yaml"].index("booster_sms")],
            "booster_line: {en: 'Reply {number}: " + "x" * 160 + "'}\n",
        ),
        "messages.yaml:1: `booster_line` can ride on no notification: "
        "its shortest text in en takes 170 units of gsm7; add a shorter text",
    ),
    "a tester without an international number": (
        ("seeds.yaml", "", 'testers: [{name: Ada, msisdn: "0123"}]'),
        'seeds.yaml:1: msisdn: `0123` is no international number; write it in quotes, as in `"+12025550123"`',
    ),
    "a tester of an unknown offer": (
        ("seeds.yaml", "", 'testers: [{name: Ada, msisdn: "+12025550123", offer: boster/small}]'),
        "seeds.yaml:1: offer: unknown offer `boster/small`; did you mean `booster/small`?",
    ),
    "two testers of one number": (
        (
            "seeds.yaml",
            "",
            'testers:\n- {name: Ada, msisdn: "+12025550123"}\n- {name: Bob, msisdn: "12025550123"}',
        ),
        "seeds.yaml:3: `12025550123` is the number of `Ada` already; name it once",
    ),
    "a freeze without a time": (
        ("contact_policy.yaml", "holdout: 5%", "freeze:\n  - {from: christmas, to: 2026-12-27 00:00, why: x}"),
        "contact_policy.yaml:8: from: `christmas` is no time; "
        "write it as in `2026-12-24 00:00`, `2026-12-24T00:00Z` or, for every week, `fri 22:00`",
    ),
    "a freeze that ends before it begins": (
        (
            "contact_policy.yaml",
            "holdout: 5%",
            "freeze:\n  - {from: 2026-12-24 00:00, to: 2026-12-23 00:00, why: x}",
        ),
        "contact_policy.yaml:8: `2026-12-23 00:00` is not after `from`; name a later time",
    ),
    "a freeze that is half weekly": (
        ("contact_policy.yaml", "holdout: 5%", "freeze:\n  - {from: fri 22:00, to: 2026-12-23 00:00, why: x}"),
        "contact_policy.yaml:8: `from` and `to` are both dates, or both days of the week; "
        "write it as in `2026-12-24 00:00`, `2026-12-24T00:00Z` or, for every week, `fri 22:00`",
    ),
    "a freeze without a reason": (
        ("contact_policy.yaml", "holdout: 5%", "freeze:\n  - {from: fri 22:00, to: sun 06:00}"),
        "contact_policy.yaml:8: `why` is missing; add it, as in `why: network freeze`",
    ),
    "a freeze in an unknown zone": (
        (
            "contact_policy.yaml",
            "holdout: 5%",
            "freeze:\n  - {from: fri 22:00, to: sun 06:00, why: x, zone: Europe/Lundon}",
        ),
        "contact_policy.yaml:8: zone: unknown time zone `Europe/Lundon`; did you mean `Europe/London`?",
    ),
    "a freeze of no channel": (
        (
            "contact_policy.yaml",
            "holdout: 5%",
            "freeze:\n  - {from: fri 22:00, to: sun 06:00, why: x, channels: []}",
        ),
        "contact_policy.yaml:8: channels: the list is empty; leave the key out for all of them",
    ),
    "a freeze of an unknown issue": (
        (
            "contact_policy.yaml",
            "holdout: 5%",
            "freeze:\n  - {from: fri 22:00, to: sun 06:00, why: x, issues: upsel}",
        ),
        "contact_policy.yaml:8: issues: unknown issue `upsel`; there is `bundle`",
    ),
    "quiet hours": (
        ("contact_policy.yaml", "21:00-08:00", "21-8"),
        "contact_policy.yaml:3: quiet_hours: `21-8` is no span of hours; write it as in `21:00-08:00`",
    ),
    "a share": (
        ("contact_policy.yaml", "holdout: 5%", "holdout: 5"),
        "contact_policy.yaml:7: holdout: `5` is no share; write it as in `5%`, from 0% to below 100%",
    ),
    "a truth": (
        ("contact_policy.yaml", "riding: no}", "riding: nope}"),
        "contact_policy.yaml:6: riding: `nope` is neither yes nor no; write `yes` or `no`",
    ),
    "a limit on an unknown offer": (
        ("contact_policy.yaml", "riding: no}", "offer: boster}"),
        "contact_policy.yaml:6: offer: unknown offer `boster`; did you mean `booster`?",
    ),
    "a limit that never counts": (
        ("contact_policy.yaml", "riding: no}", "riding: no, channel: notification}"),
        "contact_policy.yaml:6: no contact is ever both: lines ride on `notification`, and messages of their own "
        "on the rest; leave out `riding` or `channel`",
    ),
    "two limits of one name": (
        ("contact_policy.yaml", "{at_most: 2, per: 1 day, riding: no}", "{at_most: 20, per: 1 day, riding: yes}"),
        "contact_policy.yaml:6: there are two limits `20 riding lines per 1 day`; give one a `name` of its own",
    ),
    "a keyword of two meanings": (
        ("replies.yaml", "decline: {en: [no, no thanks]}", "decline: {en: [no, Ó K]}"),
        "replies.yaml:3: `Ó K` is a word of `decline`, and `ok` on line 2 one of `accept`; "
        "case, accents and marks make no difference; keep one",
    ),
    "a keyword with a digit": (
        ("replies.yaml", "[yes, ok]", "[yes, ok1]"),
        "replies.yaml:2: en: `ok1` has a digit, and digits are the number of an offer; use letters only\n"
        "replies.yaml:2: `accept` has no word in en; it is the language that all fall back to",
    ),
    "a keyword of digits in another script": (
        ("replies.yaml", "[help]", "[٣]"),
        "replies.yaml:5: en: `٣` has a digit, and digits are the number of an offer; use letters only",
    ),
    "another service's word that is ours": (
        ("replies.yaml", "withdraws:", "other_services: {NO: info}\n  withdraws:"),
        "replies.yaml:6: `NO` belongs to another service, and `no` on line 3 is ours; a reply can go one way only",
    ),
    "another service's word twice": (
        ("replies.yaml", "withdraws:", "other_services: {BAL: info, bál: care}\n  withdraws:"),
        "replies.yaml:6: `bál` reads the same as `BAL`; case, accents and marks make no difference; keep one",
    ),
    "a number as another service's word": (
        ("replies.yaml", "withdraws:", "other_services: {7: info}\n  withdraws:"),
        "replies.yaml:6: `7` is not one word of letters; "
        "a reply is relayed by its first word; digits are the number of an offer",
    ),
    "a digit in another service's word": (
        ("replies.yaml", "withdraws:", "other_services: {4G: info}\n  withdraws:"),
        "replies.yaml:6: `4G` is not one word of letters; "
        "a reply is relayed by its first word; digits are the number of an offer",
    ),
    "another service's word that begins ours": (
        ("replies.yaml", "withdraws:", "other_services: {Nò: info}\n  withdraws:"),
        "replies.yaml:6: `Nò` belongs to another service, and `no` on line 3 is ours; a reply can go one way only",
    ),
    "a keyword without a letter": (
        ("replies.yaml", "[help]", '[help, "?"]'),
        "replies.yaml:5: en: `?` has no letter; marks are not read",
    ),
    "no keyword at all": (
        ("replies.yaml", "[yes, ok]", "[]"),
        "replies.yaml:2: `accept` has no word in en; it is the language that all fall back to",
    ),
    "a rule without a name": (
        ("contact_policy.yaml", "marketing consent:", '"":'),
        "contact_policy.yaml:2: a rule needs a name: it is shown as the reason; as in `can afford it: ...`",
    ),
    "an action called none": (
        ("offers/another.yaml", "", GOOD["offers/booster.yaml"].replace("offer: booster", "offer: none")),
        "offers/another.yaml:1: offer: no action can be called `none`; tests say it where nothing is expected",
    ),
    "what STOP withdraws": (
        ("replies.yaml", "[marketing_consent]", "[marketing_consnt]"),
        "replies.yaml:6: `marketing_consnt` is no boolean attribute; did you mean `marketing_consent`?",
    ),
    "a short code": (
        ("replies.yaml", '"5000"', "SHORT"),
        "replies.yaml:1: `SHORT` is no short code; write its digits, as in `5000`",
    ),
    "a test's column": (
        (
            "tests/booster.yaml",
            "balance: 2, data_left_mb: 120}\n  when:",
            "balanse: 2}\n  when:",
        ),
        "tests/booster.yaml:4: unknown name `balanse`; did you mean `balance`?",
    ),
    "a test's offer": (
        ("tests/booster.yaml", "{offer: booster, variant: small}", "{offer: boster}"),
        "tests/booster.yaml:6: offer: unknown offer `boster`; did you mean `booster`?",
    ),
    "a test's variant": (
        ("tests/booster.yaml", "variant: small", "variant: smal"),
        "tests/booster.yaml:6: variant: unknown variant `smal`; did you mean `small`?",
    ),
    "a test's reason": (
        ("tests/booster.yaml", "{booster: can afford it}", "{booster: can aford it}"),
        "tests/booster.yaml:11: booster: unknown reason `can aford it`; did you mean `can afford it`?",
    ),
    "a volume that slides": (
        ("offers/booster.yaml", "issue: bundle", "issue: bundle\nvolume: {at_most: 5, per: 1 day}"),
        "offers/booster.yaml:4: per: `1 day` is no period of a budget; "
        "it is the operator's own: write it as in `calendar day` or `calendar month`",
    ),
    "a volume of an unknown unit": (
        ("offers/booster.yaml", "issue: bundle", "issue: bundle\nvolume: {at_most: 5, per: calendar days}"),
        "offers/booster.yaml:4: per: unknown unit `days`; did you mean `day`?",
    ),
    "a budget that nobody has named": (
        ("offers/booster.yaml", "issue: bundle", "issue: bundle\nbudget: summer sail"),
        "offers/booster.yaml:4: budget: unknown budget `summer sail`; there is none yet",
    ),
    "a budget too small for a variant": (
        ("offers/booster.yaml", "issue: bundle", "issue: bundle\nbudget: {spend: 1.50, per: calendar day}"),
        "offers/booster.yaml:4: `large` can never be said: its price is T$4; `budget of booster` has T$1.50 per day",
    ),
    "a budget of costs that nobody knows": (
        ("offers/booster.yaml", "issue: bundle", "issue: bundle\nbudget: {spend: 9, counts: cost, per: calendar day}"),
        "offers/booster.yaml:4: `budget of booster` counts the cost, and `small` has none; "
        "add what a yes costs you, as in `cost: 0.80`\n"
        "offers/booster.yaml:4: `budget of booster` counts the cost, and `large` has none; "
        "add what a yes costs you, as in `cost: 0.80`",
    ),
    "a budget of nothing": (
        ("offers/booster.yaml", "issue: bundle", "issue: bundle\nbudget: {spend: 0, counts: prise, per: calendar day}"),
        "offers/booster.yaml:4: `spend` is 0: nothing would be said; leave the offer out instead\n"
        "offers/booster.yaml:4: counts: unknown amount `prise`; did you mean `price`?",
    ),
    "a pace": (
        ("offers/booster.yaml", "issue: bundle", "issue: bundle\nvolume: {at_most: 5, per: calendar day, pace: evn}"),
        "offers/booster.yaml:4: pace: unknown pace `evn`; did you mean `even`?",
    ),
    "two shared budgets of one name": (
        (
            "budgets.yaml",
            "",
            "budgets:\n  - {name: a, at_most: 5, per: calendar day}\n  - {name: a, spend: 5, per: calendar day}",
        ),
        "budgets.yaml:3: the budget `a` stands on line 2 already; give it another name",
    ),
    "a shared budget that is two": (
        ("budgets.yaml", "", "budgets:\n  - {name: a, at_most: 5, spend: 5, counts: cost, per: calendar day}"),
        "budgets.yaml:2: `at_most` and `spend` are two budgets; name each on its own\n"
        "budgets.yaml:2: `at_most` counts offers; leave out `counts`",
    ),
    "a shared budget that takes an offer's own name": (
        ("budgets.yaml", "", "budgets:\n  - {name: volume of booster, at_most: 5, per: calendar day}"),
        "budgets.yaml:2: name: `volume of booster` is what an offer's own is called; give it another name",
    ),
    "a budget that a test knows": (
        ("tests/booster.yaml", "  given: {", "  given: {taken: {summer sale: 5}, "),
        "tests/booster.yaml:4: unknown budget `summer sale`; there is none yet",
    ),
    "a part of a reason": (
        ("tests/booster.yaml", "{booster: can afford it}", "{booster: afford}"),
        "tests/booster.yaml:11: booster: unknown reason `afford`; did you mean `can afford it`?",
    ),
    "a test's event": (
        (
            "tests/booster.yaml",
            "when:  {end_of_call: {service: data, cost: 0.10}}\n  then:  {offer: booster",
            "when:  end_of_cal\n  then:  {offer: booster",
        ),
        "tests/booster.yaml:5: when: unknown event `end_of_cal`; did you mean `end_of_call`?",
    ),
    "a test without an end": (
        ("tests/booster.yaml", "\n  then:  {offer: booster, variant: small}", ""),
        "tests/booster.yaml:3: `then` is missing; say what is expected, as in `then: {offer: none}`",
    ),
    "a test's local time": (
        ("tests/booster.yaml", "variant: small}", "variant: small}\n  at: noon"),
        "tests/booster.yaml:7: at: `noon` is no local time; write it as in `2026-11-21 22:00`",
    ),
    "two tests of one name": (
        ("tests/more.yaml", "", "test: without consent there is no marketing\nwhen: end_of_call\nthen: {offer: none}"),
        "tests/more.yaml:1: a test of this name stands in tests/booster.yaml on line 13 already; give it another name",
    ),
}


def changed(file: str, old: str | None, new: str) -> dict[str, str]:
    """The good playbook with one text changed, added (old is empty) or moved (old is None)."""
    if old is None:
        texts = {path: text for path, text in GOOD.items() if path != file}
        return texts | {new: GOOD[file]}
    if not old:
        return {**GOOD, file: new}
    assert old in GOOD[file], f"{old!r} is not in {file}"
    return {**GOOD, file: GOOD[file].replace(old, new, 1)}


@pytest.mark.parametrize("case", BAD)
def test_everything_wrong_is_said(case: str) -> None:
    change, expected = BAD[case]
    with pytest.raises(PlaybookError) as error:
        read(changed(*change))
    assert str(error.value) == expected


def test_the_good_one_is_good() -> None:
    assert read(GOOD).name == "Good"


@pytest.mark.parametrize("path", sorted(GOOD))
def test_a_file_that_is_missing(path: str) -> None:
    texts = {other: text for other, text in GOOD.items() if other != path}
    if path.startswith("tests/"):
        assert read(texts).tests == ()
        return
    with pytest.raises(PlaybookError) as error:
        read(texts)
    if not path.startswith("offers/"):
        assert f"{path}: the file is missing; `kairos new` shows what stands in it" in str(error.value)
