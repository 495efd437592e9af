"""The events that the simulated SES publishes, and the outcomes that Sesight derives from them."""

import json

import msgspec
import pytest

from sesight.domain.outcome import derive_facts
from sesight_simulator.ses.delivery_results import DeliveryResult, varied_results
from sesight_simulator.ses.events import EICAR
from sesight_simulator.ses.simulated_ses import realistic_ses
from tests.mailing import ses_client, simple, simulated_ses
from tests.reception import Reception
from tests.server.harness import running

NOWHERE = "http://127.0.0.1:9/api/ses/events"
NOW = 1_795_500_000_000
TAGS = [{"Name": "campaign_id", "Value": "digest-2026-11"}, {"Name": "send_id", "Value": "s1"}]
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
    reception = Reception(tmp_path, now=NOW + 1_000)
    yield reception
    reception.store.close()


def events_sent(ses, sent):
    """Return types and bodies of a message's events, in order."""
    return [(e.event_type, json.loads(e.body)) for e in ses.events(sent["MessageId"])]


def types(ses, sent):
    return [event_type for event_type, _ in events_sent(ses, sent)]


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
    """Each mailbox simulator address has the events that AWS documents for it."""
    address = f"{name}@simulator.amazonses.com"
    sent = client.send_email(**simple(address, EmailTags=TAGS))
    assert types(ses, sent) == expected
    for event_type, body in events_sent(ses, sent):
        tags = body["mail"]["tags"]
        assert (tags["campaign_id"], tags["send_id"]) == (["digest-2026-11"], ["s1"]), event_type
        assert tags["ses:configuration-set"] == ["outreach-tracking"]
        assert body["mail"]["destination"] == [address]
    assert client.list_suppressed_destinations()["SuppressedDestinationSummaries"] == []


def test_bodies_of_the_simulator(ses, client):
    """The simulator's bounce has a delivery report, its auto-reply has none, its complaint names it."""

    def last(name):
        return events_sent(ses, client.send_email(**simple(f"{name}@simulator.amazonses.com")))[-1][
            1
        ]

    bounce, away = last("bounce")["bounce"], last("ooto")["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "General")
    assert bounce["bouncedRecipients"][0]["status"] == "5.1.1"
    assert (away["bounceType"], away["bounceSubType"]) == ("Transient", "General")
    assert away["bouncedRecipients"] == [{"emailAddress": "ooto@simulator.amazonses.com"}]
    complaint = last("complaint")["complaint"]
    assert (complaint["complaintSubType"], complaint["complaintFeedbackType"]) == (None, "abuse")
    assert complaint["userAgent"] == "Amazon SES Mailbox Simulator"


RESULTS = {
    DeliveryResult.DELIVERED: (["Send", "Delivery"], "delivered"),
    DeliveryResult.BOUNCED: (["Send", "Bounce"], "bounced"),
    DeliveryResult.SUPPRESSED: (["Send", "Bounce"], "bounced"),
    DeliveryResult.SOFT_BOUNCED: (["Send", "Bounce"], "soft_bounced"),
    DeliveryResult.DELAYED: (["Send", "DeliveryDelay", "Delivery"], "delivered"),
    DeliveryResult.AUTO_REPLIED: (["Send", "Delivery", "Bounce"], "delivered"),
    DeliveryResult.COMPLAINED: (["Send", "Delivery", "Complaint"], "delivered"),
    DeliveryResult.OPENED: (["Send", "Delivery", "Open"], "delivered"),
    DeliveryResult.CLICKED: (["Send", "Delivery", "Open", "Click"], "delivered"),
}


@pytest.mark.parametrize("result", DeliveryResult)
def test_results(ses, client, reception, result):
    """Each delivery result has its events, from which Sesight derives the outcome."""
    ses.choose_result = lambda _: result
    sent = client.send_email(**simple("Ana <ana@example.net>", **html(), EmailTags=TAGS))
    expected, meant = RESULTS[result]
    assert types(ses, sent) == expected
    dispositions = reception.take(*(event.body for event in ses.events(sent["MessageId"])))
    assert dispositions == ["created"] + ["updated"] * (len(expected) - 1)
    record = reception.record(sent["MessageId"], "ana@example.net")
    assert outcome(record) == meant
    assert (record.stream, record.campaign) == ("outreach", "digest-2026-11")


@pytest.mark.parametrize(
    ("result", "reason"),
    [(DeliveryResult.BOUNCED, "BOUNCE"), (DeliveryResult.COMPLAINED, "COMPLAINT")],
)
def test_automatic_suppression(ses, client, result, reason):
    """SES lists an address that bounced or complained, and does not try it again."""
    ses.choose_result = lambda _: result
    first = client.send_email(**simple("ana@example.net"))
    answer = client.get_suppressed_destination(EmailAddress="ana@example.net")
    assert answer["SuppressedDestination"]["Reason"] == reason
    assert answer["SuppressedDestination"]["Attributes"] == {"MessageId": first["MessageId"]}
    again = client.send_email(**simple("ANA@example.net"))
    event_type, body = events_sent(ses, again)[-1]
    assert event_type == ("Bounce" if reason == "BOUNCE" else "Complaint")
    inner = body[event_type.lower()]
    assert inner.get("bounceSubType", inner.get("complaintSubType")) == "OnAccountSuppressionList"


@pytest.mark.parametrize("reason", ["BOUNCE", "COMPLAINT"])
def test_suppressed(ses, client, reception, reason):
    """Mail to an address on the account's list is not tried, and Sesight's outcome is suppressed."""
    client.put_suppressed_destination(EmailAddress="ana@example.net", Reason=reason)
    sent = client.send_email(**simple("ana@example.net"))
    reception.take(*(event.body for event in ses.events(sent["MessageId"])))
    record = reception.record(sent["MessageId"], "ana@example.net")
    assert outcome(record) == "suppressed"


def test_virus(ses, client, reception):
    """An attachment with the test virus is accepted, then rejected."""
    sent = client.send_email(**simple("ana@example.net", **html(Attachments=VIRUS)))
    assert types(ses, sent) == ["Send", "Reject"]
    reception.take(*(event.body for event in ses.events(sent["MessageId"])))
    assert outcome(reception.record(sent["MessageId"], "ana@example.net")) == "rejected"


def test_rendering_failure(ses, client, reception):
    """A template whose data is incomplete is accepted and fails later, without the sender's tags."""
    client.create_email_template(
        TemplateName="t", TemplateContent={"Subject": "Hi", "Text": "{{name}}"}
    )
    content = {"Template": {"TemplateName": "t", "TemplateData": "{}"}}
    sent = client.send_email(**simple("ana@example.net", Content=content, EmailTags=TAGS))
    assert types(ses, sent) == ["Send", "Rendering Failure"]
    _, body = events_sent(ses, sent)[-1]
    assert body["failure"] == {
        "errorMessage": "Attribute 'name' is not present in the rendering data.",
        "templateName": "t",
    }
    assert list(body["mail"]["tags"]) == ["ses:configuration-set"]
    assert ses.message(sent["MessageId"]).raw == b""
    reception.take(*(event.body for event in ses.events(sent["MessageId"])))
    assert outcome(reception.record(sent["MessageId"], "ana@example.net")) == "failed"


def test_subject_of_a_template(ses, client):
    """The Send event of a template has no subject yet; its Delivery has one."""
    client.create_email_template(
        TemplateName="t", TemplateContent={"Subject": "Hi {{name}}", "Text": "a"}
    )
    content = {"Template": {"TemplateName": "t", "TemplateData": '{"name": "Ana"}'}}
    sent = client.send_email(**simple(Content=content))
    subjects = [body["mail"]["commonHeaders"].get("subject") for _, body in events_sent(ses, sent)]
    assert subjects == [None, "Hi Ana"]


def test_several_recipients(ses, client):
    """A message to several recipients has one Send; its other events name their recipients."""
    ses.choose_result = lambda address: (
        DeliveryResult.BOUNCED if address.startswith("gone") else DeliveryResult.DELIVERED
    )
    client.put_suppressed_destination(EmailAddress="old@b.com", Reason="BOUNCE")
    destination = {
        "ToAddresses": ["ana@b.com", "gone1@b.com"],
        "CcAddresses": ["old@b.com"],
        "BccAddresses": ["bo@b.com", "gone2@b.com"],
    }
    sent = client.send_email(**simple(Destination=destination))
    (_, send), (_, delivery), *bounces = events_sent(ses, sent)
    assert len(send["mail"]["destination"]) == 5
    assert delivery["delivery"]["recipients"] == ["ana@b.com", "bo@b.com"]
    assert sorted(
        [recipient["emailAddress"] for recipient in body["bounce"]["bouncedRecipients"]]
        for _, body in bounces
    ) == [["gone1@b.com", "gone2@b.com"], ["old@b.com"]]


def test_no_configuration_set(ses, client):
    """A message without a configuration set has no events."""
    parameters = simple()
    del parameters["ConfigurationSetName"]
    sent = client.send_email(**parameters)
    assert (len(ses.messages()), events_sent(ses, sent)) == (1, [])


def test_long_headers(ses, client):
    """Events repeat at most 10 KB of the header and report that it was cut."""
    long = [{"Name": f"X-{n}", "Value": "x" * 990} for n in range(12)]
    sent = client.send_email(**simple(**html(Headers=long)))
    mail = events_sent(ses, sent)[0][1]["mail"]
    assert mail["headersTruncated"] is True
    assert len(msgspec.json.encode(mail["headers"])) < 11_000


def test_on_event():
    """`on_event` receives each event as soon as it is certain, in order of time."""
    events = []
    with simulated_ses(on_event=events.append) as ses:
        sent = ses_client(ses).send_email(**simple())
        assert events == ses.events(sent["MessageId"])


def test_kept():
    """Only the newest messages are kept."""
    with simulated_ses(max_messages=2) as ses:
        client = ses_client(ses)
        for name in "abc":
            client.send_email(**simple(f"{name}@b.com"))
        assert [message.recipients for message in ses.messages()] == [["b@b.com"], ["c@b.com"]]


def test_realistic(ses_signer):
    """A realistic SES gives each result to some addresses, always the same, and orders events truly."""
    addresses = [f"a{n}@example.org" for n in range(500)]
    assert {varied_results(address) for address in addresses} == set(DeliveryResult) - {
        DeliveryResult.SUPPRESSED
    }
    assert [varied_results(address) for address in addresses] == [
        varied_results(address) for address in addresses
    ]
    with realistic_ses(NOWHERE, ses_signer, choose_result=lambda _: DeliveryResult.CLICKED) as ses:
        sent = ses_client(ses).send_email(**simple(**html()))
        for event_type, body in events_sent(ses, sent):
            inner = body[event_type.lower()]
            assert inner.get("timestamp", body["mail"]["timestamp"]) >= body["mail"]["timestamp"]
        assert types(ses, sent) == ["Send", "Delivery", "Open", "Click"]


def test_published(tmp_path, ses_signer):
    """The signed events put every message into the store of a real server, with its campaign."""
    with (
        running(tmp_path, ses_signer) as server,
        simulated_ses(
            intake=f"http://127.0.0.1:{server.port}/api/ses/events",
            signer=ses_signer,
            choose_result=varied_results,
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
        contents = server.holds()
        assert {recipient: message_id for message_id, recipient in contents.records} == sent
        assert all(contents.has(event.body) for event in ses.events())
        assert {record.campaign for record in contents.records.values()} == {"digest-2026-11"}


def test_server_blinks(tmp_path, ses_signer):
    """A server that is killed and restarted on its port receives every event in the end."""
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
        contents = server.holds()
        assert sorted(contents.records) == sorted(
            (message.message_id, message.recipients[0]) for message in ses.messages()
        )
        assert all(contents.has(event.body) for event in ses.events())


def test_untracked(ses, client):
    """A message that overrides tracking has no Open and no Click."""
    ses.choose_result = lambda _: DeliveryResult.CLICKED
    off = {"OpenTrackingEnabled": "DISABLED", "ClickTrackingEnabled": "DISABLED"}
    sent = client.send_email(**simple(**html(), ConfigurationOverrides={"Tracking": off}))
    assert types(ses, sent) == ["Send", "Delivery"]
