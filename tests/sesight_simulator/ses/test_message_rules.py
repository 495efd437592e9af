"""What the simulated SES refuses, as SES does: one row a rule, through a real client."""

import pytest
from botocore.exceptions import ParamValidationError

from sesight_simulator.ses.sent_message import SentMessage
from tests.mailing import refusal, ses_client, simple, simulated_ses

UNVERIFIED = (
    "Email address is not verified. The following identities failed the check in region EU-WEST-1: "
)
BAD = "BadRequestException"
HELLO = {"Data": "Hello.", "Charset": "UTF-8"}
PDF = {"FileName": "a.pdf", "ContentType": "application/pdf", "RawContent": b"%PDF-1.7"}


@pytest.fixture(scope="module")
def running():
    with simulated_ses() as ses:
        yield ses, ses_client(ses)


@pytest.fixture
def ses(running):
    return running[0]


@pytest.fixture
def client(running):
    return running[1]


def tags(*pairs):
    return {"EmailTags": [{"Name": name, "Value": value} for name, value in pairs]}


def content(**more):
    """Return Simple content with more members."""
    return {"Content": {"Simple": {"Subject": HELLO, "Body": {"Text": HELLO}, **more}}}


def headers(*pairs):
    return content(Headers=[{"Name": name, "Value": value} for name, value in pairs])


def attachment(**more):
    return content(Attachments=[{**PDF, **more}])


def to(*addresses, **more):
    return {"Destination": {"ToAddresses": list(addresses), **more}}


def letters(part, text):
    """Return SES's message about the characters of a tag's name or value."""
    return f"Invalid tag {part} <{text}>: only alphanumeric ASCII characters, '_', and '-' are allowed."


def shape(path, constraint):
    """Return SES's message about a member of the content that violates the model."""
    return (
        f"1 validation error detected: Value '...' at 'Content.{path}' failed to satisfy constraint: "
        f"Member must {constraint}"
    )


REFUSED = {
    "tag name of other characters": (
        tags(("campaign.id", "a")),
        letters("name", "campaign.id"),
    ),
    "tag value with an address": (
        tags(("to", "ana@example.org")),
        letters("value", "ana@example.org"),
    ),
    "tag value beyond ASCII": (
        tags(("campaign", "Grüße")),
        letters("value", "Grüße"),
    ),
    "tag value that is empty": (tags(("a", "")), "The tag value must be specified."),
    "tag name that is empty": (tags(("", "a")), "The tag name must be specified."),
    "tag value of 257 characters": (
        tags(("a", "x" * 257)),
        "Tag value cannot exceed 256 characters.",
    ),
    "tag name of 257 characters": (
        tags(("x" * 257, "a")),
        "Tag name cannot exceed 256 characters.",
    ),
    "tag of SES's own": (
        tags(("ses:campaign", "a")),
        "Tag names that begin with ses: are reserved.",
    ),
    "feedback tag with a bad value": (
        tags(("ses:feedback-id-a", "a b")),
        letters("value", "a b"),
    ),
    "repeated tag": (tags(("a", "1"), ("a", "2")), "Duplicate tag name <a>."),
    "header SES writes itself": (
        headers(("Message-ID", "<a@b>")),
        "Duplicate header 'Message-ID'.",
    ),
    "header that names another sender": (headers(("from", "a@b.com")), "Duplicate header 'from'."),
    "repeated header": (headers(("X-A", "1"), ("x-a", "2")), "Duplicate header 'X-A'."),
    "header with a colon": (
        headers(("X:A", "1")),
        shape("Simple.Headers.1.member.Name", "satisfy regular expression pattern: ^[!-9;-@A-~]+$"),
    ),
    "header that begins another": (
        headers(("X-A", "1\r\nBcc: eve@example.org")),
        shape("Simple.Headers.1.member.Value", "satisfy regular expression pattern: [ -~]*"),
    ),
    "header value of 996 characters": (
        headers(("X-A", "x" * 996)),
        shape("Simple.Headers.1.member.Value", "have length less than or equal to 995"),
    ),
    "header of 997 characters in all": (
        headers(("X-AB", "x" * 993)),
        "A header's name and value exceed 996 characters.",
    ),
    "16 headers": (
        headers(*((f"X-{n}", "1") for n in range(16))),
        shape("Simple.Headers", "have length less than or equal to 15"),
    ),
    "51 recipients": (
        to(*(f"a{n}@example.org" for n in range(49)), CcAddresses=["b@c.com", "d@e.com"]),
        "Recipient count exceeds 50.",
    ),
    "no recipient": (to(), "A destination must be specified."),
    "local part beyond ASCII": (
        to("jörg@example.org"),
        "Address contains illegal characters in user name or domain: only ASCII.",
    ),
    "domain that is not punycode": (
        to("a@grüße.example"),
        "Address contains illegal characters in user name or domain: only ASCII.",
    ),
    "name beyond ASCII": (
        to("Jörg <j@example.org>"),
        "Address contains illegal characters in user name or domain: only ASCII.",
    ),
    "address without a domain": (to("ana"), "Missing final '@domain'."),
    "address with a line break": (
        to("a@b.com\r\nBcc: e@f.com"),
        "Local address contains control or whitespace.",
    ),
    "address with a space": (to('"a b"c@d.com'), "Local address contains control or whitespace."),
    "two addresses in one": (to("a@b.com, c@d.com"), "Illegal address."),
    "address within an address": (to("A <b@c.com> <d@e.com>"), "Illegal address."),
    "name of a comma without quotes": (to("Doe, Jane <jane@example.org>"), "Illegal address."),
    "local part that ends in a dot": (
        to("a.@b.com"),
        "Local address contains control or whitespace.",
    ),
    "domain with an underscore": (to("a@b_c.com"), "Domain contains illegal character."),
    "answers to a bad address": ({"ReplyToAddresses": ["nobody"]}, "Missing final '@domain'."),
    "subject with a line break": (
        content(Subject={"Data": "a\r\nBcc: e@f.com", "Charset": "UTF-8"}),
        "The subject contains control characters.",
    ),
    "no body": (content(Body={}), "The body must have a Text or Html part."),
    "unknown charset": (
        content(Subject={"Data": "a", "Charset": "klingon"}),
        "Unknown charset klingon.",
    ),
    "attachment that runs": (attachment(FileName="a.pdf.EXE"), "Illegal filename 'a.pdf.EXE'."),
    "attachment of no type": (
        attachment(ContentType="pdf"),
        "An attachment's content type is not valid.",
    ),
    "attachment with a long name": (
        attachment(FileName="x" * 252 + ".pdf"),
        shape("Simple.Attachments.1.member.FileName", "have length less than or equal to 255"),
    ),
    "attachment that breaks its line": (
        attachment(FileName="a\r\n.pdf"),
        "An attachment's file name is not valid.",
    ),
    "attachment of 8 bits as 7": (
        attachment(ContentTransferEncoding="SEVEN_BIT", RawContent=b"\xff"),
        "An attachment in 7 bits is not ASCII.",
    ),
    "attachment disposed of in another way": (
        attachment(ContentDisposition="inline"),
        shape(
            "Simple.Attachments.1.member.ContentDisposition",
            "satisfy enum value set: ['ATTACHMENT', 'INLINE']",
        ),
    ),
    "message over 40 MB": (
        attachment(RawContent=b"\0" * (31 * 1024 * 1024)),
        "Message length is more than 41943040 bytes.",
    ),
    "two contents": (
        {"Content": {**content()["Content"], "Raw": {"Data": b"x"}}},
        "Exactly one of Simple, Raw and Template is taken.",
    ),
    "no content": ({"Content": {}}, "Exactly one of Simple, Raw and Template is taken."),
    "template data that is no object": (
        {"Content": {"Template": {"TemplateName": "known", "TemplateData": "[]"}}},
        "The template data is not a JSON object.",
    ),
    "template data over 262,144 characters": (
        {
            "Content": {
                "Template": {
                    "TemplateName": "known",
                    "TemplateData": '{"a":"%s"}' % ("x" * 262_137),
                }
            }
        },
        shape("Template.TemplateData", "have length less than or equal to 262144"),
    ),
    "raw message": (
        {"Content": {"Raw": {"Data": b"Subject: Hi\r\n\r\nHello."}}},
        "This simulation takes no raw messages.",
    ),
    "template of the call": (
        {"Content": {"Template": {"TemplateContent": {"Subject": "a", "Text": "b"}}}},
        "This simulation takes a template by its name only.",
    ),
    "two recipients with list management": (
        {**to("a@b.com", "c@d.com"), "ListManagementOptions": {"ContactListName": "readers"}},
        "List management takes a single recipient.",
    ),
}


@pytest.mark.parametrize(("parameters", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(ses, client, parameters, sentence):
    """Each of these is refused with 400 and a message, and nothing is accepted."""
    if "known" not in ses.account.templates.by_name:
        client.create_email_template(
            TemplateName="known", TemplateContent={"Subject": "a", "Text": "b"}
        )
    before = ses.messages()
    assert refusal(client.send_email, **simple(**parameters)) == (400, BAD, sentence)
    assert ses.messages() == before


ACCEPTED = {
    "tags at their limit": tags(("a_-Z9" * 51 + "x", "b" * 256)),
    "tags of feedback": tags(("ses:feedback-id-a", "x"), ("ses:feedback-id-b", "y")),
    "50 recipients": to(*(f"a{n}@example.org" for n in range(50))),
    "a header of 996 characters": headers(("X-A", "x" * 993)),
    "15 headers": headers(*((f"X-{n}", "1") for n in range(15))),
    "one-click": headers(
        ("List-Unsubscribe", "<https://u.example.com/o/3f9c>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    ),
    "an encoded name": to("=?utf-8?q?J=C3=B6rg?= <j@example.org>"),
    "a quoted name": to('"Doe, Jane" <jane@example.org>'),
    "punycode": to("a@xn--gre-6ka8l.example"),
    "an attachment": attachment(),
    "no tracking": {
        "ConfigurationOverrides": {"Tracking": {"OpenTrackingEnabled": "DISABLED"}},
    },
}


@pytest.mark.parametrize("parameters", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(ses, client, parameters):
    """Each of these is just within its rule, and accepted."""
    sent = client.send_email(**simple(**parameters))
    assert isinstance(ses.message(sent["MessageId"]), SentMessage)


def test_unverified(client):
    """A sender whose domain is not verified is rejected; the message names the address."""
    parameters = simple(FromEmailAddress="Eve <eve@elsewhere.example>")
    assert refusal(client.send_email, **parameters) == (
        400,
        "MessageRejected",
        UNVERIFIED + "eve@elsewhere.example",
    )


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (
            {"ConfigurationSetName": "nobodys"},
            "Configuration set nobodys does not exist.",
        ),
        (
            {"Content": {"Template": {"TemplateName": "nobodys", "TemplateData": "{}"}}},
            "Template nobodys does not exist.",
        ),
        (
            {"ListManagementOptions": {"ContactListName": "nobodys"}},
            "List with name: nobodys doesn't exist.",
        ),
    ],
)
def test_not_found(client, parameters, sentence):
    """A resource that does not exist is answered with 404 and its name."""
    assert refusal(client.send_email, **simple(**parameters)) == (
        404,
        "NotFoundException",
        sentence,
    )


def test_subdomain(ses, client):
    """A verified domain covers its subdomains."""
    client.send_email(**simple(FromEmailAddress="a@news.example.com"))
    assert ses.messages()[-1].source == "a@news.example.com"


def test_lost_characters(ses, client):
    """Without a charset SES takes 7-bit ASCII: other characters become question marks."""
    sent = client.send_email(**simple(**content(Subject={"Data": "Grüße"})))
    assert ses.message(sent["MessageId"]).subject == "Gr??e"


def test_no_credentials(ses):
    """A call that is not signed is answered with 403, as by AWS's front end."""
    import httpx

    answer = httpx.get(f"{ses.url}/v2/email/account")
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (
        403,
        "MissingAuthenticationTokenException",
    )


def test_unknown_operation(client):
    """An operation that is not simulated is answered with 404."""
    assert refusal(client.get_dedicated_ips)[:2] == (404, "UnknownOperationException")


def test_shapes(ses):
    """A request that violates the model is refused with the member and its constraint."""
    import httpx

    def ask(body):
        answer = httpx.post(
            f"{ses.url}/v2/email/outbound-emails",
            content=body,
            headers={"authorization": "AWS4-HMAC-SHA256 Credential=local"},
        )
        return answer.status_code, answer.json()["message"]

    constraint = "1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: {}"
    assert [
        ask(b"{"),
        ask(b"[]"),
        ask(b"{}"),
        ask(b'{"Content": []}'),
        ask(b'{"Content": {"Raw": {"Data": "%"}}}'),
    ] == [
        (400, "Could not parse the body as JSON."),
        (400, "The body is not a JSON object."),
        (400, constraint.format("null", "Content", "Member must not be null")),
        (400, constraint.format("...", "Content", "Member must be of type dict")),
        (400, constraint.format("...", "Content.Raw.Data", "Member must be base64")),
    ]


def test_clients_check_too(client):
    """Botocore refuses a parameter that is not in the model before it sends anything."""
    with pytest.raises(ParamValidationError):
        client.send_email(**simple(EmailTag=[]))
