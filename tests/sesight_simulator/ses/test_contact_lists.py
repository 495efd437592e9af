"""Contact lists of the simulated SES."""

import pytest

from tests.mailing import refusal, ses_client, simple, simulated_ses

DIGEST = {"TopicName": "digest", "DisplayName": "Digest", "DefaultSubscriptionStatus": "OPT_IN"}


@pytest.fixture
def client():
    with simulated_ses() as ses:
        yield ses_client(ses)


def test_one_list(client):
    """An account has one contact list."""
    create = client.create_contact_list
    create(ContactListName="readers", Topics=[DIGEST])
    assert refusal(create, ContactListName="readers")[1] == "AlreadyExistsException"
    assert refusal(create, ContactListName="others")[1] == "LimitExceededException"


def test_topics(client):
    """A list has at most 20 topics, each once."""
    create = client.create_contact_list
    many = [{**DIGEST, "TopicName": f"t{number}"} for number in range(21)]
    assert refusal(create, ContactListName="readers", Topics=many)[0] == 400
    assert refusal(create, ContactListName="readers", Topics=[DIGEST, DIGEST])[0] == 400


def test_sending_to_a_topic(client):
    """A message may name a topic that its list has, and no other."""
    client.create_contact_list(ContactListName="readers", Topics=[DIGEST])

    def options(topic):
        return {"ListManagementOptions": {"ContactListName": "readers", "TopicName": topic}}

    assert client.send_email(**simple(**options("digest")))["MessageId"]
    assert refusal(client.send_email, **simple(**options("offers"))) == (
        404,
        "NotFoundException",
        "Topic offers doesn't exist in List readers.",
    )
