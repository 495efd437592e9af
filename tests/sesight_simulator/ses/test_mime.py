"""What the simulated SES would have sent: the raw message, read back by a mail parser."""

import pytest

from tests.mailing import parsed, ses_client, simple, simulated_ses

LIST = {
    "ContactListName": "readers",
    "Topics": [
        {"TopicName": "digest", "DisplayName": "Digest", "DefaultSubscriptionStatus": "OPT_IN"}
    ],
}
SUBJECT = "Grüße an alle, 世界, " * 8 + "!"
LONG = "<https://u.example.com/o/" + "x" * 300 + ">"
BLIND = b"Bcc: eve@example.org,\r\n fay@example.org\r\n"
RAW = (
    b"From: Digest <digest@example.com>\r\n"
    b"To: Ana <ana@example.org>,\r\n bo@example.org\r\n"
    + BLIND
    + b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Message-ID: <mine@example.com>\r\n"
    b"X-SES-CONFIGURATION-SET: finance-tracking\r\n"
    b"X-SES-MESSAGE-TAGS: campaign_id=digest, send_id=s1\r\n"
    b"X-Own: 1\r\n"
    b"\r\n"
    b"Hello.\r\n"
)


@pytest.fixture(scope="module")
def running():
    with simulated_ses() as ses:
        client = ses_client(ses)
        client.create_contact_list(**LIST)
        yield ses, client


@pytest.fixture
def send(running):
    """Give a function that sends and returns the message kept."""
    ses, client = running
    return lambda **parameters: ses.message(client.send_email(**simple(**parameters))["MessageId"])


def content(text=None, html=None, subject="Hi", **more):
    body = {
        name: {"Data": data, "Charset": "UTF-8"}
        for name, data in {"Text": text, "Html": html}.items()
        if data is not None
    }
    given = {"Subject": {"Data": subject, "Charset": "UTF-8"}, "Body": body, **more}
    return {"Content": {"Simple": given}}


def shape(part):
    """Return the media types of a message, nested."""
    inner = [shape(each) for each in part.iter_parts()] if part.is_multipart() else []
    return (part.get_content_type(), *inner)


def test_characters(send):
    """Characters of any script arrive whole, in subject and bodies."""
    mail = parsed(send(**content("Grüße, 世界\n" * 50, "<p>Grüße, 世界</p>", SUBJECT)))
    assert mail["Subject"] == SUBJECT
    text, html = (part.get_content().strip() for part in mail.iter_parts())
    assert (text.splitlines()[49], html) == ("Grüße, 世界", "<p>Grüße, 世界</p>")


@pytest.mark.parametrize(
    ("text", "html", "expected"),
    [
        ("a", None, ("text/plain",)),
        (None, "a", ("text/html",)),
        ("a", "b", ("multipart/alternative", ("text/plain",), ("text/html",))),
    ],
)
def test_bodies(send, text, html, expected):
    """Text and HTML are alternatives; one alone stands alone."""
    assert shape(parsed(send(**content(text, html)))) == expected


def test_attachments(send):
    """Attachments keep names, types and bytes; one shown inline belongs to the bodies."""
    files = [
        {
            "FileName": "Auszug März.pdf",
            "ContentType": "application/pdf",
            "RawContent": bytes(range(256)),
            "ContentDescription": "The statement",
            "ContentDisposition": "ATTACHMENT",
        },
        {
            "FileName": "rows.csv",
            "ContentType": "text/csv; charset=utf-8",
            "RawContent": "ä,1\r\n".encode(),
            "ContentTransferEncoding": "QUOTED_PRINTABLE",
        },
        {
            "FileName": "logo.png",
            "ContentType": "image/png",
            "RawContent": b"\x89PNG",
            "ContentDisposition": "INLINE",
            "ContentId": "logo",
        },
        {"FileName": "mail.eml", "ContentType": "message/rfc822", "RawContent": RAW},
    ]
    mail = parsed(send(**content("a", '<img src="cid:logo">', Attachments=files)))
    related = ("multipart/related", ("text/html",), ("image/png",))
    assert shape(mail) == (
        "multipart/mixed",
        ("multipart/alternative", ("text/plain",), related),
        ("application/pdf",),
        ("text/csv",),
        ("application/octet-stream",),
    )
    bodies, statement, rows, _ = mail.iter_parts()
    assert (statement.get_filename(), statement.get_payload(decode=True)) == (
        "Auszug März.pdf",
        bytes(range(256)),
    )
    assert statement["Content-Description"] == "The statement"
    assert (rows.get_content(), rows.get_content_disposition()) == ("ä,1\r\n", "attachment")
    *_, logo = list(bodies.iter_parts())[1].iter_parts()
    assert (logo["Content-ID"], logo.get_content_disposition()) == ("<logo>", "inline")


def test_own_headers(send):
    """The sender's headers are sent as they are: a long link stays in one piece."""
    headers = [
        {"Name": "List-Unsubscribe", "Value": LONG},
        {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"},
    ]
    message = send(**content("a", Headers=headers))
    assert f"\r\nList-Unsubscribe: {LONG}\r\n".encode() in message.raw
    assert message.header("List-Unsubscribe-Post") == "List-Unsubscribe=One-Click"


def test_list_management(send):
    """With list management SES's unsubscribe headers stand instead of the sender's, and its URL is
    put into the bodies twice at most.
    """
    headers = [{"Name": "List-Unsubscribe", "Value": LONG}]
    options = {"ContactListName": "readers", "TopicName": "digest"}
    text = "{{amazonSESUnsubscribeUrl}} " * 3
    message = send(**content(text, "<p>a</p>", Headers=headers), ListManagementOptions=options)
    url = message.unsubscribe_url
    assert [value for name, value in message.headers if name.startswith("List-")] == [
        f"<{url}>",
        "List-Unsubscribe=One-Click",
    ]
    assert message.text == f"{url} {url} {{{{amazonSESUnsubscribeUrl}}}} "


def test_feedback_id(send):
    """The tags of feedback stand in Feedback-ID, before SES's own part."""
    tags = [{"Name": f"ses:feedback-id-{x}", "Value": x.upper()} for x in "ab"]
    assert send(EmailTags=tags).header("Feedback-ID").startswith("A:B:1.eu-west-1.")
    assert send().header("Feedback-ID").startswith("1.eu-west-1.")


@pytest.fixture
def send_raw(running):
    ses, client = running

    def send(data, **more):
        return ses.message(client.send_email(Content={"Raw": {"Data": data}}, **more)["MessageId"])

    return send


def test_raw(send_raw):
    """A raw message says by itself from whom, to whom, with which set and tags; it goes out without
    what was meant for SES, and with SES's Message-ID.
    """
    message = send_raw(RAW)
    assert (message.source, message.to, message.bcc) == (
        "Digest <digest@example.com>",
        ["ana@example.org", "bo@example.org"],
        ["eve@example.org", "fay@example.org"],
    )
    assert (message.configuration_set, message.tags) == (
        "finance-tracking",
        {"campaign_id": "digest", "send_id": "s1"},
    )
    assert message.subject == "=?utf-8?q?Gr=C3=BC=C3=9Fe?="
    names = [name for name, _ in message.headers]
    assert names == ["Date", "Message-ID", "Feedback-ID", "From", "To", "Subject", "X-Own"]
    assert message.header("Message-ID") == f"<{message.message_id}@eu-west-1.amazonses.com>"
    assert b"fay@" not in message.raw
    mail = parsed(message)
    assert (str(mail["Subject"]), mail.get_content()) == ("Grüße", "Hello.\r\n")


def test_raw_and_parameters(send_raw):
    """What the call says of a raw message wins over what it says itself; tags win outright."""
    message = send_raw(
        RAW,
        FromEmailAddress="other@example.com",
        Destination={"ToAddresses": ["cy@example.org"]},
        ConfigurationSetName="outreach-tracking",
        EmailTags=[{"Name": "a", "Value": "1"}],
    )
    assert (message.source, message.recipients, message.configuration_set, message.tags) == (
        "other@example.com",
        ["cy@example.org"],
        "outreach-tracking",
        {"a": "1"},
    )


def test_raw_list_management(send_raw):
    """A raw message may name its contact list and topic in a header of SES's."""
    one = RAW.replace(b",\r\n bo@example.org", b"").replace(BLIND, b"")
    options = b"X-SES-LIST-MANAGEMENT-OPTIONS: readers; topic=digest\r\n"
    message = send_raw(options + one)
    assert message.list_management == {"ContactListName": "readers", "TopicName": "digest"}
    assert message.header("List-Unsubscribe") == f"<{message.unsubscribe_url}>"


def test_raw_binary(send_raw):
    """Bytes of a raw message that are no UTF-8 go out as they came."""
    message = send_raw(RAW.replace(b"Hello.", b"\xff\xfe\x80"))
    assert message.raw.endswith(b"\r\n\r\n\xff\xfe\x80\r\n")
