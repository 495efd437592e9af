"""Every recipient is told the truth about, and nobody gets a message twice."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from sesight.app import now_ms
from sesight.domain.errors import Conflict, SendingStopped, SettingsError, StoreUnavailable
from sesight.domain.event import Accepted, EventType
from sesight.domain.outcome import Outcome
from sesight.domain.sending import SendState, TemplateRecipient
from sesight.domain.timestamps import DAY
from sesight.ingest.reading import EventReading
from sesight.send.message import OutgoingMessage
from sesight.send.unsubscribe_link import Tokens
from sesight_simulator.ses.faults import Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.builders import bounce
from tests.mailing import parsed, ses_client, simulated_ses
from tests.send.office import KEYS, Office, office, states


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, ses: SimulatedSes) -> Iterator[Office]:
    with office(tmp_path, ses) as opened:
        yield opened


def suppress(here: Office, address: str) -> None:
    """Have an address suppressed by an event, as they are."""
    _, told = bounce(address, message=f"m-{address}")
    here.app.pipeline.process(
        [EventReading("test", replace(told, configuration_set="outreach-tracking"))]
    )


def test_a_message_and_its_record(here: Office) -> None:
    """A message that was sent has a record at once, with its campaign, subject and send id, and its
    events join that record without anything done by hand.
    """
    (result,) = here.send(["Ana <Ana@Example.org>"])
    assert result.state is SendState.SENT
    record = here.record(result.message_id)
    assert (record.recipient, record.spelling) == ("ana@example.org", "Ana@example.org")
    assert record.campaign == "spring"
    assert record.identity.subject == "Hello Ana"
    assert record.identity.send_id == result.send_id
    assert [type(each) for each in record.timeline] == [Accepted]
    here.take_events()
    record = here.record(result.message_id)
    assert {each.type for each in record.timeline} == {
        EventType.ACCEPTED,
        EventType.SEND,
        EventType.DELIVERY,
    }
    assert record.tally is not None
    assert record.tally.outcome == Outcome.DELIVERED
    card = here.app.store.card("outreach", "spring")
    assert card is not None
    assert card.name == "Spring is here"


def test_what_ses_was_given(here: Office) -> None:
    """The message carries the configuration set, the tags and the headers that it must."""
    (result,) = here.send(["ana@example.org"])
    (message,) = here.ses.messages("ana@example.org")
    assert message.configuration_set == "outreach-tracking"
    assert message.tags["campaign_id"] == "spring"
    assert message.tags["send_id"] == result.send_id
    assert message.tags["ses:feedback-id-a"] == "outreach"
    assert message.tags["ses:feedback-id-b"] == "spring"
    headers = dict(message.extra_headers)
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert headers["List-Unsubscribe"].startswith("<https://mail.example.com/api/unsubscribe/k1.")
    assert message.to == ["ana@example.org"]


def test_a_thousand(here: Office, ses: SimulatedSes) -> None:
    """Of a thousand recipients each is told truthfully and in order; SES has what is said sent."""
    kinds = [SendState.SENT, SendState.SUPPRESSED, SendState.INVALID, SendState.THROTTLED]
    expected = [kinds[n // 10 % 4] if n % 10 == 0 else SendState.SENT for n in range(1_000)]
    addresses = [
        f"no address {n}" if state is SendState.INVALID else f"{state}-{n}@example.org"
        for n, state in enumerate(expected)
    ]
    for address in addresses:
        if address.startswith("suppressed"):
            suppress(here, address)
    # some are throttled until nobody tries any more, many once
    ses.fail(Fault.THROTTLED, 10_000, matches=lambda call: of(call).startswith("throttled"))
    ses.fail(Fault.THROTTLED, 50, matches=lambda call: of(call).startswith("sent"))
    results = here.send(addresses)
    assert [each.recipient for each in results] == addresses
    assert states(results) == expected
    for result in results:
        assert (result.message_id is not None) == (result.state is SendState.SENT)
        assert (result.detail is None) == (result.state is SendState.SENT)
    said = sorted(each.message_id or "" for each in results if each.state is SendState.SENT)
    assert said == sorted(each.message_id for each in ses.messages())
    assert len(ses.messages()) == expected.count(SendState.SENT)


def of(call: dict) -> str:
    """Return whom a call of SendEmail is for."""
    return call["Destination"]["ToAddresses"][0]


def test_the_same_twice(here: Office, ses: SimulatedSes) -> None:
    """The same order sends nothing again and gets the first answer, whatever has changed since."""
    first = here.send(["ana@example.org", "nobody", "ben@example.org"])
    suppress(here, "ana@example.org")
    assert here.send(["ana@example.org", "nobody", "ben@example.org"]) == first
    assert len(ses.messages()) == 2


def test_another_order_under_the_same_key(here: Office, ses: SimulatedSes) -> None:
    """Something else under the same key is a conflict, and nothing of it is sent."""
    here.send(["ana@example.org"])
    with pytest.raises(Conflict, match="another key"):
        here.send(["ben@example.org"])
    assert len(ses.messages()) == 1


def test_the_same_at_once(here: Office, ses: SimulatedSes) -> None:
    """Many who send the same order at once send it once; the others hear that it is under way, or
    its answer.
    """
    addresses = [f"a{n}@example.org" for n in range(30)]

    def attempt(_: int) -> str:
        try:
            return " ".join(states(here.send(addresses)))
        except Conflict:
            return "conflict"

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(attempt, range(8)))
    assert set(answers) <= {"conflict", " ".join([SendState.SENT] * 30)}
    assert Counter(of_message(ses)) == Counter(addresses)


def of_message(ses: SimulatedSes) -> list[str]:
    """Return the address of every message that SES accepted."""
    return [each.to[0] for each in ses.messages()]


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.ERROR_AFTER, Fault.RESET, Fault.ERROR])
def test_no_answer(here: Office, ses: SimulatedSes, fault: Fault) -> None:
    """A call without an answer is unknown, and is not made again: only its Send event tells that it
    was accepted.
    """
    ses.fail(fault, matches=lambda call: of(call).startswith("lost"))
    addresses = ["ana@example.org", "lost@example.org"]
    results = here.send(addresses)
    assert states(results) == [SendState.SENT, SendState.UNKNOWN]
    assert states(here.send(addresses)) == [SendState.SENT, SendState.UNKNOWN]
    assert states(here.send(addresses, resumed=True)) == [SendState.SENT, SendState.UNKNOWN]
    here.take_events()
    accepted = fault in {Fault.DROPPED, Fault.ERROR_AFTER}
    settled = here.send(addresses)
    assert states(settled) == [SendState.SENT, SendState.SENT if accepted else SendState.UNKNOWN]
    assert len(ses.messages("lost@example.org")) == accepted
    if accepted:
        assert settled[1].message_id == ses.messages("lost@example.org")[0].message_id


def test_an_answer_that_never_comes(tmp_path: Path, ses: SimulatedSes) -> None:
    """What neither SES nor an event has told for the time set was not sent: a resumed order sends it,
    once, under another send id.
    """
    later = [0]
    with office(tmp_path, ses, lambda: now_ms() + later[0], unknown_minutes=60) as here:
        ses.fail(Fault.RESET, matches=lambda call: of(call).startswith("lost"))
        addresses = ["ana@example.org", "lost@example.org"]
        first = here.send(addresses)
        later[0] = 59 * 60_000
        here.take_events()  # of the one that was sent
        assert states(here.send(addresses, resumed=True)) == [SendState.SENT, SendState.UNKNOWN]
        later[0] = 61 * 60_000
        assert states(here.send(addresses, resumed=True)) == [SendState.SENT, SendState.UNKNOWN], (
            "nothing has come in since, so events may be late"
        )
        (other,) = here.send(["cy@example.org"], "batch-2")
        assert other.state is SendState.SENT
        assert states(here.send(addresses, resumed=True)) == [SendState.SENT, SendState.UNKNOWN], (
            "that we sent another does not show that events come in"
        )
        here.take_events()
        again = here.send(addresses, resumed=True)
        assert states(again) == [SendState.SENT, SendState.SENT]
        assert again[1].send_id != first[1].send_id
        assert len(ses.messages("lost@example.org")) == 1


def test_what_is_forgotten(tmp_path: Path, ses: SimulatedSes) -> None:
    """Once who got the first messages of an order may be forgotten, the order goes on to nobody: who had
    it would get it again.
    """
    later = [0]
    with office(tmp_path, ses, lambda: now_ms() + later[0]) as here:
        here.send(["ana@example.org"], resumed=True, same=True)
        later[0] = 60 * DAY
        here.send(["ana@example.org", "ben@example.org"], resumed=True, same=True)
        later[0] = 91 * DAY
        here.app.store.sweep(here.app.clock(), 1_000)
        people = ["ana@example.org", "ben@example.org", "cy@example.org"]
        with pytest.raises(Conflict, match="more than 90 days ago"):
            here.send(people, resumed=True, same=True)
    assert Counter(of_message(ses)) == Counter(people[:2])


def test_what_ses_refuses(here: Office, ses: SimulatedSes) -> None:
    """What SES refuses of one message is told with its code, and the others go."""
    ses.account.identities.clear()
    ses.account.identities.add("example.com")
    del ses.account.sets["finance-tracking"]
    (result,) = here.send(["ana@example.org"], stream="finance")
    assert (result.state, result.code) == (SendState.REFUSED, "not-found")
    ses.account.identities.clear()
    (result,) = here.send(["ana@example.org"], "batch-2")
    assert (result.state, result.code) == (SendState.REFUSED, "message-rejected")
    assert ses.messages() == []


def test_a_resumed_order(here: Office, ses: SimulatedSes) -> None:
    """A resumed order sends to those who got nothing, when they can be sent to now, and to no other."""
    ses.fail(Fault.THROTTLED, 10_000, matches=lambda call: of(call).startswith("slow"))
    addresses = ["ana@example.org", "slow@example.org", "nobody"]
    assert states(here.send(addresses)) == [SendState.SENT, SendState.THROTTLED, SendState.INVALID]
    ses.recover()
    resumed = here.send(addresses, resumed=True)
    assert states(resumed) == [SendState.SENT, SendState.SENT, SendState.INVALID]
    assert sorted(of_message(ses)) == ["ana@example.org", "slow@example.org"]


def test_sending_that_is_paused_in_ses(here: Office, ses: SimulatedSes) -> None:
    """When SES says that sending is paused, the stream stops, says why, and sends only after it was
    let go on; the other stream goes on.
    """
    ses.account.sets["outreach-tracking"].sending = False
    addresses = [f"a{n}@example.org" for n in range(100)]
    results = here.send(addresses)
    assert set(states(results)) == {SendState.THROTTLED}
    assert ses.calls["SendEmail"] <= 32
    with pytest.raises(SendingStopped, match="stream resume outreach"):
        here.send(["ana@example.org"], "batch-2")
    assert states(here.send(["ana@example.org"], "batch-3", stream="finance")) == [SendState.SENT]
    ses.account.sets["outreach-tracking"].sending = True
    here.app.sending.guard.resume("outreach")
    assert set(states(here.send(addresses))) == {SendState.SENT}


def test_an_account_that_is_suspended(here: Office, ses: SimulatedSes) -> None:
    """When AWS has suspended the account, no stream sends."""
    ses.account.enforcement = "SHUTDOWN"
    assert states(here.send(["ana@example.org"])) == [SendState.THROTTLED]
    with pytest.raises(SendingStopped):
        here.send(["ana@example.org"], "batch-2", stream="finance")
    assert ses.messages() == []


def test_the_quota_of_a_day(here: Office, ses: SimulatedSes) -> None:
    """What is over the quota of 24 hours is not tried and is told as throttled."""
    ses.account.max_24_hour_send = 5
    results = here.send([f"a{n}@example.org" for n in range(8)])
    assert Counter(states(results)) == {SendState.SENT: 5, SendState.THROTTLED: 3}
    assert {each.code for each in results if each.state is SendState.THROTTLED} == {"quota"}


def test_a_store_that_is_away(here: Office, ses: SimulatedSes) -> None:
    """While the suppression list cannot be asked, nothing is sent."""
    order = here.order(["ana@example.org"])
    sender = here.app.sending.sender("outreach")
    here.app.store.close()
    path = Path(here.app.settings.store.url.removeprefix("sqlite:///"))
    path.write_bytes(b"not a store" * 1_000)
    with pytest.raises(StoreUnavailable):
        sender.send(order)
    assert ses.calls["SendEmail"] == 0


def test_ses_that_cannot_be_asked(tmp_path: Path) -> None:
    """Without a word of SES on what the account may send, nothing is tried."""
    with simulated_ses() as gone:
        pass
    with office(tmp_path, gone) as here, pytest.raises(SendingStopped, match="cannot be reached"):
        here.send(["ana@example.org"])


def test_no_suppressed_address_is_sent_to(here: Office, ses: SimulatedSes) -> None:
    """With 32 senders at once while suppressions arrive, no message leaves after the suppression of
    its address was committed.
    """
    addresses = [f"a{n}@example.org" for n in range(400)]
    committed: dict[str, int] = {}
    begun = threading.Barrier(33)

    def send(n: int) -> None:
        begun.wait(30)
        here.send(addresses[n::4][n // 4 :: 1], f"batch-{n}")

    def arrive() -> None:
        begun.wait(30)
        for address in addresses[::3]:
            suppress(here, address)
            committed[address] = here.app.clock()

    with ThreadPoolExecutor(33) as pool:
        done = [pool.submit(send, n) for n in range(32)] + [pool.submit(arrive)]
        for each in done:
            each.result(120)
    late = [
        each
        for each in ses.messages()
        if each.to[0] in committed and each.at > committed[each.to[0]] + IN_FLIGHT_MS
    ]
    assert late == []
    assert len(committed) == len(addresses[::3])
    assert Counter(of_message(ses)).total() > len(addresses)


IN_FLIGHT_MS = 2_000
"""A message may already be on its way to SES when the suppression of its address is committed."""


def test_settings_that_lack_what_mail_must_have(tmp_path: Path, ses: SimulatedSes) -> None:
    """Marketing mail without a postal address or an unsubscribe link is not sent, with a sentence."""
    bare = [{"stream": "outreach", "from_address": "news@example.com"}]
    with office(tmp_path, ses, senders=bare) as here, pytest.raises(SettingsError, match="postal"):
        here.send(["ana@example.org"])
    named = [{**bare[0], "postal_address": "1 Example Street"}]
    with (
        office(tmp_path, ses, senders=named) as here,
        pytest.raises(SettingsError, match="public_url"),
    ):
        here.send(["ana@example.org"])
    other = [{**named[0], "configuration_set": "elsewhere"}]
    with (
        office(tmp_path, ses, senders=other) as here,
        pytest.raises(SettingsError, match="another configuration set"),
    ):
        here.send(["ana@example.org"])
    with (
        office(tmp_path, ses, senders=named) as here,
        pytest.raises(SettingsError, match="no sender"),
    ):
        here.send(["ana@example.org"], stream="finance")


def test_ses_list_is_asked(tmp_path: Path, ses: SimulatedSes) -> None:
    """Where the settings say so, an address on SES's own list is not sent to, and one of which SES
    does not say is not sent to yet.
    """
    ses.account.suppressions.suppress("ana@example.org", "BOUNCE")
    with office(tmp_path, ses, account_list=True) as here:
        ses.fail(
            Fault.ERROR,
            operations=("GetSuppressedDestination",),
            matches=lambda given: given["EmailAddress"] == "bo@example.org",
        )
        told = here.send(["ana@example.org", "bo@example.org", "cy@example.org"])
        assert [(each.state, each.code) for each in told] == [
            (SendState.SUPPRESSED, "account-list"),
            (SendState.THROTTLED, "list-unknown"),
            (SendState.SENT, None),
        ]
        (told_again,) = here.send(["bo@example.org"], "batch-2")
        assert told_again.state is SendState.SENT
    with office(tmp_path, ses) as here:
        (unasked,) = here.send(["ana@example.org"], "batch-3")
        assert unasked.state is SendState.SENT


def test_the_raw_message(here: Office, ses: SimulatedSes) -> None:
    """Read as mail, a message has one From, one To, both texts, and RFC 8058's headers with exactly one
    HTTPS address, whose token stands for the recipient.
    """
    (result,) = here.send(["Zoë Bell <zoe@example.org>"])
    mail = parsed(ses.messages()[0])
    assert mail.get_all("From") == ["Example News <news@example.com>"]
    assert [each.addr_spec for each in mail["To"].addresses] == ["zoe@example.org"]
    assert mail["To"].addresses[0].display_name == "Zoë Bell"
    assert mail["Subject"] == "Hello Zoë Bell"
    assert mail["Cc"] is None
    assert mail["Bcc"] is None
    assert {part.get_content_type() for part in mail.walk() if not part.is_multipart()} == {
        "text/plain",
        "text/html",
    }
    (link,) = re.fullmatch(r"<(https://[^<>, ]+)>", mail["List-Unsubscribe"]).groups()
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    leave = Tokens(KEYS).read(link.rpartition("/")[2])
    assert (leave.stream, leave.address, leave.campaign) == (
        "outreach",
        "zoe@example.org",
        "spring",
    )
    assert leave.send_id == result.send_id
    assert link in mail.get_body(("html",)).get_content()


def test_tracking_off(here: Office, tmp_path: Path, ses: SimulatedSes) -> None:
    """Opens and clicks are not recorded of a recipient, or of a stream, that has tracking off."""
    off = {"OpenTrackingEnabled": "DISABLED", "ClickTrackingEnabled": "DISABLED"}
    here.send(["ana@example.org"])
    here.send([TemplateRecipient(email="ben@example.org", tracked=False)], "batch-2")
    assert ses.messages("ana@example.org")[0].overrides is None
    assert ses.messages("ben@example.org")[0].overrides == {"Tracking": off}
    senders = [
        replace(each, tracked=False) if each.stream == "finance" else each
        for each in here.app.settings.sending.senders
    ]
    (tmp_path / "other").mkdir()
    with office(tmp_path / "other", ses, senders=to_builtins(senders)) as other:
        other.send(["cy@example.org"], stream="finance")
    assert ses.messages("cy@example.org")[0].overrides == {"Tracking": off}


UNSUBSCRIBE = {
    "header": ({}, "https://"),
    "notify": ({"unsubscribe": "notify", "reply_to": ["help@example.com"]}, "mailto:help@"),
    "none": ({"unsubscribe": "none"}, None),
}


@pytest.mark.parametrize("mode", UNSUBSCRIBE)
def test_leaving_a_transactional_stream(tmp_path: Path, ses: SimulatedSes, mode: str) -> None:
    """How one leaves a stream that is not marketing is a setting: one click, a message, or not."""
    changes, expected = UNSUBSCRIBE[mode]
    sender = {
        "stream": "finance",
        "from_address": "pay@example.com",
        "public_url": "https://mail.example.com",
        "unsubscribe_keys": KEYS,
        **changes,
    }
    with office(tmp_path, ses, senders=[sender]) as here:
        assert states(here.send(["ana@example.org"], stream="finance")) == [SendState.SENT]
    mail = parsed(ses.messages()[0])
    assert (mail["List-Unsubscribe-Post"] is not None) == (mode == "header")
    if expected is None:
        assert mail["List-Unsubscribe"] is None
    else:
        assert mail["List-Unsubscribe"].startswith(f"<{expected}")


def test_a_contact_list(tmp_path: Path, ses: SimulatedSes) -> None:
    """With a contact list SES makes the unsubscribe links, and ours are not there."""
    topic = {"TopicName": "news", "DisplayName": "News", "DefaultSubscriptionStatus": "OPT_IN"}
    ses_client(ses).create_contact_list(ContactListName="people", Topics=[topic])
    sender = {
        "stream": "outreach",
        "from_address": "news@example.com",
        "postal_address": "1 Example Street",
        "contact_list": "people",
        "topic": "news",
    }
    with office(tmp_path, ses, senders=[sender]) as here:
        (result,) = here.send(["ana@example.org"])
    assert result.state is SendState.SENT, result
    (message,) = ses.messages()
    assert message.list_management == {"ContactListName": "people", "TopicName": "news"}
    assert message.extra_headers == []
    assert "{{amazonSESUnsubscribeUrl}}" not in message.html


def test_a_mistake_of_ours(here: Office, ses: SimulatedSes) -> None:
    """What nobody thought of ends the order with its error, and no recipient is told of wrongly."""
    order = here.order([f"a{n}@example.org" for n in range(50)])

    def broken(send_id: str) -> OutgoingMessage:
        raise ZeroDivisionError(send_id)

    drafts = [*order.drafts[:20], replace(order.drafts[20], compose=broken), *order.drafts[21:]]
    sender = here.app.sending.sender("outreach")
    with pytest.raises(ZeroDivisionError):
        sender.send(replace(order, drafts=drafts))
    results = sender.send(order)
    assert [each.recipient for each in results] == [draft.recipient for draft in order.drafts]
    assert set(states(results)) == {SendState.SENT}
    assert Counter(of_message(ses)) == Counter(draft.address for draft in order.drafts)
