"""Whose mailbox a recipient has."""

import pytest

from sesight.domain.event import Bounce, Delivery, DeliveryDelay
from sesight.domain.mailbox import MAILBOXES, REPORTING, mailbox_of
from tests.builders import NOW, event, record, sent


@pytest.mark.parametrize(
    ("isp", "mailbox"),
    [
        ("Gmail", "gmail"),
        ("Google Workspace", "gmail"),
        ("Hotmail", "microsoft"),
        ("Outlook.com", "microsoft"),
        ("Microsoft Office 365", "microsoft"),
        ("Yahoo", "yahoo"),
        ("AOL", "yahoo"),
        ("Apple", "apple"),
        ("iCloud", "apple"),
        ("GMX", "gmx"),
        ("web.de", "gmx"),
        ("Proton", "proton"),
        ("Example ISP", "other"),
    ],
)
def test_isp(isp: str, mailbox: str) -> None:
    """What SES says of the mailbox provider counts before everything else."""
    assert mailbox_of(record(sent("ana@yahoo.com", isp=isp))) == mailbox


@pytest.mark.parametrize(
    ("address", "mailbox"),
    [
        ("ana@gmail.com", "gmail"),
        ("ana@googlemail.com", "gmail"),
        ("ana@outlook.com", "microsoft"),
        ("ana@hotmail.co.uk", "microsoft"),
        ("ana@msn.com", "microsoft"),
        ("ana@yahoo.co.in", "yahoo"),
        ("ana@aol.com", "yahoo"),
        ("ana@icloud.com", "apple"),
        ("ana@me.com", "apple"),
        ("ana@gmx.de", "gmx"),
        ("ana@web.de", "gmx"),
        ("ana@proton.me", "proton"),
        ("ana@pm.me", "proton"),
        ("ana@contoso.example", "other"),
        ("ana@notgmail.com", "other"),
        ("*", "other"),
    ],
)
def test_domain(address: str, mailbox: str) -> None:
    """A known domain tells the provider."""
    assert mailbox_of(record(sent(address))) == mailbox


@pytest.mark.parametrize(
    ("occurrence", "mailbox"),
    [
        (Delivery(NOW, reply="250 2.0.0 OK  1789373731 a1b2c3 - gsmtp"), "gmail"),
        (Bounce(NOW, reply="smtp; 550-5.1.1 mx.google.com"), "gmail"),
        (
            Delivery(
                NOW,
                reply="250 2.6.0 Queued mail for delivery contoso-com.mail.protection.outlook.com",
            ),
            "microsoft",
        ),
        (DeliveryDelay(NOW, reply="421 mta5.am0.yahoodns.net"), "yahoo"),
        (Delivery(NOW, mta="mx01.mail.icloud.com"), "apple"),
        (Delivery(NOW, reply="250 Requested mail action okay mx.gmx.net"), "gmx"),
        (Delivery(NOW, reply="250 2.0.0 Ok: queued at mail.protonmail.ch"), "proton"),
        (Delivery(NOW, reply="250 OK"), "other"),
        (Delivery(NOW), "other"),
    ],
)
def test_server(occurrence: Delivery | Bounce | DeliveryDelay, mailbox: str) -> None:
    """For other domains the receiving server's words tell the provider, if they do."""
    assert mailbox_of(record(event(occurrence))) == mailbox


def test_all() -> None:
    """The providers are a closed list; all but Gmail report complaints to SES."""
    assert MAILBOXES == ("gmail", "microsoft", "yahoo", "apple", "gmx", "proton", "other")
    assert {*MAILBOXES} - REPORTING == {"gmail"}
