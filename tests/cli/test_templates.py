"""sesight templates: list, check, preview, push and init, without a store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sesight.send.templates.folder import TemplateFolder, copy_examples
from sesight_simulator.ses.simulated_ses import SimulatedSes
from tests.cli.conftest import Sesight
from tests.letters import written
from tests.mailing import refusal, ses_client, simulated_ses

NAMES = ["payout-statement", "spring-launch"]


@pytest.fixture
def begun(sesight: Sesight, tmp_path: Path) -> Sesight:
    """The command in a folder that has the two templates to begin with."""
    assert copy_examples(TemplateFolder(tmp_path / "templates")) == NAMES
    return sesight


@pytest.fixture
def ses() -> Iterator[SimulatedSes]:
    with simulated_ses() as ses:
        yield ses


def settings(folder: Path, ses: SimulatedSes) -> None:
    (folder / "sesight.toml").write_text(f'[sending]\nendpoint = "{ses.url}"\n')


def test_init(sesight: Sesight, tmp_path: Path) -> None:
    """Two templates to begin with are brought; what is there already is left as it is."""
    assert sesight("templates", "init", "--json").json == {
        "folder": "templates",
        "templates": NAMES,
    }
    subject = tmp_path / "templates/spring-launch/subject.txt"
    subject.write_text("Mine")
    again = sesight("templates", "init")
    assert (again.code, again.err) == (0, "Both are in templates already.\n")
    assert subject.read_text() == "Mine"
    assert not list(tmp_path.glob("*.db*"))


def test_list(begun: Sesight) -> None:
    """Templates are listed with the stream they are for."""
    assert begun("templates", "list", "--json").json == {
        "data": [
            {
                "name": name,
                "label": name.replace("-", " ").capitalize(),
                "stream": stream,
                "language": "en",
                "findings": [],
            }
            for name, stream in zip(NAMES, ("finance", "outreach"), strict=True)
        ]
    }
    shown = begun("templates", "list").text
    assert [word in shown for word in (*NAMES, "finance", "none")] == [True] * 4


@pytest.mark.parametrize("command", ["list", "check", "push"])
def test_none(sesight: Sesight, command: str) -> None:
    """Where there is no template, the command says how to get one."""
    ended = sesight("templates", command)
    assert ended.code == 1
    assert ended.err == ("There is no template in templates: sesight templates init brings two.\n")


def test_check(begun: Sesight, tmp_path: Path) -> None:
    """A check says what is wrong, and ends with 1 only for what could not be sent."""
    assert begun("templates", "check").text == (
        "Nothing is wrong with payout-statement, spring-launch.\n"
    )
    html = tmp_path / "templates/spring-launch/body.html"
    html.write_text(html.read_text().replace("<body>", '<body><img src="https://example.com/a">'))
    warned = begun("templates", "check", "spring-launch")
    assert (warned.code, "no alt text" in warned.text) == (0, True)
    html.write_text(html.read_text().replace("ses:no-track", ""))
    wrong = begun("templates", "check", "--json")
    assert (wrong.code, wrong.json["ok"]) == (1, False)
    assert [each["level"] for each in wrong.json["findings"]["spring-launch"]] == [
        "error",
        "warning",
    ]
    assert begun("templates", "check", "payout-statement").code == 0
    assert "1 error, 1 warning" in begun("templates", "list").text


def test_unknown_name(begun: Sesight) -> None:
    """A name that is none is said, whatever it looks like."""
    for name in ("other", "../templates/spring-launch"):
        ended = begun("templates", "check", name)
        assert (ended.code, ended.err) == (1, f"There is no template {name!r} in templates.\n")


def test_preview(begun: Sesight, tmp_path: Path) -> None:
    """A preview is one page, of the sample or of another context."""
    assert begun("templates", "preview", "spring-launch").text == (
        "Open spring-launch.html in a browser.\n"
    )
    page = (tmp_path / "spring-launch.html").read_text()
    assert ("Ana, Harbour Insights" in page, "Content-Security-Policy" in page) == (True, True)
    (tmp_path / "bo.json").write_text('{"name": "Bo", "statement": {"total": "€1"}}')
    ended = begun("templates", "preview", "payout-statement", "--context", "bo.json")
    assert (ended.code, "'month_name' is named and has no value" in ended.err) == (2, True)
    made = begun("templates", "preview", "spring-launch", "--json", "--out", "x.html").json
    assert made["subject"] == "Ana, Harbour Insights is open for partners"
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "none/x.html"], "The preview cannot be written: "),
        (["--context", "none.json"], "The context cannot be read: "),
        (["--context", "list.json"], "list.json is no JSON object: "),
    ],
)
def test_preview_files(begun: Sesight, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    """A file that cannot be read or written is said in a sentence."""
    (tmp_path / "list.json").write_text("[]")
    ended = begun("templates", "preview", "spring-launch", *arguments)
    assert (ended.code, ended.err.startswith(sentence)) == (1, True), ended.err


@pytest.fixture
def for_ses(sesight: Sesight, tmp_path: Path) -> Sesight:
    """The command in a folder with a template that SES renders, beside the two to begin with."""
    folder = TemplateFolder(tmp_path / "templates")
    copy_examples(folder)
    written(folder, subject="Hello {{name}}\n", html=None, text="Bye\n", rendering="ses")
    return sesight


def test_push(for_ses: Sesight, tmp_path: Path, ses: SimulatedSes) -> None:
    """SES's copies are created, then left alone, then updated; a dry run changes nothing."""
    settings(tmp_path, ses)
    client = ses_client(ses)
    dry = for_ses("templates", "push", "--dry-run", "--json")
    assert dry.json == {"dryRun": True, "templates": {"hello": "created"}}
    assert refusal(client.get_email_template, TemplateName="hello")[1] == "NotFoundException"
    pushed = for_ses("templates", "push", "--json")
    assert pushed.json == {"dryRun": False, "templates": {"hello": "created"}}
    content = client.get_email_template(TemplateName="hello")["TemplateContent"]
    assert content == {"Subject": "Hello {{name}}", "Text": "Bye\n"}
    assert "unchanged" in for_ses("templates", "push").text
    (tmp_path / "templates/hello/subject.txt").write_text("Hi {{name}}")
    assert for_ses("templates", "push", "hello", "--json").json["templates"] == {"hello": "updated"}
    content = client.get_email_template(TemplateName="hello")["TemplateContent"]
    assert content["Subject"] == "Hi {{name}}"


def test_push_nothing_of_a_mistake(for_ses: Sesight, tmp_path: Path, ses: SimulatedSes) -> None:
    """Where one template cannot be pushed, none is."""
    settings(tmp_path, ses)
    ended = for_ses("templates", "push", "hello", "spring-launch")
    assert (ended.code, "spring-launch is rendered here" in ended.err) == (1, True)
    (tmp_path / "templates/hello/body.txt").write_text("{% if name %}x{% endif %}")
    ended = for_ses("templates", "push")
    assert (ended.code, "cannot be sent: Text has {% if name %}" in ended.err) == (1, True)
    assert ses.account.templates.by_name == {}


def test_push_refused(for_ses: Sesight, tmp_path: Path) -> None:
    """Where SES cannot be reached, the command says so in a sentence."""
    with simulated_ses() as ses:
        settings(tmp_path, ses)
    ended = for_ses("templates", "push", "hello")
    assert (ended.code, ended.err.startswith("SES could not be reached: ")) == (1, True), ended.err


def test_push_without_a_region(for_ses: Sesight) -> None:
    """Without a region, nothing is pushed."""
    ended = for_ses("templates", "push")
    assert (ended.code, ended.err) == (
        1,
        "There is no AWS region to push templates to: set `region`.\n",
    )


def test_push_without_any_for_ses(begun: Sesight) -> None:
    """Where SES renders no template, the command says what makes it render one."""
    ended = begun("templates", "push")
    assert ended.code == 1
    assert ended.err.startswith("SES renders no template in templates, so there is nothing to push")
