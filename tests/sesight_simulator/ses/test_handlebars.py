"""Templates of the simulated SES: what it renders, and what it refuses to keep."""

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
def put(client):
    """Give a function that makes or changes the template `t`."""

    def make(**content):
        given = {"TemplateName": "t", "TemplateContent": {"Subject": "s", **content}}
        names = [
            each["TemplateName"] for each in client.list_email_templates()["TemplatesMetadata"]
        ]
        (client.update_email_template if "t" in names else client.create_email_template)(**given)

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
    """What this part of Handlebars gives, with nothing escaped, in a message and when tried out."""
    put(Text=source)
    content = {"Template": {"TemplateName": "t", "TemplateData": json.dumps(data)}}
    sent = client.send_email(**simple(Content=content))
    assert ses.message(sent["MessageId"]).text == text
    tried = client.test_render_email_template(TemplateName="t", TemplateData=json.dumps(data))
    assert tried["RenderedTemplate"].endswith(text)


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
    """A template that says what is not rendered here is refused when it is made."""
    given = {"TemplateName": "other", "TemplateContent": {"Subject": "s", "Text": source}}
    assert refusal(client.create_email_template, **given)[:2] == (400, "BadRequestException")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"Text": "a"}, "The subject must be specified."),
        ({"Subject": "a"}, "The Html or Text part must be specified."),
        ({"Subject": "a", "Text": "x" * 500 * 1024}, "The template is larger than 500 KB."),
    ],
)
def test_refused(client, content, sentence):
    """A template lacks nothing and is at most 500 KB."""
    given = {"TemplateName": "other", "TemplateContent": content}
    assert refusal(client.create_email_template, **given) == (400, "BadRequestException", sentence)


def test_missing(client, put):
    """Data that lacks a name cannot be rendered: trying it out says which."""
    put(Text="{{greeting}} {{name}}")
    trial = {"TemplateName": "t", "TemplateData": '{"greeting": "Hi"}'}
    assert refusal(client.test_render_email_template, **trial) == (
        400,
        "BadRequestException",
        "Attribute 'name' is not present in the rendering data.",
    )


def test_inline(ses, client):
    """A template may come with the call, for substitutions only."""
    template = {
        "TemplateContent": {"Subject": "Hi {{name}}", "Html": "<p>{{name}}</p>"},
        "TemplateData": '{"name": "Ana"}',
    }
    sent = client.send_email(**simple(Content={"Template": template}))
    message = ses.message(sent["MessageId"])
    assert (message.subject, message.html, message.template) == ("Hi Ana", "<p>Ana</p>", "")


def test_by_arn(ses, client, put):
    """A template may be named by its ARN."""
    put(Text="Hello.")
    arn = "arn:aws:ses:eu-west-1:000000000000:template/t"
    sent = client.send_email(**simple(Content={"Template": {"TemplateArn": arn}}))
    assert ses.message(sent["MessageId"]).text == "Hello."


def test_life():
    """A template is made, read, listed, changed and deleted; each name is there once."""
    with simulated_ses() as ses:
        client = ses_client(ses)
        content = {"Subject": "a", "Text": "b", "Html": "c"}
        for name in ("one", "two", "three"):
            client.create_email_template(TemplateName=name, TemplateContent=content)
        again = {"TemplateName": "one", "TemplateContent": content}
        assert refusal(client.create_email_template, **again)[:2] == (400, "AlreadyExistsException")
        client.update_email_template(TemplateName="one", TemplateContent={**content, "Text": "B"})
        read = client.get_email_template(TemplateName="one")
        assert read["TemplateContent"] == {**content, "Text": "B"}
        page = client.list_email_templates(PageSize=2)
        rest = client.list_email_templates(PageSize=2, NextToken=page["NextToken"])
        listed = [*page["TemplatesMetadata"], *rest["TemplatesMetadata"]]
        assert [each["TemplateName"] for each in listed] == ["three", "two", "one"]
        assert "NextToken" not in rest
        client.delete_email_template(TemplateName="one")
        missing = (404, "NotFoundException", "Template one does not exist.")
        for call in (client.get_email_template, client.delete_email_template):
            assert refusal(call, TemplateName="one") == missing
        assert refusal(client.update_email_template, **again) == missing
