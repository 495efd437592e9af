"""The account's suppression list in the simulated SES."""

import pytest

from tests.mailing import refusal, ses_client, simple, simulated_ses

NOW = 1_795_500_000_000


@pytest.fixture
def ses():
    with simulated_ses(clock=lambda: NOW) as ses:
        yield ses


@pytest.fixture
def client(ses):
    return ses_client(ses)


def test_suppressed_destination(client):
    """An address is put on the list, read, and listed by reason, time and page."""
    for name, reason in (("a", "BOUNCE"), ("B", "COMPLAINT"), ("c", "BOUNCE")):
        client.put_suppressed_destination(EmailAddress=f"{name}+x@example.org", Reason=reason)
    answer = client.get_suppressed_destination(EmailAddress="a+x@example.org")
    destination = answer["SuppressedDestination"]
    updated_at = int(destination["LastUpdateTime"].timestamp() * 1_000)
    assert (destination["Reason"], updated_at) == ("BOUNCE", NOW)

    def listed(**query):
        answer = client.list_suppressed_destinations(**query)
        summaries = answer["SuppressedDestinationSummaries"]
        return [summary["EmailAddress"][0] for summary in summaries], answer.get("NextToken")

    assert listed() == (["a", "B", "c"], None)
    assert listed(Reasons=["BOUNCE"]) == (["a", "c"], None)
    assert listed(PageSize=2) == (["a", "B"], "2")
    assert listed(PageSize=2, NextToken="2") == (["c"], None)
    assert listed(StartDate=NOW / 1_000 + 1) == ([], None)
    assert listed(EndDate=NOW / 1_000) == (["a", "B", "c"], None)


def test_case(ses, client):
    """GetSuppressedDestination compares the case of the address; sending does not."""
    client.put_suppressed_destination(EmailAddress="Ana@example.org", Reason="BOUNCE")
    assert refusal(client.get_suppressed_destination, EmailAddress="ana@example.org") == (
        404,
        "NotFoundException",
        "Email address ana@example.org does not exist on your suppression list.",
    )
    sent = client.send_email(**simple("ana@example.org"))
    assert ses.message(sent["MessageId"]).suppressed == {"ana@example.org": "BOUNCE"}


def test_bad_pages(client):
    """A page has 1 to 1,000 rows, and a token that was not issued is refused."""
    pages = client.list_suppressed_destinations
    for query in ({"PageSize": 0}, {"PageSize": 1_001}, {"NextToken": "x"}):
        assert refusal(pages, **query)[:2] == (400, "BadRequestException")
