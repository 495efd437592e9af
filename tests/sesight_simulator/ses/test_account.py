"""The limits of an account in the simulated SES: rate, daily quota, pauses, the sandbox."""

import pytest

from sesight_simulator.traffic.plan import DAY
from tests.mailing import refusal, ses_client, simple, simulated_ses

NOW = 1_795_500_000_000
RATE = (429, "TooManyRequestsException", "Maximum sending rate exceeded.")
QUOTA = (429, "TooManyRequestsException", "Daily message quota exceeded.")


class ManualClock:
    """A clock that stands still until a test sets it."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return ManualClock()


def test_rate(clock):
    """A burst of one second's messages is accepted; then one message at a time, as the rate allows."""
    with simulated_ses(max_send_rate=2, clock=clock) as ses:
        client = ses_client(ses)
        client.send_email(**simple())
        client.send_email(**simple())
        assert refusal(client.send_email, **simple()) == RATE
        clock.now += 499
        assert refusal(client.send_email, **simple()) == RATE
        clock.now += 1
        client.send_email(**simple())
        assert len(ses.messages()) == 3


def test_rate_of_recipients(clock):
    """Each recipient counts: at a rate of two, a message to four takes two seconds."""
    with simulated_ses(max_send_rate=2, clock=clock) as ses:
        client = ses_client(ses)
        four = {"ToAddresses": [f"a{n}@example.org" for n in range(4)]}
        client.send_email(**simple(Destination=four))
        clock.now += 1_000
        assert refusal(client.send_email, **simple()) == RATE
        clock.now += 1_000
        client.send_email(**simple())


def test_rate_of_the_simulator(clock):
    """Mail to the mailbox simulator is limited by the rate too."""
    with simulated_ses(max_send_rate=1, clock=clock) as ses:
        client = ses_client(ses)
        parameters = simple("success@simulator.amazonses.com")
        client.send_email(**parameters)
        assert refusal(client.send_email, **parameters) == RATE


def test_quota(clock):
    """The quota counts recipients of the last 24 hours, without those of the mailbox simulator."""
    with simulated_ses(max_24_hour_send=3, clock=clock) as ses:
        client = ses_client(ses)
        client.send_email(
            **simple(Destination={"ToAddresses": ["a@b.com"], "CcAddresses": ["c@d.com"]})
        )
        clock.now += DAY // 2
        client.send_email(**simple("success+a@simulator.amazonses.com"))
        client.send_email(**simple())
        assert client.get_account()["SendQuota"]["SentLast24Hours"] == 3
        assert refusal(client.send_email, **simple()) == QUOTA
        client.send_email(**simple("bounce@simulator.amazonses.com"))
        clock.now += DAY // 2
        assert client.get_account()["SendQuota"]["SentLast24Hours"] == 1
        client.send_email(**simple())


def test_no_quota(clock):
    """A quota of -1 is unlimited."""
    with simulated_ses(max_24_hour_send=-1, clock=clock) as ses:
        client = ses_client(ses)
        client.send_email(**simple())
        assert client.get_account()["SendQuota"]["Max24HourSend"] == -1


def test_paused():
    """While the account is paused, sending is refused and GetAccount reports it."""
    with simulated_ses() as ses:
        client = ses_client(ses)
        ses.account.sending = False
        assert refusal(client.send_email, **simple()) == (
            400,
            "SendingPausedException",
            "Email sending is paused for your account.",
        )
        assert client.get_account()["SendingEnabled"] is False
        ses.account.sending = True
        client.send_email(**simple())


def test_set_paused():
    """While a configuration set is paused, the others can send."""
    with simulated_ses() as ses:
        client = ses_client(ses)
        ses.account.sets["outreach-tracking"].sending = False
        assert refusal(client.send_email, **simple()) == (
            400,
            "SendingPausedException",
            "Email sending is paused for configuration set outreach-tracking.",
        )
        client.send_email(**simple(ConfigurationSetName="finance-tracking"))


def test_suspended():
    """An account that AWS shut down is answered with AccountSuspendedException."""
    with simulated_ses() as ses:
        client = ses_client(ses)
        ses.account.enforcement = "SHUTDOWN"
        assert refusal(client.send_email, **simple())[:2] == (400, "AccountSuspendedException")
        assert client.get_account()["EnforcementStatus"] == "SHUTDOWN"


def test_sandbox():
    """In the sandbox only verified recipients and the mailbox simulator are accepted."""
    with simulated_ses(production=False) as ses:
        client = ses_client(ses)
        client.send_email(**simple("ana@example.com"))
        client.send_email(**simple("success@simulator.amazonses.com"))
        assert refusal(client.send_email, **simple("ana@example.org"))[:2] == (
            400,
            "MessageRejected",
        )
        assert client.get_account()["ProductionAccessEnabled"] is False
        put = client.put_suppressed_destination
        assert refusal(put, EmailAddress="a@b.com", Reason="BOUNCE")[:2] == (
            400,
            "BadRequestException",
        )
