"""SendBulkEmail of the simulated SES: one answer for each entry, in their order."""

import json

import pytest

from tests.mailing import refusal, ses_client, simulated_ses

NOW = 1_795_500_000_000


@pytest.fixture
def ses():
    with simulated_ses(clock=lambda: NOW) as ses:
        ses_client(ses).create_email_template(
            TemplateName="hello", TemplateContent={"Subject": "Hi {{name}}", "Text": "{{place}}"}
        )
        yield ses


def entry(address="ana@example.org", data=None, **more):
    replacement = {"ReplacementTemplate": {"ReplacementTemplateData": json.dumps(data or {})}}
    return {
        "Destination": {"ToAddresses": [address]},
        "ReplacementEmailContent": replacement,
        **more,
    }


def bulk(*entries, template=None, **more):
    return {
        "FromEmailAddress": "digest@example.com",
        "DefaultContent": {
            "Template": template
            or {"TemplateName": "hello", "TemplateData": '{"name": "you", "place": "Here"}'}
        },
        "BulkEmailEntries": list(entries),
        "ConfigurationSetName": "outreach-tracking",
        **more,
    }


def statuses(answer):
    return [each["Status"] for each in answer["BulkEmailEntryResults"]]


def pairs(**named):
    return [{"Name": name.replace("_", "-"), "Value": value} for name, value in named.items()]


def test_entries(ses):
    """Each entry is a message of its own: with its data, its tags and its headers."""
    template = {
        "TemplateName": "hello",
        "TemplateData": '{"name": "you", "place": "Here"}',
        "Headers": pairs(X_A="1", X_B="1"),
    }
    own = entry(
        "bo@example.org",
        {"name": "Bo"},
        ReplacementTags=pairs(send="2"),
        ReplacementHeaders=pairs(X_A="2"),
    )
    answer = ses_client(ses).send_bulk_email(
        **bulk(entry(), own, template=template, DefaultEmailTags=pairs(send="1", all="1"))
    )
    assert statuses(answer) == ["SUCCESS", "SUCCESS"]
    first, second = (ses.message(each["MessageId"]) for each in answer["BulkEmailEntryResults"])
    assert (first.subject, first.text, first.tags) == ("Hi you", "Here", {"send": "1", "all": "1"})
    assert (second.subject, second.text, second.tags) == ("Hi Bo", "Here", {"send": "2"})
    assert [(each.header("X-A"), each.header("X-B")) for each in (first, second)] == [
        ("1", "1"),
        ("2", "1"),
    ]


def test_bad_entries(ses):
    """What is wrong with one entry is told of that one, under HTTP 200."""
    answer = ses_client(ses).send_bulk_email(
        **bulk(
            entry("a@b.com"),
            entry("jörg@example.org"),
            entry("c@d.com", ReplacementTags=pairs(x="a b")),
            entry("e@f.com"),
        )
    )
    assert statuses(answer) == ["SUCCESS", "INVALID_PARAMETER", "INVALID_PARAMETER", "SUCCESS"]
    assert [each.recipients for each in ses.messages()] == [["a@b.com"], ["e@f.com"]]
    assert "MessageId" not in answer["BulkEmailEntryResults"][1]


def test_throttled_entries(ses):
    """Entries beyond the rate are throttled, those before them are sent."""
    ses.account.max_send_rate = 1
    answer = ses_client(ses).send_bulk_email(**bulk(*(entry() for _ in range(3))))
    assert statuses(answer) == ["SUCCESS", "ACCOUNT_THROTTLED", "ACCOUNT_THROTTLED"]


def test_quota_of_entries(ses):
    """An entry beyond the quota says so."""
    ses.account.max_24_hour_send = 0
    answer = ses_client(ses).send_bulk_email(**bulk(entry()))
    assert statuses(answer) == ["ACCOUNT_DAILY_QUOTA_EXCEEDED"]


def test_planned_statuses(ses):
    """Tests may make an entry fail in any way SES has."""
    ses.fail_entries(
        "TRANSIENT_FAILURE", meant=lambda given: given["Destination"]["ToAddresses"] == ["a@b.com"]
    )
    client = ses_client(ses)
    parameters = bulk(entry(), entry("a@b.com"))
    assert statuses(client.send_bulk_email(**parameters)) == ["SUCCESS", "TRANSIENT_FAILURE"]
    assert [each.recipients for each in ses.messages()] == [["ana@example.org"]]


@pytest.mark.parametrize(
    ("parameters", "answer"),
    [
        (
            bulk(*(entry() for _ in range(51))),
            (400, "BadRequestException", "From 1 to 50 destinations are taken."),
        ),
        (bulk(), (400, "BadRequestException", "From 1 to 50 destinations are taken.")),
        (
            bulk(entry(), template={"TemplateName": "nobodys"}),
            (404, "NotFoundException", "Template nobodys does not exist."),
        ),
        (
            bulk(entry(), ConfigurationSetName="nobodys"),
            (404, "NotFoundException", "Configuration set nobodys does not exist."),
        ),
    ],
)
def test_refused(ses, parameters, answer):
    """What is wrong with the whole call is answered as an error, and nothing is sent."""
    assert refusal(ses_client(ses).send_bulk_email, **parameters) == answer
    assert ses.messages() == []
