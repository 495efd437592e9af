"""Contact lists: who wants mail on which topic, and the calls that read and change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sesight_simulator.ses.requests import Operation, Refused, page

LISTS = 1
"""Contact lists an account may have."""
TOPICS = 20
"""Topics a list may have."""


@dataclass(slots=True)
class Contact:
    """One address on a list; `topics` holds the preferences it stated itself."""

    address: str
    at: int
    changed_at: int
    topics: dict[str, str] = field(default_factory=dict)
    unsubscribed: bool = False
    data: str | None = None


@dataclass(slots=True)
class ContactList:
    """One list; `topics` by name, as they were given."""

    name: str
    at: int
    changed_at: int
    topics: dict[str, dict[str, Any]]
    description: str | None = None
    contacts: dict[str, Contact] = field(default_factory=dict)

    def status(self, contact: Contact, topic: str) -> str:
        """What a contact said of a topic, or the topic's default."""
        default: str = self.topics[topic]["DefaultSubscriptionStatus"]
        return contact.topics.get(topic, default)


class Contacts:
    """The account's contact lists."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.lists: dict[str, ContactList] = {}

    def calls(self) -> dict[str, Operation]:
        """What answers each operation."""
        return {
            "CreateContactList": self.create_contact_list,
            "UpdateContactList": self.update_contact_list,
            "GetContactList": self.get_contact_list,
            "ListContactLists": self.list_contact_lists,
            "DeleteContactList": self.delete_contact_list,
            "CreateContact": self.create_contact,
            "UpdateContact": self.update_contact,
            "GetContact": self.get_contact,
            "ListContacts": self.list_contacts,
            "DeleteContact": self.delete_contact,
        }

    def named(self, name: str) -> ContactList:
        """The list of a name. Raises Refused."""
        if name not in self.lists:
            raise Refused("NotFoundException", f"List with name: {name} doesn't exist.")
        return self.lists[name]

    def contact(self, name: str, address: str) -> Contact:
        """The contact of an address. Raises Refused."""
        found = self.named(name).contacts.get(address.lower())
        if found is None:
            raise Refused("NotFoundException", f"Contact {address} doesn't exist in List {name}.")
        return found

    def check(self, name: str, topic: str | None) -> None:
        """Nothing, if the list and the topic exist. Raises Refused."""
        if topic is not None and topic not in self.named(name).topics:
            raise Refused("NotFoundException", f"Topic {topic} doesn't exist in List {name}.")
        self.named(name)

    def wants(self, name: str, topic: str | None, address: str) -> bool:
        """Whether an address takes mail of a list or topic; one not known is put on the list."""
        held = self.named(name)
        now = self.clock()
        contact = held.contacts.setdefault(address.lower(), Contact(address, now, now))
        if contact.unsubscribed:
            return False
        return topic is None or held.status(contact, topic) == "OPT_IN"

    def leave(self, name: str, topic: str | None, address: str) -> tuple[Any, Any]:
        """Take an address off a topic, or off all. The preferences before and after, as in events."""
        held, contact = self.named(name), self.contact(name, address)
        before = preferences(held, contact)
        if topic is None:
            contact.unsubscribed = True
        else:
            contact.topics[topic] = "OPT_OUT"
        contact.changed_at = self.clock()
        return before, preferences(held, contact)

    # -- calls, each named after its operation ---------------------------------------------------

    def create_contact_list(self, given: dict[str, Any]) -> dict[str, Any]:
        """CreateContactList; an account has one."""
        name = given["ContactListName"]
        if name in self.lists:
            raise Refused("AlreadyExistsException", f"List with name {name} already exists.")
        if len(self.lists) >= LISTS:
            raise Refused("LimitExceededException", "Maximum number of Lists reached (1).")
        now = self.clock()
        self.lists[name] = ContactList(name, now, now, _topics(given), given.get("Description"))
        return {}

    def update_contact_list(self, given: dict[str, Any]) -> dict[str, Any]:
        """UpdateContactList."""
        held = self.named(given["ContactListName"])
        held.topics = _topics(given)
        held.description = given.get("Description")
        held.changed_at = self.clock()
        return {}

    def get_contact_list(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetContactList."""
        held = self.named(given["ContactListName"])
        return {
            "ContactListName": held.name,
            "Topics": list(held.topics.values()),
            "Description": held.description,
            "CreatedTimestamp": held.at / 1_000,
            "LastUpdatedTimestamp": held.changed_at / 1_000,
        }

    def list_contact_lists(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListContactLists."""
        rows = [
            {"ContactListName": each.name, "LastUpdatedTimestamp": each.changed_at / 1_000}
            for each in self.lists.values()
        ]
        return page(given, rows, "ContactLists")

    def delete_contact_list(self, given: dict[str, Any]) -> dict[str, Any]:
        """DeleteContactList."""
        del self.lists[self.named(given["ContactListName"]).name]
        return {}

    def create_contact(self, given: dict[str, Any]) -> dict[str, Any]:
        """CreateContact."""
        held, address = self.named(given["ContactListName"]), given["EmailAddress"]
        if address.lower() in held.contacts:
            raise Refused(
                "AlreadyExistsException", f"Contact {address} already exists in List {held.name}."
            )
        now = self.clock()
        contact = Contact(address, now, now)
        _change(held, contact, given)
        held.contacts[address.lower()] = contact
        return {}

    def update_contact(self, given: dict[str, Any]) -> dict[str, Any]:
        """UpdateContact."""
        held = self.named(given["ContactListName"])
        contact = self.contact(held.name, given["EmailAddress"])
        _change(held, contact, given)
        contact.changed_at = self.clock()
        return {}

    def get_contact(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetContact."""
        held = self.named(given["ContactListName"])
        contact = self.contact(held.name, given["EmailAddress"])
        answer = _row(held, contact)
        answer["ContactListName"] = held.name
        answer["CreatedTimestamp"] = contact.at / 1_000
        if contact.data is not None:
            answer["AttributesData"] = contact.data
        return answer

    def list_contacts(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListContacts, by status, of one topic or at all."""
        held = self.named(given["ContactListName"])
        wanted = given.get("Filter", {})
        status, topic = wanted.get("FilteredStatus"), wanted.get("TopicFilter", {}).get("TopicName")
        defaults = wanted.get("TopicFilter", {}).get("UseDefaultIfPreferenceUnavailable", False)
        if topic is not None:
            self.check(held.name, topic)
        rows = []
        for each in held.contacts.values():
            found: str | None = "OPT_OUT" if each.unsubscribed else "OPT_IN"
            if topic is not None and not each.unsubscribed:
                stated = topic in each.topics or defaults
                found = held.status(each, topic) if stated else None
            if status is None or found == status:
                rows.append(_row(held, each))
        return page(given, rows, "Contacts")

    def delete_contact(self, given: dict[str, Any]) -> dict[str, Any]:
        """DeleteContact."""
        held = self.named(given["ContactListName"])
        del held.contacts[self.contact(held.name, given["EmailAddress"]).address.lower()]
        return {}


def preferences(held: ContactList, contact: Contact) -> dict[str, Any]:
    """A contact's preferences as a Subscription event writes them."""
    said = {"OPT_IN": "OptIn", "OPT_OUT": "OptOut"}
    return {
        "unsubscribeAll": contact.unsubscribed,
        "topicSubscriptionStatus": [
            {"topicName": name, "subscriptionStatus": said[status]}
            for name, status in contact.topics.items()
        ],
        "topicDefaultSubscriptionStatus": [
            {"topicName": name, "subscriptionStatus": said[each["DefaultSubscriptionStatus"]]}
            for name, each in held.topics.items()
        ],
    }


def _topics(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    topics = {each["TopicName"]: each for each in given.get("Topics", [])}
    if len(topics) < len(given.get("Topics", [])):
        raise Refused("BadRequestException", "Topic names must be unique.")
    if len(topics) > TOPICS:
        raise Refused("BadRequestException", f"A list has at most {TOPICS} topics.")
    return topics


def _change(held: ContactList, contact: Contact, given: dict[str, Any]) -> None:
    topics = {
        each["TopicName"]: each["SubscriptionStatus"] for each in given.get("TopicPreferences", [])
    }
    for name in topics:
        if name not in held.topics:
            raise Refused("BadRequestException", f"Topic {name} doesn't exist in the list.")
    contact.topics = topics
    contact.unsubscribed = given.get("UnsubscribeAll", False)
    contact.data = given.get("AttributesData", contact.data)


def _row(held: ContactList, contact: Contact) -> dict[str, Any]:
    return {
        "EmailAddress": contact.address,
        "TopicPreferences": [
            {"TopicName": name, "SubscriptionStatus": status}
            for name, status in contact.topics.items()
        ],
        "TopicDefaultPreferences": [
            {"TopicName": name, "SubscriptionStatus": each["DefaultSubscriptionStatus"]}
            for name, each in held.topics.items()
        ],
        "UnsubscribeAll": contact.unsubscribed,
        "LastUpdatedTimestamp": contact.changed_at / 1_000,
    }
