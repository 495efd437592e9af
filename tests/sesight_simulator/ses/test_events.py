"""The events that the simulated SES publishes: their order and words, and what Sesight makes of them."""

import json

import msgspec
import pytest

from sesight.domain.outcome import derive_facts
from sesight_simulator.ses.delivery_results import Fate, various
from sesight_simulator.ses.events import EICAR
from sesight_simulator.ses.simulated_ses import lively_ses
from tests.mailing import ses_client, simple, simulated_ses
from tests.reception import Reception
from tests.server.harness import running

NOWHERE = "http://127.0.0.1:9/api/ses/events"
NOW = 1_795_500_000_000
TAGS = [{"Name": "campaign_id", "Value": "digest-2026-11"}, {"Name": "send_id", "Value": "s1"}]
READERS = {
    "ContactListName": "readers",
    "Topics": [
        {"TopicName": "digest", "DisplayName": "Digest", "DefaultSubscriptionStatus": "OPT_IN"}
    ],
}
AT_READERS = {"ContactListName": "readers", "TopicName": "digest"}
VIRUS = [{"FileName": "a.txt", "RawContent": EICAR}]


@pytest.fixture
def ses():
    with simulated_ses(clock=lambda: NOW) as ses:
        yield ses


@pytest.fixture
def client(ses):
    return ses_client(ses)


@pytest.fixture
def reception(tmp_path):
    made = Reception(tmp_path, now=NOW + 1_000)
    yield made
    made.store.close()


def told(ses, sent):
    """Return types and bodies of a message's events, in order."""
    return [(e.event_type, json.loads(e.body)) for e in ses.events(sent["MessageId"])]


def types(ses, sent):
    return [event_type for event_type, _ in told(ses, sent)]


def outcome(record):
    return derive_facts(record.timeline).outcome.name.lower()


def html(text='<a href="https://example.com/x">x</a>', **more):
    body = {"Html": {"Data": text, "Charset": "UTF-8"}}
    return {"Content": {"Simple": {"Subject": {"Data": "Hi"}, "Body": body, **more}}}


SIMULATED = {
    "success": ["Send", "Delivery"],
    "success+label": ["Send", "Delivery"],
    "bounce": ["Send", "Bounce"],
    "ooto+1": ["Send", "Delivery", "Bounce"],
    "complaint": ["Send", "Delivery", "Complaint"],
    "suppressionlist": ["Send", "Bounce"],
}


@pytest.mark.parametrize(("name", "expected"), SIMULATED.items())
def test_mailbox_simulator(ses, client, name, expected):
    """Each address of the mailbox simulator gives the events AWS documents for it."""
    address = f"{name}@simulator.amazonses.com"
    sent = client.send_email(**simple(address, EmailTags=TAGS))
    assert types(ses, sent) == expected
    for event_type, body in told(ses, sent):
        tags = body["mail"]["tags"]
        assert (tags["campaign_id"], tags["send_id"]) == (["digest-2026-11"], ["s1"]), event_type
        assert tags["ses:configuration-set"] == ["outreach-tracking"]
        assert body["mail"]["destination"] == [address]
    assert client.list_suppressed_destinations()["SuppressedDestinationSummaries"] == []


def test_bodies_of_the_simulator(ses, client):
    """Its bounce has a report, its auto-reply has none, its complaint names the simulator."""

    def last(name):
        return told(ses, client.send_email(**simple(f"{name}@simulator.amazonses.com")))[-1][1]

    bounce, away = last("bounce")["bounce"], last("ooto")["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "General")
    assert bounce["bouncedRecipients"][0]["status"] == "5.1.1"
    assert (away["bounceType"], away["bounceSubType"]) == ("Transient", "General")
    assert away["bouncedRecipients"] == [{"emailAddress": "ooto@simulator.amazonses.com"}]
    complaint = last("complaint")["complaint"]
    assert (complaint["complaintSubType"], complaint["complaintFeedbackType"]) == (None, "abuse")
    assert complaint["userAgent"] == "Amazon SES Mailbox Simulator"


FATES = {
    Fate.DELIVERED: (["Send", "Delivery"], "delivered"),
    Fate.BOUNCED: (["Send", "Bounce"], "bounced"),
    Fate.SUPPRESSED: (["Send", "Bounce"], "bounced"),
    Fate.SOFT_BOUNCED: (["Send", "Bounce"], "soft_bounced"),
    Fate.DELAYED: (["Send", "DeliveryDelay", "Delivery"], "delivered"),
    Fate.AUTO_REPLIED: (["Send", "Delivery", "Bounce"], "delivered"),
    Fate.COMPLAINED: (["Send", "Delivery", "Complaint"], "delivered"),
    Fate.OPENED: (["Send", "Delivery", "Open"], "delivered"),
    Fate.CLICKED: (["Send", "Delivery", "Open", "Click"], "delivered"),
}


@pytest.mark.parametrize("fate", Fate)
def test_fates(ses, client, reception, fate):
    """Each fate gives its events, and Sesight derives the outcome they mean under the campaign."""
    ses.fate = lambda _: fate
    sent = client.send_email(**simple("Ana <ana@example.net>", **html(), EmailTags=TAGS))
    expected, meant = FATES[fate]
    assert types(ses, sent) == expected
    taken = reception.take(*(each.body for each in ses.events(sent["MessageId"])))
    assert taken == ["created"] + ["updated"] * (len(expected) - 1)
    record = reception.record(sent["MessageId"], "ana@example.net")
    assert outcome(record) == meant
    assert (record.stream, record.campaign) == ("outreach", "digest-2026-11")


@pytest.mark.parametrize(
    ("fate", "reason"), [(Fate.BOUNCED, "BOUNCE"), (Fate.COMPLAINED, "COMPLAINT")]
)
def test_learnt(ses, client, fate, reason):
    """SES puts who bounced or complained on the account's list, and does not try them again."""
    ses.fate = lambda _: fate
    first = client.send_email(**simple("ana@example.net"))
    found = client.get_suppressed_destination(EmailAddress="ana@example.net")
    assert found["SuppressedDestination"]["Reason"] == reason
    assert found["SuppressedDestination"]["Attributes"] == {"MessageId": first["MessageId"]}
    again = client.send_email(**simple("ANA@example.net"))
    event_type, body = told(ses, again)[-1]
    assert event_type == ("Bounce" if reason == "BOUNCE" else "Complaint")
    inner = body[event_type.lower()]
    assert inner.get("bounceSubType", inner.get("complaintSubType")) == "OnAccountSuppressionList"


@pytest.mark.parametrize("reason", ["BOUNCE", "COMPLAINT"])
def test_suppressed(ses, client, reception, reason):
    """Mail to an address on the account's list is told as not tried, and Sesight says suppressed."""
    client.put_suppressed_destination(EmailAddress="ana@example.net", Reason=reason)
    sent = client.send_email(**simple("ana@example.net"))
    reception.take(*(each.body for each in ses.events(sent["MessageId"])))
    record = reception.record(sent["MessageId"], "ana@example.net")
    assert outcome(record) == "suppressed"


def test_unsubscribed(ses, client, reception):
    """Mail to who opted out of the list is a bounce of its own kind, which Sesight takes for an
    unsubscribe.
    """
    client.create_contact_list(**READERS)
    client.create_contact(
        ContactListName="readers", EmailAddress="ana@example.net", UnsubscribeAll=True
    )
    sent = client.send_email(**simple("ana@example.net", ListManagementOptions=AT_READERS))
    _, body = told(ses, sent)[-1]
    assert body["bounce"]["bounceSubType"] == "UnsubscribedRecipient"
    reception.take(*(each.body for each in ses.events(sent["MessageId"])))
    assert outcome(reception.record(sent["MessageId"], "ana@example.net")) == "suppressed"
    assert reception.suppressed("ana@example.net") == "unsubscribed"


def test_leaving(ses, client, reception):
    """A POST to the URL of List-Unsubscribe opts out of the topic and is told once; GET does not."""
    import httpx

    client.create_contact_list(**READERS)
    sent = client.send_email(**simple("ana@example.net", ListManagementOptions=AT_READERS))
    url = ses.message(sent["MessageId"]).header("List-Unsubscribe").strip("<>")
    assert httpx.get(url).status_code == 200
    assert types(ses, sent) == ["Send", "Delivery"]
    for _ in range(2):
        assert httpx.post(url, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert sorted(types(ses, sent)) == ["Delivery", "Send", "Subscription"]
    reception.take(*(each.body for each in ses.events(sent["MessageId"])))
    assert reception.suppressed("ana@example.net") == "unsubscribed"
    assert httpx.post(f"{url}x").status_code == 404


def test_virus(ses, client, reception):
    """An attachment with the test virus is accepted, then rejected."""
    sent = client.send_email(**simple("ana@example.net", **html(Attachments=VIRUS)))
    assert types(ses, sent) == ["Send", "Reject"]
    reception.take(*(each.body for each in ses.events(sent["MessageId"])))
    assert outcome(reception.record(sent["MessageId"], "ana@example.net")) == "rejected"


@pytest.mark.parametrize("announce", [True, False])
def test_rendering_failure(ses, client, reception, announce):
    """A template that lacks data is accepted and fails later, with or without a Send before; the
    failure names no tags of the sender's.
    """
    ses.announce = announce
    client.create_email_template(
        TemplateName="t", TemplateContent={"Subject": "Hi", "Text": "{{name}}"}
    )
    content = {"Template": {"TemplateName": "t", "TemplateData": "{}"}}
    sent = client.send_email(**simple("ana@example.net", Content=content, EmailTags=TAGS))
    assert types(ses, sent) == ["Send", "Rendering Failure"][not announce :]
    _, body = told(ses, sent)[-1]
    assert body["failure"] == {
        "errorMessage": "Attribute 'name' is not present in the rendering data.",
        "templateName": "t",
    }
    assert list(body["mail"]["tags"]) == ["ses:configuration-set"]
    assert ses.message(sent["MessageId"]).raw == b""
    reception.take(*(each.body for each in ses.events(sent["MessageId"])))
    assert outcome(reception.record(sent["MessageId"], "ana@example.net")) == "failed"


def test_subject_of_a_template(ses, client):
    """The Send of a template has no subject yet, the Delivery has."""
    client.create_email_template(
        TemplateName="t", TemplateContent={"Subject": "Hi {{name}}", "Text": "a"}
    )
    content = {"Template": {"TemplateName": "t", "TemplateData": '{"name": "Ana"}'}}
    sent = client.send_email(**simple(Content=content))
    subjects = [body["mail"]["commonHeaders"].get("subject") for _, body in told(ses, sent)]
    assert subjects == [None, "Hi Ana"]


def test_several_recipients(ses, client):
    """A message to several has one Send, and its other events name those they are about."""
    ses.fate = lambda address: Fate.BOUNCED if address.startswith("gone") else Fate.DELIVERED
    client.put_suppressed_destination(EmailAddress="old@b.com", Reason="BOUNCE")
    destination = {
        "ToAddresses": ["ana@b.com", "gone1@b.com"],
        "CcAddresses": ["old@b.com"],
        "BccAddresses": ["bo@b.com", "gone2@b.com"],
    }
    sent = client.send_email(**simple(Destination=destination))
    (_, send), (_, delivery), *bounces = told(ses, sent)
    assert len(send["mail"]["destination"]) == 5
    assert delivery["delivery"]["recipients"] == ["ana@b.com", "bo@b.com"]
    assert sorted(
        [each["emailAddress"] for each in body["bounce"]["bouncedRecipients"]]
        for _, body in bounces
    ) == [["gone1@b.com", "gone2@b.com"], ["old@b.com"]]


def test_reading(ses, client):
    """Tests let people open and click; where it is not tracked nothing comes of it."""
    ses.fate = lambda _: Fate.CLICKED
    sent = client.send_email(**simple(**html()))
    ses.open(sent["MessageId"], userAgent="Mozilla/5.0", isBotEvent="Likely")
    ses.click(sent["MessageId"], "https://example.com/y")
    opens = [body["open"] for name, body in told(ses, sent) if name == "Open"]
    clicks = [body["click"]["link"] for name, body in told(ses, sent) if name == "Click"]
    assert sorted((each["userAgent"][:12], each["isBotEvent"]) for each in opens) == [
        ("Mozilla/5.0", "Likely"),
        ("Mozilla/5.0 ", "Unlikely"),
    ]
    assert sorted(clicks) == ["https://example.com/x", "https://example.com/y"]
    off = {"OpenTrackingEnabled": "DISABLED", "ClickTrackingEnabled": "DISABLED"}
    untracked = client.send_email(**simple(**html(), ConfigurationOverrides={"Tracking": off}))
    assert ses.open(untracked["MessageId"]) is None
    assert ses.click(untracked["MessageId"], "https://example.com/y") is None
    assert types(ses, untracked) == ["Send", "Delivery"]


def test_no_configuration_set(ses, client):
    """Without a configuration set there are no events."""
    parameters = simple()
    del parameters["ConfigurationSetName"]
    sent = client.send_email(**parameters)
    assert (len(ses.messages()), told(ses, sent)) == (1, [])


def test_long_headers(ses, client):
    """Events repeat at most 10 KB of the header and say that it was cut."""
    long = [{"Name": f"X-{n}", "Value": "x" * 990} for n in range(12)]
    sent = client.send_email(**simple(**html(Headers=long)))
    mail = told(ses, sent)[0][1]["mail"]
    assert mail["headersTruncated"] is True
    assert len(msgspec.json.encode(mail["headers"])) < 11_000


def test_told():
    """Each event is handed over as soon as it is certain, in the order of a message's life."""
    events = []
    with simulated_ses(told=events.append) as ses:
        sent = ses_client(ses).send_email(**simple())
        assert events == ses.events(sent["MessageId"])


def test_kept():
    """Only the newest messages are kept."""
    with simulated_ses(kept=2) as ses:
        client = ses_client(ses)
        for name in "abc":
            client.send_email(**simple(f"{name}@b.com"))
        assert [each.recipients for each in ses.messages()] == [["b@b.com"], ["c@b.com"]]


def test_lively(ses_signer):
    """A lifelike SES gives each fate to some address, always the same, and events in a true order."""
    addresses = [f"a{n}@example.org" for n in range(500)]
    assert {various(each) for each in addresses} == set(Fate) - {Fate.SUPPRESSED}
    assert [various(each) for each in addresses] == [various(each) for each in addresses]
    with lively_ses(NOWHERE, ses_signer, fate=lambda _: Fate.CLICKED) as ses:
        sent = ses_client(ses).send_email(**simple(**html()))
        for event_type, body in told(ses, sent):
            inner = body[event_type.lower()]
            assert inner.get("timestamp", body["mail"]["timestamp"]) >= body["mail"]["timestamp"]
        assert types(ses, sent) == ["Send", "Delivery", "Open", "Click"]


def test_published(tmp_path, ses_signer):
    """Every message sent is in the store of a real server, by its signed events, with its outcome."""
    with (
        running(tmp_path, ses_signer) as server,
        simulated_ses(
            intake=f"http://127.0.0.1:{server.port}/api/ses/events",
            signer=ses_signer,
            fate=various,
            connections=1,
        ) as ses,
    ):
        client = ses_client(ses)
        sent = {
            f"a{n}@example.net": client.send_email(
                **simple(f"a{n}@example.net", **html(), EmailTags=TAGS)
            )["MessageId"]
            for n in range(40)
        }
        ses.settle()
        assert dict(ses.statuses) == {200: len(ses.events())}
        held = server.holds()
        assert {recipient: message_id for message_id, recipient in held.records} == sent
        assert all(held.has(each.body) for each in ses.events())
        assert {each.campaign for each in held.records.values()} == {"digest-2026-11"}


def test_server_blinks(tmp_path, ses_signer):
    """A server that is killed and comes back on its port has every event in the end."""
    with (
        running(tmp_path, ses_signer) as server,
        simulated_ses(
            intake=f"http://127.0.0.1:{server.port}/api/ses/events", signer=ses_signer
        ) as ses,
    ):
        client = ses_client(ses)
        for n in range(10):
            client.send_email(**simple(f"a{n}@example.net"))
        server.kill()
        for n in range(10, 20):
            client.send_email(**simple(f"a{n}@example.net"))
        text = server.settings.read_text()
        server.settings.write_text(text.replace("port = 0", f"port = {server.port}"))
        server.start()
        ses.settle()
        held = server.holds()
        assert sorted(held.records) == sorted(
            (each.message_id, each.recipients[0]) for each in ses.messages()
        )
        assert all(held.has(each.body) for each in ses.events())
