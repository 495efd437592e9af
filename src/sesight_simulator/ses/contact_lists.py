"""The account's contact list, as far as sending with ListManagementOptions needs it."""

from __future__ import annotations

from typing import Any

from sesight_simulator.ses.api_model import SesError

MAX_TOPICS = 20


class ContactLists:
    """The account's contact lists: the topics of each. Nobody on them has opted out."""

    def __init__(self) -> None:
        self.topics_by_list: dict[str, set[str]] = {}

    def create_contact_list(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """CreateContactList. SES allows one list in an account."""
        name = parameters["ContactListName"]
        if name in self.topics_by_list:
            raise SesError("AlreadyExistsException", f"List with name {name} already exists.")
        if self.topics_by_list:
            raise SesError("LimitExceededException", "Maximum number of Lists reached (1).")
        topics = [topic["TopicName"] for topic in parameters.get("Topics", [])]
        if len(set(topics)) < len(topics):
            raise SesError("BadRequestException", "Topic names must be unique.")
        if len(topics) > MAX_TOPICS:
            raise SesError("BadRequestException", f"A list has at most {MAX_TOPICS} topics.")
        self.topics_by_list[name] = set(topics)
        return {}

    def check(self, name: str, topic: str | None) -> None:
        """Raise SesError unless the list exists, and the topic where one is named."""
        if name not in self.topics_by_list:
            raise SesError("NotFoundException", f"List with name: {name} doesn't exist.")
        if topic is not None and topic not in self.topics_by_list[name]:
            raise SesError("NotFoundException", f"Topic {topic} doesn't exist in List {name}.")
