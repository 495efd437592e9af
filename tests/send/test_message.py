"""How SES is asked to send one message: by its own model, and by its rules that are not in it."""

from __future__ import annotations

import json

import botocore.session
import pytest
from botocore.validate import ParamValidator
from msgspec.structs import replace

from sesight.domain.template import RenderedTemplate
from sesight.send.message import Attachment, OutgoingMessage, TemplatedContent, Unsendable, request

MESSAGE = OutgoingMessage(
    to="Ana <ana@example.com>",
    sender="News <news@news.example.com>",
    configuration_set="outreach-tracking",
    tags={"campaign_id": "spring", "send_id": "0a1b", "ses:feedback-id-a": "outreach"},
    content=RenderedTemplate("Spring is here", "<p>Hello</p>", "Hello"),
)


def assert_in_model(asked: dict) -> None:
    """Assert that parameters are what botocore's model of SendEmail takes."""
    model = botocore.session.Session().get_service_model("sesv2").operation_model("SendEmail")
    report = ParamValidator().validate(asked, model.input_shape)
    assert not report.has_errors(), report.generate_report()


def test_a_rendered_message() -> None:
    """A message rendered here goes as a simple one, to one recipient, with its tags and set."""
    asked = request(MESSAGE)
    assert_in_model(asked)
    assert asked["Destination"] == {"ToAddresses": ["Ana <ana@example.com>"]}
    assert asked["ConfigurationSetName"] == "outreach-tracking"
    assert {tag["Name"]: tag["Value"] for tag in asked["EmailTags"]} == MESSAGE.tags
    assert asked["Content"]["Simple"]["Subject"]["Data"] == "Spring is here"
    assert asked["Content"]["Simple"]["Body"]["Text"]["Data"] == "Hello"
    assert "ConfigurationOverrides" not in asked


def test_a_message_that_ses_renders() -> None:
    """A pushed template goes by its name, with its data as JSON, and headers beside it."""
    headers = (("List-Unsubscribe", "<https://mail.example.com/api/unsubscribe/k.t>"),)
    content = TemplatedContent("spring-launch", {"name": "Zoë", "n": 3})
    asked = request(replace(MESSAGE, content=content, headers=headers))
    assert_in_model(asked)
    template = asked["Content"]["Template"]
    assert template["TemplateName"] == "spring-launch"
    assert json.loads(template["TemplateData"]) == {"name": "Zoë", "n": 3}
    assert template["Headers"] == [{"Name": "List-Unsubscribe", "Value": headers[0][1]}]


def test_attachments_lists_and_tracking() -> None:
    """Files, a contact list and tracking that is off are said as SES's model has them."""
    message = replace(
        MESSAGE,
        attachments=(Attachment("statement.pdf", "application/pdf", b"%PDF"),),
        contact_list="people",
        topic="news",
        tracked=False,
        reply_to=("help@example.com",),
    )
    asked = request(message)
    assert_in_model(asked)
    assert asked["Content"]["Simple"]["Attachments"][0]["RawContent"] == b"%PDF"
    assert asked["ListManagementOptions"] == {"ContactListName": "people", "TopicName": "news"}
    assert asked["ConfigurationOverrides"]["Tracking"] == {
        "OpenTrackingEnabled": "DISABLED",
        "ClickTrackingEnabled": "DISABLED",
    }


REFUSED = {
    "a line break in the subject": (
        {"content": RenderedTemplate("Spring\r\nBcc: x@example.com", None, "t")},
        "headers",
    ),
    "a NUL in the subject": ({"content": RenderedTemplate("Spring\0", None, "t")}, "headers"),
    "a line break in the sender": ({"sender": "News\n <news@example.com>"}, "headers"),
    "a line break in the recipient": ({"to": "ana@example.com\r\nCc: x@example.com"}, "headers"),
    "a line break in reply-to": ({"reply_to": ("a@example.com\n",)}, "headers"),
    "a header's value beyond ASCII": ({"headers": (("X-Name", "Zoë"),)}, "headers"),
    "a header's value with a line break": ({"headers": (("X-Name", "a\r\nb"),)}, "headers"),
    "an empty header": ({"headers": (("X-Name", ""),)}, "headers"),
    "a header with a colon in its name": ({"headers": (("X:Name", "a"),)}, "headers"),
    "a header that is too long": ({"headers": (("X", "a" * 996),)}, "headers"),
    "a tag with a dot": ({"tags": {"version": "1.2"}}, "tags"),
    "a tag with an address": ({"tags": {"who": "ana@example.com"}}, "tags"),
    "an empty tag": ({"tags": {"campaign_id": ""}}, "tags"),
    "a tag of SES's own": ({"tags": {"ses:from-domain": "example"}}, "tags"),
    "a tag that is too long": ({"tags": {"campaign_id": "a" * 257}}, "tags"),
    "too many tags": ({"tags": {f"tag_{n}": "a" for n in range(21)}}, "tags"),
    "a template's data that is too long": (
        {"content": TemplatedContent("spring-launch", {"a": "a" * 262_144})},
        "too-large",
    ),
    "a message that is too large": (
        {"attachments": (Attachment("a.pdf", "application/pdf", b"a" * 8_000_000),)},
        "too-large",
    ),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_ses_would_refuse(case: str) -> None:
    """A message that SES would refuse, or that would become another one, is not asked for."""
    changes, code = REFUSED[case]
    with pytest.raises(Unsendable) as caught:
        request(replace(MESSAGE, **changes))
    assert caught.value.code == code
