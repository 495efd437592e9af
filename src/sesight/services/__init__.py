"""Services: what the API, the command line and the Lambda functions do alike.

A service returns what the API answers as JSON and `--json` prints. It takes queries as text, as people write
them, and raises the errors of `sesight.domain.errors`. No service imports the web framework.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sesight.domain.suppression.policy import SuppressionPolicy

if TYPE_CHECKING:
    from sesight.domain.counting import Counting
    from sesight.domain.ports import Clock, Store
    from sesight.send.templates.folder import TemplateFolder
    from sesight.services.intake_health import IntakeStatus
    from sesight.services.sending import SendService
    from sesight.services.suppressions import SuppressionService
    from sesight.services.unsubscribe import UnsubscribeService


@dataclass(frozen=True)
class StreamRoutes:
    """The paths of a stream's own routes: `/{prefix}/send` and `/{prefix}/tracking-data`. With a legacy
    provider the latter is the provider's, and that of SES is `/{prefix}/tracking-data-ses`.
    """

    stream: str
    prefix: str
    legacy: bool = False

    @property
    def tracking(self) -> str:
        """Return the path of the stream's tracking data from SES."""
        return f"/{self.prefix}/tracking-data{'-ses' if self.legacy else ''}"

    @property
    def send(self) -> str:
        """Return the path by which the stream's mail is sent."""
        return f"/{self.prefix}/send"


OWN_ROUTES = (
    StreamRoutes("outreach", "outreach", legacy=True),
    StreamRoutes("finance", "financial"),
)
"""The routes of the two streams that Sesight comes with."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything that the services use, composed once per process by `sesight.app`.

    `recipient_key` has 32 or 64 secret bytes. `hosts` are the names, besides those of loopback, that
    requests may address. `intake` and `metrics` are called at each request. `sending` and `templates`
    are called only by the routes that need them, because they import a lot; None: this process sends no
    mail, or has no templates. Without `unsubscribing` there are no unsubscribe links. `withheld` returns,
    for a stream's campaign, how many recipients the sender withheld, by state. `answer_bytes` limits the
    rows of one answer; None: no limit.
    """

    store: Store
    suppressions: SuppressionService
    counting: Counting
    clock: Clock
    recipient_key: bytes
    intake: Callable[[], IntakeStatus]
    retention_days: Callable[[], int] = lambda: 90
    policy: SuppressionPolicy = field(default_factory=SuppressionPolicy)
    metrics: Callable[[], bytes] = bytes
    routes: tuple[StreamRoutes, ...] = OWN_ROUTES
    version: str = "0.1.0"
    store_url: str = ""
    region: str | None = None
    provider: str = "ses"
    providers: tuple[str, ...] = ("ses",)
    simulated: bool = False
    hosts: frozenset[str] = frozenset()
    unsubscribing: UnsubscribeService | None = None
    api_keys_exist: Callable[[], bool] = lambda: False
    base_path: str = "/api"
    answer_bytes: int | None = None
    sending: Callable[[], SendService] | None = None
    templates: Callable[[], TemplateFolder] | None = None
    withheld: Callable[[str, str], Mapping[str, int]] = lambda _stream, _campaign: {}
    new_request_id: Callable[[], str] = lambda: secrets.token_hex(8)

    def tracked(self, stream: str) -> bool:
        """Return whether opens and clicks of the stream are recorded."""
        return self.counting.streams[stream].tracked
