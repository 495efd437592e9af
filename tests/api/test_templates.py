"""Templates over HTTP: listed with what is wrong with them, and rendered without sending."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sesight.send.message import DATA_LIMIT
from sesight.send.templates.folder import EXAMPLES, TemplateFolder, copy_examples
from sesight.services import Services
from tests.api.conftest import Client
from tests.letters import written


@pytest.fixture
def library(tmp_path: Path) -> TemplateFolder:
    found = TemplateFolder(tmp_path / "templates")
    copy_examples(found)
    return found


@pytest.fixture
def client(
    services: Services, serve: Callable[[Services], Client], library: TemplateFolder
) -> Client:
    return serve(replace(services, templates=lambda: library))


def test_list(client: Client, library: TemplateFolder) -> None:
    """Every template is listed, the broken ones too."""
    written(library, name="broken", subject="s", html=None, text="{{ who }}")
    found = client.get("/api/templates").json()
    assert found["data"] == [
        {
            "name": "broken",
            "label": "Broken",
            "stream": None,
            "language": None,
            "findings": [
                {
                    "level": "error",
                    "text": "broken/body.txt, line 1: 'who' is named and has no value.",
                }
            ],
        },
        {
            "name": "payout-statement",
            "label": "Payout statement",
            "stream": "finance",
            "language": "en",
            "findings": [],
        },
        {
            "name": "spring-launch",
            "label": "Spring launch",
            "stream": "outreach",
            "language": "en",
            "findings": [],
        },
    ]
    assert (found["total"], found["nextCursor"]) == ({"value": 3, "exact": True}, None)
    assert found["meta"]["streams"] == ["outreach", "finance"]


def test_preview_of_the_sample(client: Client) -> None:
    """Without a context, a template is rendered with its sample."""
    made = TemplateFolder(EXAMPLES).rendered("spring-launch", None)
    for body in ({}, {"context": None}):
        found = client.post("/api/templates/spring-launch/preview", json=body).json()
        assert {part: found[part] for part in ("name", "subject", "html", "text")} == {
            "name": "spring-launch",
            "subject": made.subject,
            "html": made.html,
            "text": made.text,
        }


def test_preview_of_a_context(client: Client, library: TemplateFolder) -> None:
    """A context is rendered as it would be sent: escaped in HTML, as it is in text."""
    written(library, subject="Hello {{ who }}", html="<p>{{ who }}</p>", text="{{ who }}")
    found = client.post(
        "/api/templates/hello/preview", json={"context": {"who": "<script>x</script>"}}
    ).json()
    assert found["text"] == "<script>x</script>\n"
    assert "<p>&lt;script&gt;x&lt;/script&gt;</p>" in found["html"]


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        ({}, "hello/subject.txt, line 1: 'who' is named and has no value."),
        ({"who": "a\r\nBcc: b"}, "The subject has a line break or a control character."),
        ({"who": "x" * DATA_LIMIT}, "The template's context is over 262,144 characters."),
        ({"who": ["x"]}, "hello/subject.txt, line 1: a list or an object is printed as if"),
        ({"who": "{{ 7 * 7 }}"}, None),
        ({"who": "{% include '/etc/passwd' %}"}, None),
    ],
)
def test_context(
    client: Client, library: TemplateFolder, context: dict[str, object], sentence: str | None
) -> None:
    """A context that makes no message is refused with a sentence; it is never a template itself."""
    written(library, subject="Hello {{ who }}", html=None, text="t")
    answer = client.post("/api/templates/hello/preview", json={"context": context})
    if sentence is None:
        assert answer.json()["subject"] == f"Hello {context['who']}"
    else:
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(sentence)


@pytest.mark.parametrize("body", [{"template": "{{ 1 }}"}, {"context": []}, [], "x"])
def test_body(client: Client, body: object) -> None:
    """A request brings a context at most: no template, and nothing else."""
    assert client.post("/api/templates/spring-launch/preview", json=body).status_code == 422


@pytest.mark.parametrize(
    "name", ["other", "..", "%2e%2e", "..%2fspring-launch", "spring-launch%00", "_parts"]
)
def test_unknown(client: Client, name: str) -> None:
    """A name that is none of the folder's is not found, whatever it looks like."""
    assert client.post(f"/api/templates/{name}/preview", json={}).status_code in {404, 405}


def test_without_templates(api: Client) -> None:
    """A server without templates says so."""
    assert api.get("/api/templates").json()["data"] == []
    answer = api.post("/api/templates/spring-launch/preview", json={})
    assert (answer.status_code, answer.json()["detail"]) == (404, "This server has no templates.")
