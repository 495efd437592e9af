"""The account: what one SES account in one region holds, and the calls that read and change it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sesight_simulator.ses.contacts import Contacts
from sesight_simulator.ses.requests import Operation, Refused, page
from sesight_simulator.ses.suppression import SuppressionList
from sesight_simulator.ses.template_store import Library
from sesight_simulator.traffic.plan import DAY

_SET_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(slots=True)
class ConfigurationSet:
    """A configuration set; `suppressed` overrides the account's reasons when it is not None."""

    name: str
    sending: bool = True
    suppressed: list[str] | None = None
    given: dict[str, Any] = field(default_factory=dict)


class Account:
    """Configuration sets, identities, quota and rate; and its parts with calls of their own."""

    def __init__(
        self,
        clock: Callable[[], int],
        *,
        region: str,
        identities: tuple[str, ...],
        configuration_sets: tuple[str, ...],
        max_send_rate: float,
        max_24_hour_send: float,
        production: bool,
    ) -> None:
        """Identities (domains and addresses) are verified; all of it may be changed at any time."""
        self.clock = clock
        self.region = region
        self.max_send_rate = max_send_rate
        self.max_24_hour_send = max_24_hour_send
        self.production = production
        self.library = Library(clock)
        self.contacts = Contacts(clock)
        self.suppressions = SuppressionList(clock, production=production)
        self.sending = True
        self.enforcement = "HEALTHY"
        self.identities = {name.lower(): True for name in identities}
        self.sets = {name: ConfigurationSet(name) for name in configuration_sets}
        self._sent: deque[tuple[int, int]] = deque()
        self._sum = 0
        self._tokens = max(1.0, max_send_rate)
        self._filled_at = clock()

    # -- quota and rate --------------------------------------------------------------------------

    def sent_last_24_hours(self) -> int:
        """Recipients accepted in the 24 hours up to now; those of the simulator do not count."""
        early = self.clock() - DAY
        while self._sent and self._sent[0][0] <= early:
            self._sum -= self._sent.popleft()[1]
        return self._sum

    def spend(self, recipients: int, quota: int) -> None:
        """Take `recipients` from the rate and `quota` of them from the day. Raises Refused.

        The bucket holds one second of the rate. A message of more recipients than are in it goes,
        and later ones wait: SES allows short bursts.
        """
        limit = self.max_24_hour_send
        if limit >= 0 and quota and self.sent_last_24_hours() + quota > limit:
            raise Refused("TooManyRequestsException", "Daily message quota exceeded.")
        now = self.clock()
        self._tokens += (now - self._filled_at) / 1_000 * self.max_send_rate
        self._tokens = min(self._tokens, max(1.0, self.max_send_rate))
        self._filled_at = now
        if self._tokens < 1:
            raise Refused("TooManyRequestsException", "Maximum sending rate exceeded.")
        self._tokens -= recipients
        if quota:
            self._sent.append((now, quota))
            self._sum += quota

    def may_send(self, configuration_set: str | None) -> None:
        """Nothing, if the account and the set may send now. Raises Refused."""
        if self.enforcement == "SHUTDOWN":
            raise Refused("AccountSuspendedException", "Your account is suspended from sending.")
        if not self.sending:
            raise Refused("SendingPausedException", "Email sending is paused for your account.")
        if configuration_set is not None and not self.set(configuration_set).sending:
            raise Refused(
                "SendingPausedException",
                f"Email sending is paused for configuration set {configuration_set}.",
            )

    def verified(self, address: str) -> bool:
        """Whether an address may be sent from: it or its domain, or a parent of that, is verified."""
        address = address.lower()
        if self.identities.get(address):
            return True
        labels = address.rpartition("@")[2].split(".")
        return any(self.identities.get(".".join(labels[n:])) for n in range(len(labels)))

    def suppression(self, address: str, configuration_set: str | None) -> str | None:
        """Why SES would not try an address, by the account's list, if so."""
        override = None if configuration_set is None else self.set(configuration_set).suppressed
        return self.suppressions.reason(address, override)

    # -- finding ---------------------------------------------------------------------------------

    def set(self, name: str) -> ConfigurationSet:
        """The configuration set of a name. Raises Refused."""
        if name not in self.sets:
            raise Refused("NotFoundException", f"Configuration set {name} does not exist.")
        return self.sets[name]

    # -- calls, each named after its operation ---------------------------------------------------

    def calls(self) -> dict[str, Operation]:
        """What answers each operation, those of its parts too."""
        return {
            "GetAccount": self.get_account,
            "PutAccountSendingAttributes": self.put_account_sending_attributes,
            "CreateConfigurationSet": self.create_configuration_set,
            "GetConfigurationSet": self.get_configuration_set,
            "ListConfigurationSets": self.list_configuration_sets,
            "DeleteConfigurationSet": self.delete_configuration_set,
            "PutConfigurationSetSendingOptions": self.put_configuration_set_sending_options,
            "PutConfigurationSetSuppressionOptions": self.put_configuration_set_suppression_options,
            "CreateEmailIdentity": self.create_email_identity,
            "GetEmailIdentity": self.get_email_identity,
            "ListEmailIdentities": self.list_email_identities,
            "DeleteEmailIdentity": self.delete_email_identity,
            **self.library.calls(),
            **self.contacts.calls(),
            **self.suppressions.calls(),
        }

    def get_account(self, _: dict[str, Any]) -> dict[str, Any]:
        """GetAccount."""
        return {
            "DedicatedIpAutoWarmupEnabled": False,
            "EnforcementStatus": self.enforcement,
            "ProductionAccessEnabled": self.production,
            "SendQuota": {
                "Max24HourSend": float(self.max_24_hour_send),
                "MaxSendRate": float(self.max_send_rate),
                "SentLast24Hours": float(self.sent_last_24_hours()),
            },
            "SendingEnabled": self.sending,
            "SuppressionAttributes": {"SuppressedReasons": self.suppressions.reasons},
        }

    def put_account_sending_attributes(self, given: dict[str, Any]) -> dict[str, Any]:
        """PutAccountSendingAttributes."""
        self.sending = given.get("SendingEnabled", False)
        return {}

    def create_configuration_set(self, given: dict[str, Any]) -> dict[str, Any]:
        """CreateConfigurationSet."""
        name = given["ConfigurationSetName"]
        if _SET_NAME.fullmatch(name) is None:
            raise Refused(
                "BadRequestException",
                f"Invalid configuration set name <{name}>: only alphanumeric ASCII characters, '_', "
                "and '-' are allowed, at most 64.",
            )
        if name in self.sets:
            raise Refused("AlreadyExistsException", f"Configuration set {name} already exists.")
        self.sets[name] = ConfigurationSet(
            name,
            given.get("SendingOptions", {}).get("SendingEnabled", True),
            given.get("SuppressionOptions", {}).get("SuppressedReasons"),
            {n: given[n] for n in ("TrackingOptions", "DeliveryOptions", "Tags") if n in given},
        )
        return {}

    def get_configuration_set(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetConfigurationSet."""
        found = self.set(given["ConfigurationSetName"])
        answer = {
            "ConfigurationSetName": found.name,
            "SendingOptions": {"SendingEnabled": found.sending},
            "ReputationOptions": {"ReputationMetricsEnabled": False},
            **found.given,
        }
        if found.suppressed is not None:
            answer["SuppressionOptions"] = {"SuppressedReasons": found.suppressed}
        return answer

    def list_configuration_sets(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListConfigurationSets."""
        return page(given, list(self.sets), "ConfigurationSets")

    def delete_configuration_set(self, given: dict[str, Any]) -> dict[str, Any]:
        """DeleteConfigurationSet."""
        del self.sets[self.set(given["ConfigurationSetName"]).name]
        return {}

    def put_configuration_set_sending_options(self, given: dict[str, Any]) -> dict[str, Any]:
        """PutConfigurationSetSendingOptions."""
        self.set(given["ConfigurationSetName"]).sending = given.get("SendingEnabled", False)
        return {}

    def put_configuration_set_suppression_options(self, given: dict[str, Any]) -> dict[str, Any]:
        """PutConfigurationSetSuppressionOptions; an empty list means no suppression."""
        found = self.set(given["ConfigurationSetName"])
        found.suppressed = given.get("SuppressedReasons")
        return {}

    def create_email_identity(self, given: dict[str, Any]) -> dict[str, Any]:
        """CreateEmailIdentity: here verified at once, if it is a domain; never, if an address."""
        name = given["EmailIdentity"].lower()
        if name in self.identities:
            raise Refused("AlreadyExistsException", f"Email identity {name} already exists.")
        self.identities[name] = "@" not in name
        return self.get_email_identity(given)

    def get_email_identity(self, given: dict[str, Any]) -> dict[str, Any]:
        """GetEmailIdentity."""
        name = given["EmailIdentity"].lower()
        if name not in self.identities:
            raise Refused("NotFoundException", f"Email identity {name} does not exist.")
        held = self.identities[name]
        return {
            "IdentityType": "EMAIL_ADDRESS" if "@" in name else "DOMAIN",
            "FeedbackForwardingStatus": False,
            "VerifiedForSendingStatus": held,
            "VerificationStatus": "SUCCESS" if held else "PENDING",
            "DkimAttributes": {"SigningEnabled": held, "Status": "SUCCESS" if held else "PENDING"},
        }

    def list_email_identities(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListEmailIdentities."""
        rows = [
            {
                "IdentityType": "EMAIL_ADDRESS" if "@" in name else "DOMAIN",
                "IdentityName": name,
                "SendingEnabled": held,
                "VerificationStatus": "SUCCESS" if held else "PENDING",
            }
            for name, held in self.identities.items()
        ]
        return page(given, rows, "EmailIdentities")

    def delete_email_identity(self, given: dict[str, Any]) -> dict[str, Any]:
        """DeleteEmailIdentity."""
        self.get_email_identity(given)
        del self.identities[given["EmailIdentity"].lower()]
        return {}
