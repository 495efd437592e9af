"""Suppression list, contact lists, configuration sets and identities of the simulated SES."""

import pytest

from tests.mailing import refusal, ses_client, simple, simulated_ses

NOW = 1_795_500_000_000
READERS = {
    "ContactListName": "readers",
    "Topics": [
        {"TopicName": "digest", "DisplayName": "Digest", "DefaultSubscriptionStatus": "OPT_IN"},
        {"TopicName": "offers", "DisplayName": "Offers", "DefaultSubscriptionStatus": "OPT_OUT"},
    ],
}


@pytest.fixture
def ses():
    with simulated_ses(clock=lambda: NOW) as ses:
        yield ses


@pytest.fixture
def client(ses):
    return ses_client(ses)


def seconds(moment):
    return int(moment.timestamp() * 1_000)


def test_suppressed_destination(client):
    """An address is put on the list, read, listed by reason and page, and deleted."""
    for name, reason in (("a", "BOUNCE"), ("B", "COMPLAINT"), ("c", "BOUNCE")):
        client.put_suppressed_destination(EmailAddress=f"{name}+x@example.org", Reason=reason)
    found = client.get_suppressed_destination(EmailAddress="a+x@example.org")
    item = found["SuppressedDestination"]
    assert (item["Reason"], seconds(item["LastUpdateTime"])) == ("BOUNCE", NOW)

    def listed(**query):
        answer = client.list_suppressed_destinations(**query)
        rows = answer["SuppressedDestinationSummaries"]
        return [each["EmailAddress"][0] for each in rows], answer.get("NextToken")

    assert listed() == (["a", "B", "c"], None)
    assert listed(Reasons=["BOUNCE"]) == (["a", "c"], None)
    assert listed(PageSize=2) == (["a", "B"], "2")
    assert listed(PageSize=2, NextToken="2") == (["c"], None)
    assert listed(StartDate=NOW / 1_000 + 1) == ([], None)
    assert listed(EndDate=NOW / 1_000) == (["a", "B", "c"], None)
    client.delete_suppressed_destination(EmailAddress="a+x@example.org")
    assert refusal(client.get_suppressed_destination, EmailAddress="a+x@example.org") == (
        404,
        "NotFoundException",
        "Email address a+x@example.org does not exist on your suppression list.",
    )


def test_suppressed_case(client):
    """The list is managed by exact case, as AWS's is."""
    client.put_suppressed_destination(EmailAddress="Ana@example.org", Reason="BOUNCE")
    for call in (client.get_suppressed_destination, client.delete_suppressed_destination):
        assert refusal(call, EmailAddress="ana@example.org")[0] == 404
    client.delete_suppressed_destination(EmailAddress="Ana@example.org")


def test_suppressed_reasons(ses, client):
    """The account's reasons decide which entries hold; a configuration set may say otherwise."""
    client.put_suppressed_destination(EmailAddress="Ana@example.org", Reason="BOUNCE")

    def tried():
        sent = client.send_email(**simple("ana@example.org"))
        return ses.message(sent["MessageId"]).suppressed == {}

    assert not tried()
    client.put_account_suppression_attributes(SuppressedReasons=["COMPLAINT"])
    assert client.get_account()["SuppressionAttributes"] == {"SuppressedReasons": ["COMPLAINT"]}
    assert tried()
    put = client.put_configuration_set_suppression_options
    put(ConfigurationSetName="outreach-tracking", SuppressedReasons=["BOUNCE"])
    assert not tried()
    put(ConfigurationSetName="outreach-tracking", SuppressedReasons=[])
    assert tried()


def test_bad_pages(client):
    """Pages are of 1 to 1,000 rows, and go on from a token of ours."""
    pages = client.list_suppressed_destinations
    for query in ({"PageSize": 0}, {"PageSize": 1_001}, {"NextToken": "x"}):
        assert refusal(pages, **query)[:2] == (400, "BadRequestException")


def test_contact_lists(client):
    """An account has one contact list, of at most 20 topics."""
    client.create_contact_list(**READERS)
    assert refusal(client.create_contact_list, **READERS)[1] == "AlreadyExistsException"
    assert refusal(client.create_contact_list, ContactListName="b")[1] == "LimitExceededException"
    found = client.get_contact_list(ContactListName="readers")
    assert found["Topics"] == READERS["Topics"]
    client.update_contact_list(ContactListName="readers", Topics=READERS["Topics"][:1])
    assert len(client.get_contact_list(ContactListName="readers")["Topics"]) == 1
    many = [{**READERS["Topics"][0], "TopicName": f"t{n}"} for n in range(21)]
    assert refusal(client.update_contact_list, ContactListName="readers", Topics=many)[0] == 400
    twice = [READERS["Topics"][0]] * 2
    assert refusal(client.update_contact_list, ContactListName="readers", Topics=twice)[0] == 400
    listed = client.list_contact_lists()["ContactLists"]
    assert [each["ContactListName"] for each in listed] == ["readers"]
    client.delete_contact_list(ContactListName="readers")
    assert refusal(client.get_contact_list, ContactListName="readers")[:2] == (
        404,
        "NotFoundException",
    )


def test_contacts(client):
    """A contact is made, read, changed, listed by status and topic, and deleted."""
    client.create_contact_list(**READERS)
    of = {"ContactListName": "readers"}
    offers = [{"TopicName": "offers", "SubscriptionStatus": "OPT_IN"}]
    client.create_contact(**of, EmailAddress="a+x@b.com", TopicPreferences=offers)
    client.create_contact(**of, EmailAddress="c@d.com", UnsubscribeAll=True)
    client.create_contact(**of, EmailAddress="e@f.com", AttributesData="{}")
    assert (
        refusal(client.create_contact, **of, EmailAddress="C@D.com")[1] == "AlreadyExistsException"
    )
    found = client.get_contact(**of, EmailAddress="a+x@b.com")
    assert (found["TopicPreferences"], found["UnsubscribeAll"]) == (offers, False)
    assert [each["TopicName"] for each in found["TopicDefaultPreferences"]] == ["digest", "offers"]

    def listed(status, topic=None, *, defaults=False):
        query = {"FilteredStatus": status}
        if topic is not None:
            query["TopicFilter"] = {
                "TopicName": topic,
                "UseDefaultIfPreferenceUnavailable": defaults,
            }
        rows = client.list_contacts(**of, Filter=query)["Contacts"]
        return [each["EmailAddress"][0] for each in rows]

    assert listed("OPT_IN") == ["a", "e"]
    assert listed("OPT_OUT") == ["c"]
    assert listed("OPT_IN", "offers") == ["a"]
    assert listed("OPT_IN", "digest", defaults=True) == ["a", "e"]
    assert listed("OPT_OUT", "offers", defaults=True) == ["c", "e"]
    client.update_contact(**of, EmailAddress="a+x@b.com", UnsubscribeAll=True)
    assert client.get_contact(**of, EmailAddress="a+x@b.com")["TopicPreferences"] == []
    client.delete_contact(**of, EmailAddress="a+x@b.com")
    assert refusal(client.get_contact, **of, EmailAddress="a+x@b.com")[:2] == (
        404,
        "NotFoundException",
    )
    unknown = [{"TopicName": "nobodys", "SubscriptionStatus": "OPT_IN"}]
    bad = {"EmailAddress": "g@h.com", "TopicPreferences": unknown}
    assert refusal(client.create_contact, **of, **bad)[:2] == (400, "BadRequestException")


def test_opt_outs(ses, client):
    """Who opted out of the list or the topic is not tried; who is unknown is put on the list."""
    client.create_contact_list(**READERS)
    client.create_contact(ContactListName="readers", EmailAddress="a@b.com", UnsubscribeAll=True)

    def tried(address, topic):
        options = {"ContactListName": "readers", "TopicName": topic}
        sent = client.send_email(**simple(address, ListManagementOptions=options))
        return ses.message(sent["MessageId"]).suppressed

    assert tried("a@b.com", "digest") == {"a@b.com": "UNSUBSCRIBED"}
    assert tried("new@b.com", "digest") == {}
    assert tried("new@b.com", "offers") == {"new@b.com": "UNSUBSCRIBED"}
    contact = client.get_contact(ContactListName="readers", EmailAddress="new@b.com")
    assert contact["UnsubscribeAll"] is False


def test_topic(client):
    """A topic the list does not have is not found."""
    client.create_contact_list(**READERS)
    options = {"ContactListName": "readers", "TopicName": "nobodys"}
    assert refusal(client.send_email, **simple(ListManagementOptions=options)) == (
        404,
        "NotFoundException",
        "Topic nobodys doesn't exist in List readers.",
    )


def test_configuration_sets(client):
    """A configuration set is made, read, listed and deleted; its name is of SES's characters."""
    client.create_configuration_set(
        ConfigurationSetName="third",
        SendingOptions={"SendingEnabled": False},
        SuppressionOptions={"SuppressedReasons": []},
    )
    found = client.get_configuration_set(ConfigurationSetName="third")
    assert (found["SendingOptions"], found["SuppressionOptions"]) == (
        {"SendingEnabled": False},
        {"SuppressedReasons": []},
    )
    assert client.list_configuration_sets()["ConfigurationSets"] == [
        "outreach-tracking",
        "finance-tracking",
        "third",
    ]
    again = client.create_configuration_set
    assert refusal(again, ConfigurationSetName="third")[:2] == (400, "AlreadyExistsException")
    for name in ("a.b", "x" * 65):
        assert refusal(again, ConfigurationSetName=name)[:2] == (400, "BadRequestException")
    client.delete_configuration_set(ConfigurationSetName="third")
    assert refusal(client.get_configuration_set, ConfigurationSetName="third") == (
        404,
        "NotFoundException",
        "Configuration set third does not exist.",
    )


def test_identities(client):
    """An identity is made, read, listed and deleted; a new domain is verified, an address is not."""
    client.create_email_identity(EmailIdentity="example.net")
    client.create_email_identity(EmailIdentity="ana@example.org")
    assert refusal(client.create_email_identity, EmailIdentity="EXAMPLE.net")[0] == 400
    listed = client.list_email_identities()["EmailIdentities"]
    assert {each["IdentityName"]: each["VerificationStatus"] for each in listed} == {
        "example.com": "SUCCESS",
        "example.net": "SUCCESS",
        "ana@example.org": "PENDING",
    }
    client.send_email(**simple(FromEmailAddress="a@example.net"))
    assert refusal(client.send_email, **simple(FromEmailAddress="ana@example.org"))[0] == 400
    found = client.get_email_identity(EmailIdentity="ana@example.org")
    assert (found["IdentityType"], found["VerifiedForSendingStatus"]) == ("EMAIL_ADDRESS", False)
    client.delete_email_identity(EmailIdentity="example.net")
    assert refusal(client.get_email_identity, EmailIdentity="example.net")[0] == 404
