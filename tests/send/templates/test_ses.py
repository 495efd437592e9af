"""Templates that SES renders: checked, pushed verbatim, and sent by name with their data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sesight.app.aws import ses_templates
from sesight.domain.errors import InvalidRequest, SettingsError
from sesight.domain.sending import (
    CampaignDetails,
    SendResult,
    SendState,
    TemplateMail,
    TemplateRecipient,
)
from sesight.domain.template import TemplateIssue
from sesight.send.message import TemplatedContent, Unsendable
from sesight.send.templates.folder import TemplateFolder, copy_examples
from sesight.send.templates.ses import PushFailed, SesTemplate
from sesight_simulator.ses.faults import Fault
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.letters import written
from tests.mailing import ses_client, simulated_ses
from tests.send.office import Office, office

TEXT = "{{#each points}}* {{title}}\n{{/each}}{{unsubscribe_url}}\n{{postal_address}}\n"
HTML = (
    "<p>{{html.first_name}}</p>{{#each html.points}}<p>{{this.title}}</p>{{/each}}"
    '<a ses:no-track href="{{html.unsubscribe_url}}">Unsubscribe</a> {{html.postal_address}}'
)
CONTEXT = {"points": [{"title": "Tea & cake"}]}


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


@pytest.fixture
def templates(tmp_path: Path) -> TemplateFolder:
    """A folder with one template that SES renders."""
    folder = TemplateFolder(tmp_path / "templates")
    parts: dict[str, Any] = {"subject": "Hello {{first_name}}\n", "html": HTML, "text": TEXT}
    written(folder, stream="outreach", rendering="ses", **parts)
    return folder


def loaded(templates: TemplateFolder, name: str = "hello") -> SesTemplate:
    (template,) = templates.for_ses([name])
    return template


def sent(here: Office, *people: TemplateRecipient) -> list[SendResult]:
    mail = TemplateMail("hello", CampaignDetails(id="spring"), list(people), CONTEXT)
    return here.app.sending.service.send_mail("outreach", mail, None)


def person(first_name: str, address: str = "ana@example.org") -> TemplateRecipient:
    return TemplateRecipient(email=address, context={"first_name": first_name})


def push(here: Office, templates: TemplateFolder) -> str:
    return ses_templates(here.app.settings, "outreach").push(loaded(templates))


def test_content(templates: TemplateFolder) -> None:
    """The files are pushed as they are; only the subject loses the end of its line."""
    assert loaded(templates).content == {
        "Subject": "Hello {{first_name}}",
        "Text": TEXT,
        "Html": HTML,
    }


def test_data(templates: TemplateFolder) -> None:
    """The data of a message has each value twice: as it is, and escaped under `html`."""
    context = {"first_name": "<Ana>", "points": [{"title": "a & b"}], "n": 3}
    escaped = {"first_name": "&lt;Ana&gt;", "points": [{"title": "a &amp; b"}], "n": 3}
    assert loaded(templates).body(context) == TemplatedContent(
        "hello", {**context, "html": escaped}
    )


def test_data_nested_too_deeply(templates: TemplateFolder) -> None:
    """A context that is nested too deeply to be escaped is refused."""
    context: Any = "x"
    for _ in range(10_000):
        context = {"deeper": context}
    with pytest.raises(Unsendable, match="nested too deeply"):
        loaded(templates).body(context)


def test_sent(tmp_path: Path, ses: SimulatedSes, templates: TemplateFolder) -> None:
    """SES renders the message from the template's name and data; HTML has the escaped values."""
    with office(tmp_path, ses, templates=str(templates.folder)) as here:
        assert push(here, templates) == "created"
        (result,) = sent(here, person("Ana <i>"))
        assert result.state is SendState.SENT, result
        here.take_events()
        assert here.record(result.message_id).campaign == "spring"
    (message,) = ses.messages()
    assert (message.template, message.subject) == ("hello", "Hello Ana <i>")
    assert (message.text or "").startswith("* Tea & cake\nhttps://mail.example.com")
    assert "<p>Ana &lt;i&gt;</p><p>Tea &amp; cake</p>" in (message.html or "")


def test_not_pushed(tmp_path: Path, ses: SimulatedSes, templates: TemplateFolder) -> None:
    """SES refuses a message whose template it does not have, and the result says so."""
    with office(tmp_path, ses, templates=str(templates.folder)) as here:
        (result,) = sent(here, person("Ana"))
    assert (result.state, result.code) == (SendState.REFUSED, "not-found")


def test_link_of_a_contact_list(
    tmp_path: Path, ses: SimulatedSes, templates: TemplateFolder
) -> None:
    """With a contact list, the unsubscribe link in the message is SES's own."""
    sender = {
        "stream": "outreach",
        "from_address": "news@example.com",
        "postal_address": "1 Example Street",
        "contact_list": "people",
    }
    with office(tmp_path, ses, templates=str(templates.folder), senders=[sender]) as here:
        push(here, templates)
        ses_client(ses).create_contact_list(ContactListName="people")
        (result,) = sent(here, person("Ana"))
    assert result.state is SendState.SENT, result
    (message,) = ses.messages()
    assert message.unsubscribe_url is not None
    assert message.unsubscribe_url in (message.text or "")
    assert message.unsubscribe_url in (message.html or "").replace("&amp;", "&")
    assert "{{" not in f"{message.text}{message.html}"


def test_push_refused(tmp_path: Path, ses: SimulatedSes, templates: TemplateFolder) -> None:
    """An error of SES's is reported with the template's name."""
    with office(tmp_path, ses, templates=str(templates.folder)) as here:
        ses.fail(Fault.ERROR, times=9, operations=("CreateEmailTemplate",))
        with pytest.raises(PushFailed, match="SES did not take the template hello: Internal"):
            push(here, templates)


def test_rendering_of_the_settings(tmp_path: Path) -> None:
    """The setting `rendering` holds for templates that do not set their own."""
    folder = TemplateFolder(tmp_path, rendering="ses")
    written(folder, "theirs", subject="s", html=None, text="t")
    written(folder, "ours", subject="s", html=None, text="t", rendering="local")
    assert [template.name for template in folder.for_ses()] == ["theirs"]


def test_local_template_is_not_pushed(tmp_path: Path) -> None:
    """A template that is rendered here is refused with what to do, also when none else is there."""
    folder = TemplateFolder(tmp_path)
    copy_examples(folder)
    with pytest.raises(SettingsError, match='set rendering = "ses" in spring'):
        folder.for_ses(["spring-launch"])
    with pytest.raises(SettingsError, match="SES renders no template in"):
        folder.for_ses()


@pytest.mark.parametrize(
    ("parts", "level", "words"),
    [
        ({"text": TEXT + "{% if x %}y{% endif %}"}, "error", "Text has {% if x %}, which is Jinja"),
        ({"text": "{{postal_address}}"}, "error", "Text: marketing mail must show {{unsubscribe"),
        ({"html": "{{html.unsubscribe_url}}"}, "error", "Html: marketing mail must show {{postal_"),
        ({"html": HTML + "{{first_name}}"}, "warning", "write {{html.first_name}}"),
    ],
)
def test_findings(templates: TemplateFolder, parts: dict[str, str], level: str, words: str) -> None:
    """A check reports Jinja, missing links of marketing mail, and values that SES does not escape."""
    whole = {"subject": "Hello", "html": HTML, "text": TEXT, **parts}
    written(templates, stream="outreach", rendering="ses", **whole)
    (finding,) = templates.check("hello")
    assert (finding.level, words in finding.text) == (level, True), finding


def test_nothing_found(templates: TemplateFolder) -> None:
    """A template in SES's syntax that shows what it must has no findings; links of SES's count."""
    assert templates.check("hello") == []
    text = TEXT.replace("unsubscribe_url", "amazonSESUnsubscribeUrl")
    written(templates, stream="outreach", rendering="ses", subject="s", html=None, text=text)
    assert templates.check("hello") == []


def test_no_preview(templates: TemplateFolder) -> None:
    """There is no preview of what SES renders."""
    with pytest.raises(InvalidRequest, match="SES renders the template hello"):
        templates.rendered("hello", None)


def test_without_a_stream(tmp_path: Path) -> None:
    """A template that names no stream gets a warning, and no rule of marketing mail."""
    folder = TemplateFolder(tmp_path, rendering="ses")
    written(folder, subject="s", html=None, text="t")
    assert folder.check("hello") == [
        TemplateIssue(
            "warning", "template.toml names no stream, so no stream's rules were checked."
        )
    ]
