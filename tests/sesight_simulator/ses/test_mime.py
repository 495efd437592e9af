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


@pytest.fixture(scope="module")
def running():
    with simulated_ses() as ses:
        client = ses_client(ses)
        client.create_contact_list(**LIST)
        yield ses, client


@pytest.fixture
def send(running):
    """Return a function that sends a message and returns it as it was kept."""
    ses, client = running
    return lambda **parameters: ses.message(client.send_email(**simple(**parameters))["MessageId"])


def content(text=None, html=None, subject="Hi", **more):
    body = {
        name: {"Data": data, "Charset": "UTF-8"}
        for name, data in {"Text": text, "Html": html}.items()
        if data is not None
    }
    simple_content = {"Subject": {"Data": subject, "Charset": "UTF-8"}, "Body": body, **more}
    return {"Content": {"Simple": simple_content}}


def shape(part):
    """Return the media types of a message, nested."""
    inner = [shape(subpart) for subpart in part.iter_parts()] if part.is_multipart() else []
    return (part.get_content_type(), *inner)


def test_characters(send):
    """Characters of any script are preserved in subject and bodies."""
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
    """Text and HTML are alternatives; a single body is not multipart."""
    assert shape(parsed(send(**content(text, html)))) == expected


def test_attachments(send):
    """Attachments keep names, types and bytes; an inline attachment belongs to the HTML."""
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
        {
            "FileName": "mail.eml",
            "ContentType": "message/rfc822",
            "RawContent": b"Subject: a\r\n\r\nb",
        },
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
    """The sender's headers are sent unchanged: a long link is not folded."""
    headers = [
        {"Name": "List-Unsubscribe", "Value": LONG},
        {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"},
    ]
    message = send(**content("a", Headers=headers))
    assert f"\r\nList-Unsubscribe: {LONG}\r\n".encode() in message.raw
    assert message.header("List-Unsubscribe-Post") == "List-Unsubscribe=One-Click"


def test_list_management(send):
    """With list management, SES's unsubscribe headers replace the sender's, and its URL is inserted into
    a body at most twice.
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
    """The feedback tags are in Feedback-ID, before SES's own part."""
    tags = [{"Name": f"ses:feedback-id-{x}", "Value": x.upper()} for x in "ab"]
    assert send(EmailTags=tags).header("Feedback-ID").startswith("A:B:1.eu-west-1.")
    assert send().header("Feedback-ID").startswith("1.eu-west-1.")
