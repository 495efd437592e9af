"""Mail that SES renders: pushed, sent by name, and the same as what is rendered here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sesight.app import ses_templates
from sesight.domain.sending import (
    CampaignDetails,
    SendResult,
    SendState,
    TemplateMail,
    TemplateRecipient,
)
from sesight.send.templates.folder import TemplateFolder, copy_examples
from sesight.send.templates.handlebars import BySes
from sesight.send.templates.ses import PushFailed
from sesight_simulator.ses.faults import Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.letters import written
from tests.mailing import ses_client, simulated_ses
from tests.send.office import Office, office

CONTEXT = {
    "product": "Tea & <b>cake</b>",
    "summary": "New.",
    "points": [{"title": "One", "text": "& only"}],
    "button_label": "See",
    "button_url": "https://www.example.com/?a=1&b=2",
    "signed_by": "Mara",
}


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


def sent(here: Office, name: str, *people: TemplateRecipient) -> list[SendResult]:
    asked = TemplateMail(name, CampaignDetails(id="spring"), list(people), CONTEXT)
    return here.app.sending.service.send_mail("outreach", asked, None)


def person(first_name: str, address: str = "ana@example.org") -> TemplateRecipient:
    return TemplateRecipient(email=address, context={"first_name": first_name})


def pushed(here: Office, name: str) -> str:
    found = TemplateFolder(here.app.settings.sending.templates)
    return ses_templates(here.app.settings, "outreach").push(BySes(found.load(name)))


def unlinked(text: str | None) -> str:
    """Return a text without the link to leave, which differs from message to message."""
    start = (text or "").index("https://mail.example.com")
    end = min(at for at in ((text or "").find(c, start) for c in '"\n') if at > 0)
    return (text or "")[:start] + (text or "")[end:]


def test_same_mail_either_way(tmp_path: Path, ses: SimulatedSes) -> None:
    """A recipient gets the same message whoever renders it, with values that look like HTML."""
    folder = str(tmp_path / "templates")
    copy_examples(TemplateFolder(folder))
    for rendering in ("local", "ses"):
        (tmp_path / rendering).mkdir()
        with office(tmp_path / rendering, ses, templates=folder, rendering=rendering) as here:
            assert pushed(here, "spring-launch") == (
                "created" if rendering == "local" else "unchanged"
            )
            (result,) = sent(here, "spring-launch", person("Ana <i>", f"{rendering}@example.org"))
            assert result.state is SendState.SENT, result
            here.take_events()
            assert here.record(result.message_id).campaign == "spring"
    (here_made,), (there_made,) = (ses.messages(f"{who}@example.org") for who in ("local", "ses"))
    assert (here_made.template, there_made.template) == (None, "spring-launch")
    assert (
        there_made.subject == here_made.subject == "Ana <i>, Tea & <b>cake</b> is open for partners"
    )
    assert unlinked(there_made.text) == unlinked(here_made.text)
    html = unlinked(there_made.html)
    assert "Tea &amp; &lt;b&gt;cake&lt;/b&gt;" in html
    assert "Ana &lt;i&gt;" in html
    assert '<a ses:no-track="" href=""' in html
    assert html.replace("&nbsp;", " ") == unlinked(here_made.html).replace("&nbsp;", " ")


def test_what_ses_is_told(tmp_path: Path, ses: SimulatedSes) -> None:
    """SES is told what the template names, and nothing else that is known of a person."""
    folder = TemplateFolder(tmp_path / "templates")
    written(
        folder,
        subject="{{ who }}",
        html=None,
        text="{{ who }} {{ unsubscribe_url }} {{ postal_address }}",
        who="Ana",
    )
    with office(tmp_path, ses, templates=str(folder.folder), rendering="ses") as here:
        pushed(here, "hello")
        sent(
            here,
            "hello",
            TemplateRecipient(email="ana@example.org", context={"who": "Ana", "iban": "X"}),
        )
    (message,) = ses.messages()
    assert message.template_data.keys() == {"text", "html"}
    assert message.template_data["text"].keys() == {"who", "unsubscribe_url", "postal_address"}
    assert message.template_data["html"] == {}


def test_lacking_is_refused_before(tmp_path: Path, ses: SimulatedSes) -> None:
    """What a person's context lacks is refused for that person, and SES is never asked."""
    folder = str(tmp_path / "templates")
    copy_examples(TemplateFolder(folder))
    with office(tmp_path, ses, templates=folder, rendering="ses") as here:
        pushed(here, "spring-launch")
        lacking, told = sent(
            here, "spring-launch", TemplateRecipient(email="bo@example.org"), person("Ana")
        )
    assert (lacking.state, lacking.code) == (SendState.INVALID, "missing-variable")
    assert told.state is SendState.SENT
    assert [message.to for message in ses.messages()] == [["ana@example.org"]]


def test_not_pushed(tmp_path: Path, ses: SimulatedSes) -> None:
    """A template that SES does not hold sends nothing, and the result says what is not known."""
    folder = str(tmp_path / "templates")
    copy_examples(TemplateFolder(folder))
    with office(tmp_path, ses, templates=folder, rendering="ses") as here:
        (result,) = sent(here, "spring-launch", person("Ana"))
    assert (result.state, result.code) == (SendState.REFUSED, "not-found")


def test_link_of_a_contact_list(tmp_path: Path, ses: SimulatedSes) -> None:
    """Where SES makes the link to leave, a pushed template shows SES's own."""
    folder = str(tmp_path / "templates")
    copy_examples(TemplateFolder(folder))
    sender = {
        "stream": "outreach",
        "from_address": "news@example.com",
        "postal_address": "1 Example Street",
        "contact_list": "people",
    }
    with office(tmp_path, ses, templates=folder, rendering="ses", senders=[sender]) as here:
        pushed(here, "spring-launch")
        ses_client(ses).create_contact_list(ContactListName="people")
        (result,) = sent(here, "spring-launch", person("Ana"))
    assert result.state is SendState.SENT, result
    (message,) = ses.messages()
    assert message.unsubscribe_url is not None
    assert message.unsubscribe_url in (message.text or "")
    assert message.unsubscribe_url in (message.html or "").replace("&amp;", "&")
    assert "{{" not in f"{message.text}{message.html}"


def test_refused(tmp_path: Path, ses: SimulatedSes) -> None:
    """What SES says against a template is passed on, under the template's name."""
    folder = TemplateFolder(tmp_path / "templates")
    copy_examples(folder)
    with office(tmp_path, ses, templates=str(folder.folder)) as here:
        held = ses_templates(here.app.settings, "outreach")
        ses.fail(Fault.ERROR, times=9, operations=("CreateEmailTemplate",))
        with pytest.raises(
            PushFailed, match="SES did not take the template spring-launch: Internal"
        ):
            held.push(BySes(folder.load("spring-launch")))
