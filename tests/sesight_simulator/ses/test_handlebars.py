"""Templates of the simulated SES: what it renders, and what it refuses."""

import json

import pytest

from tests.mailing import refusal, ses_client, simple, simulated_ses


@pytest.fixture(scope="module")
def running():
    with simulated_ses() as ses:
        yield ses, ses_client(ses)


@pytest.fixture
def ses(running):
    return running[0]


@pytest.fixture
def client(running):
    return running[1]


@pytest.fixture
def put(ses, client):
    """Return a function that creates or updates the template `t`."""

    def make(**content):
        template = {"TemplateName": "t", "TemplateContent": {"Subject": "s", **content}}
        exists = "t" in ses.account.templates.by_name
        (client.update_email_template if exists else client.create_email_template)(**template)

    return make


RENDERED = [
    ("Hello {{name}}, {{ name }}.", {"name": "Ana"}, "Hello Ana, Ana."),
    ("{{a.b.c}}", {"a": {"b": {"c": 1}}}, "1"),
    ("{{a}} {{b}} {{c}} {{d}}", {"a": 1.5, "b": True, "c": None, "d": ""}, "1.5 true  "),
    ("<b>{{a}}</b>", {"a": "<i>&</i>"}, "<b><i>&</i></b>"),
    ("{{#if a}}yes{{/if}}", {"a": 1}, "yes"),
    ("{{#if a}}yes{{else}}no{{/if}}", {}, "no"),
    ("{{#if a}}yes{{else}}no{{/if}}", {"a": []}, "no"),
    ("{{#each a}}<{{this}}>{{/each}}", {"a": [1, 2]}, "<1><2>"),
    ("{{#each a}}{{b}}{{this.b}}{{/each}}", {"a": [{"b": 1}, {"b": 2}]}, "1122"),
    ("{{#each a}}x{{else}}none{{/each}}", {"a": []}, "none"),
    ("{{#each a}}{{#if b}}{{b}}{{else}}-{{/if}}{{/each}}", {"a": [{"b": 1}, {}]}, "1-"),
    ("a } b { c", {}, "a } b { c"),
]


@pytest.mark.parametrize(("source", "data", "text"), RENDERED)
def test_rendered(ses, client, put, source, data, text):
    """A template is rendered with the data of the call, and nothing is escaped."""
    put(Text=source)
    content = {"Template": {"TemplateName": "t", "TemplateData": json.dumps(data)}}
    sent = client.send_email(**simple(Content=content))
    assert ses.message(sent["MessageId"]).text == text


@pytest.mark.parametrize(
    "source",
    [
        "{{> footer}}",
        '{{#* inline "footer"}}x{{/inline}}',
        "{{{name}}}",
        "{{#unless a}}x{{/unless}}",
        "{{#with a}}x{{/with}}",
        "{{../a}}",
        "{{! a note }}",
        "{{upper name}}",
        "{{#if a}}x",
        "{{/if}}",
        "{{else}}",
        "{{#each a}}x{{/if}}",
        "{{a",
        "{{}}",
    ],
)
def test_unknown(client, source):
    """A template with syntax that is not simulated is refused when it is created."""
    template = {"TemplateName": "other", "TemplateContent": {"Subject": "s", "Text": source}}
    assert refusal(client.create_email_template, **template)[:2] == (400, "BadRequestException")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"Text": "a"}, "The subject must be specified."),
        ({"Subject": "a"}, "The Html or Text part must be specified."),
        ({"Subject": "a", "Text": "x" * 500 * 1024}, "The template is larger than 500 KB."),
    ],
)
def test_refused(client, content, sentence):
    """A template has a subject and a body, and is at most 500 KB."""
    template = {"TemplateName": "other", "TemplateContent": content}
    assert refusal(client.create_email_template, **template) == (
        400,
        "BadRequestException",
        sentence,
    )


def test_missing(ses, client, put):
    """A message whose data lacks a name cannot be rendered, and says which."""
    put(Text="{{greeting}} {{name}}")
    content = {"Template": {"TemplateName": "t", "TemplateData": '{"greeting": "Hi"}'}}
    sent = client.send_email(**simple(Content=content))
    failure = ses.message(sent["MessageId"]).failure
    assert failure == "Attribute 'name' is not present in the rendering data."


def test_operations():
    """A template is created once, read and updated; an unknown one is not found."""
    with simulated_ses() as ses:
        client = ses_client(ses)
        content = {"Subject": "a", "Text": "b", "Html": "c"}
        template = {"TemplateName": "one", "TemplateContent": content}
        not_found = (404, "NotFoundException", "Template one does not exist.")
        assert refusal(client.get_email_template, TemplateName="one") == not_found
        assert refusal(client.update_email_template, **template) == not_found
        client.create_email_template(**template)
        assert refusal(client.create_email_template, **template)[:2] == (
            400,
            "AlreadyExistsException",
        )
        client.update_email_template(TemplateName="one", TemplateContent={**content, "Text": "B"})
        answer = client.get_email_template(TemplateName="one")
        assert answer["TemplateContent"] == {**content, "Text": "B"}
