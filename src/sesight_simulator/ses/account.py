"""One SES account in one region: identities, configuration sets, quota and sending rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sesight_simulator.ses.api_model import Operation, SesError
from sesight_simulator.ses.contact_lists import ContactLists
from sesight_simulator.ses.suppression_list import REASONS, SimulatedSuppressionList
from sesight_simulator.ses.template_store import TemplateStore
from sesight_simulator.traffic.plan import DAY


@dataclass(slots=True)
class ConfigurationSet:
    """A configuration set; `sending` is False while it is paused."""

    name: str
    sending: bool = True


class SimulatedAccount:
    """The state of the account. Tests may change any attribute at any time.

    `identities` are verified domains and addresses, in lower case. The account is suspended while
    `enforcement` is `SHUTDOWN`, and paused while `sending` is False.
    """

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
        self.clock = clock
        self.region = region
        self.max_send_rate = max_send_rate
        self.max_24_hour_send = max_24_hour_send
        self.production = production
        self.templates = TemplateStore()
        self.contact_lists = ContactLists()
        self.suppressions = SimulatedSuppressionList(clock, production=production)
        self.sending = True
        self.enforcement = "HEALTHY"
        self.identities = {name.lower() for name in identities}
        self.sets = {name: ConfigurationSet(name) for name in configuration_sets}
        self._sent: deque[tuple[int, int]] = deque()
        """(time, recipients) of the last 24 hours."""
        self._sent_sum = 0
        self._tokens = max(1.0, max_send_rate)
        self._filled_at = clock()

    def sent_last_24_hours(self) -> int:
        """Return the recipients accepted in the last 24 hours, without the mailbox simulator's."""
        early = self.clock() - DAY
        while self._sent and self._sent[0][0] <= early:
            self._sent_sum -= self._sent.popleft()[1]
        return self._sent_sum

    def spend(self, recipients: int, quota: int) -> None:
        """Take `recipients` from the rate and `quota` of them from the daily quota. Raises SesError.

        The bucket holds one second of the rate. A message to more recipients than tokens are left is
        accepted, and later ones wait: SES allows short bursts.
        """
        limit = self.max_24_hour_send
        if limit >= 0 and quota and self.sent_last_24_hours() + quota > limit:
            raise SesError("TooManyRequestsException", "Daily message quota exceeded.")
        now = self.clock()
        self._tokens += (now - self._filled_at) / 1_000 * self.max_send_rate
        self._tokens = min(self._tokens, max(1.0, self.max_send_rate))
        self._filled_at = now
        if self._tokens < 1:
            raise SesError("TooManyRequestsException", "Maximum sending rate exceeded.")
        self._tokens -= recipients
        if quota:
            self._sent.append((now, quota))
            self._sent_sum += quota

    def check_sending(self, configuration_set: str | None) -> None:
        """Raise SesError unless the account and the configuration set may send now."""
        if self.enforcement == "SHUTDOWN":
            raise SesError("AccountSuspendedException", "Your account is suspended from sending.")
        if not self.sending:
            raise SesError("SendingPausedException", "Email sending is paused for your account.")
        if configuration_set is None:
            return
        if configuration_set not in self.sets:
            raise SesError(
                "NotFoundException", f"Configuration set {configuration_set} does not exist."
            )
        if not self.sets[configuration_set].sending:
            raise SesError(
                "SendingPausedException",
                f"Email sending is paused for configuration set {configuration_set}.",
            )

    def is_verified(self, address: str) -> bool:
        """Return whether the address, its domain or a parent of its domain is verified."""
        address = address.lower()
        labels = address.rpartition("@")[2].split(".")
        domains = {".".join(labels[start:]) for start in range(len(labels))}
        return not self.identities.isdisjoint({address, *domains})

    def operations(self) -> dict[str, Operation]:
        """Return what answers each operation of the account and of its parts."""
        return {
            "GetAccount": self.get_account,
            "CreateContactList": self.contact_lists.create_contact_list,
            "CreateEmailTemplate": self.templates.create_email_template,
            "UpdateEmailTemplate": self.templates.update_email_template,
            "GetEmailTemplate": self.templates.get_email_template,
            "PutSuppressedDestination": self.suppressions.put_suppressed_destination,
            "GetSuppressedDestination": self.suppressions.get_suppressed_destination,
            "ListSuppressedDestinations": self.suppressions.list_suppressed_destinations,
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
            "SuppressionAttributes": {"SuppressedReasons": list(REASONS)},
        }
