"""Templates that SES renders say what the same templates say here, and nothing unescaped."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesight.domain.errors import SettingsError
from sesight.send.message import TemplatedContent, Unsendable
from sesight.send.templates.folder import EXAMPLES, GIVEN, Template, TemplateFolder
from sesight.send.templates.handlebars import BySes
from sesight_simulator.ses.handlebars import parse, render
from tests.letters import written

SOURCE = {
    "subject": "{{ who }}{% if more %}: {{ more }}{% endif %}\n",
    "html": (
        "<style>p { color: red }</style>{% if not more %}<p>none</p>{% elif other.a %}"
        '<p title="{{ other.a }}">{{ more }}</p>{% else %}<p>{{ more }}</p>{% endif %}'
        "<table><tbody>{% for row in rows %}<tr><td>{{ row.name }}</td>"
        "{% for cell in row.cells %}<td>{{ cell }}</td>{% else %}<td>-</td>{% endfor %}</tr>"
        "{% endfor %}</tbody></table>"
    ),
    "text": "{% for row in rows %}\n{{ row.name }}{% if row.cells %}!{% endif %}.\n{% endfor %}",
}
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]))
VALUES = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.just("<b>&\"'</b>"))
CONTEXTS = st.fixed_dictionaries(
    {
        "who": st.one_of(TEXTS, st.just("{{text.who}}")).map(lambda text: f"A {text}"),
        "more": st.one_of(VALUES, st.floats(allow_nan=False, allow_infinity=False)),
        "other": st.fixed_dictionaries({"a": VALUES}),
        "rows": st.lists(
            st.fixed_dictionaries({"name": VALUES, "cells": st.lists(VALUES, max_size=3)}),
            max_size=3,
        ),
    }
)


@pytest.fixture
def templates(tmp_path: Path) -> TemplateFolder:
    return TemplateFolder(tmp_path)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    templates = TemplateFolder(tmp_path_factory.mktemp("templates"))
    written(templates, **SOURCE)
    return templates.load("hello")


@pytest.fixture(scope="module")
def found(template: Template) -> BySes:
    return BySes(template)


def by_ses(found: BySes, context: dict[str, Any]) -> dict[str, str]:
    """Return what the simulated SES makes of a template and its data, as they reach it."""
    pushed = found.body(context)
    data = msgspec.json.decode(msgspec.json.encode(pushed.data))
    return {part: render(parse(source), data) for part, source in found.content.items()}


class Browsed(HTMLParser):
    """What a browser reads in HTML: elements, attributes and texts, however they are written."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[object] = []
        self.feed(html.replace("\r", ""))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        if self.seen and isinstance(self.seen[-1], list):
            self.seen[-1].append(data)
        else:
            self.seen.append([data])


def browsed(html: str | None) -> list[object]:
    return [
        "".join(each) if isinstance(each, list) else each
        for each in Browsed(html or "").seen
        if each != [""]
    ]


@settings(max_examples=200)
@given(CONTEXTS)
def test_same_as_here(template: Template, found: BySes, context: dict[str, Any]) -> None:
    """Whatever it is told, SES makes the message that is made here."""
    here = template.body(context)
    there = by_ses(found, context)
    assert there["Subject"].strip() == here.subject
    assert there["Text"].strip("\n") == here.text.strip("\n")
    assert browsed(there["Html"]) == browsed(here.html)


@pytest.mark.parametrize("name", ["payout-statement", "spring-launch"])
def test_examples(name: str) -> None:
    """What Sesight ships can be rendered by SES too, and comes out the same."""
    examples = TemplateFolder(EXAMPLES)
    template, sample = examples.load(name), examples.sample(name)
    here, there = template.body(sample), by_ses(BySes(template), sample)
    assert (there["Subject"], there["Text"].strip("\n")) == (here.subject, here.text.strip("\n"))
    assert browsed(there["Html"]) == browsed(here.html)


def test_html_is_escaped_and_text_is_not(templates: TemplateFolder) -> None:
    """SES puts values in as they are: those for HTML are escaped before, those for text are not."""
    written(templates, subject="{{ who }}", html='<p title="{{ who }}">{{ who }}</p>', text="t")
    found = BySes(templates.load("hello"))
    assert found.body({"who": '<b> & "x"', "unused": "private"}) == TemplatedContent(
        "hello",
        {"text": {"who": '<b> & "x"'}, "html": {"who": "&lt;b&gt; &amp; &#34;x&#34;"}},
    )
    assert found.content["Subject"] == "{{text.who}}"
    assert '<p title="{{html.who}}">{{html.who}}</p>' in found.content["Html"]


def test_what_is_translated(template: Template) -> None:
    """Styles are inlined around the tags, and each part names its own copy of the values."""
    assert BySes(template).content == {
        "Subject": "{{text.who}}{{#if text.more}}: {{text.more}}{{/if}}",
        "Html": (
            '<html><head></head><body>{{#if html.more}}{{#if html.other.a}}<p title="'
            '{{html.other.a}}" style="color: red;">{{html.more}}</p>{{else}}<p style="color: red;">'
            '{{html.more}}</p>{{/if}}{{else}}<p style="color: red;">none</p>{{/if}}<table><tbody>'
            "{{#each html.rows}}<tr><td>{{this.name}}</td>{{#each this.cells}}<td>{{this}}</td>"
            "{{else}}<td>-</td>{{/each}}</tr>{{/each}}</tbody></table></body></html>"
        ),
        "Text": "{{#each text.rows}}{{this.name}}{{#if this.cells}}!{{/if}}.\n{{/each}}\n",
    }


def test_missing_is_told_before(template: Template) -> None:
    """SES would take a message that lacks something and fail it later, so it is refused here."""
    with pytest.raises(Unsendable, match="'who' is named") as caught:
        BySes(template).body({"more": 1, "other": {"a": 1}, "rows": []})
    assert caught.value.code == "missing-variable"


def test_branch_not_taken(templates: TemplateFolder) -> None:
    """What only a branch names that is not taken need not be there."""
    written(templates, subject="s", html=None, text="{% if a %}{{ b }}{% endif %}.")
    assert BySes(templates.load("hello")).body({"a": ""}).data == {"text": {"a": ""}, "html": {}}


@pytest.mark.parametrize("rows", ["abc", {"a": 1}])
def test_loops_are_over_lists(templates: TemplateFolder, rows: object) -> None:
    """A loop over what is no list would differ between here and SES."""
    written(templates, subject="s", html=None, text="{% for x in a.rows %}{{ x }}{% endfor %}")
    with pytest.raises(Unsendable, match=r"a\.rows is not a list"):
        BySes(templates.load("hello")).body({"a": {"rows": rows}})


@pytest.mark.parametrize(
    ("html", "what"),
    [
        ("{{ who|upper }}", "more than a plain name"),
        ("{{ who|safe }}", "more than a plain name"),
        ("{{ who.upper() }}", "more than a plain name"),
        ("{{ who[0] }}", "more than a plain name"),
        ("{{ who ~ 'x' }}", "more than a plain name"),
        ("{{ 1 + 1 }}", "more than a plain name"),
        ("{{ this }}", "a name that is a word"),
        ("{% if who == 'Ana' %}x{% endif %}", "more than a plain name"),
        ("{% if who and name %}x{% endif %}", "more than a plain name"),
        ("{% if who is defined %}x{% endif %}", "more than a plain name"),
        ("{% set a = 1 %}", "{% assign %}"),
        ("{% include '_parts/foot.html' %}", "{% include %}"),
        ("{% macro a() %}{% endmacro %}", "{% macro %}"),
        ("{% raw %}{{ who }}{% endraw %}", "two braces as plain text"),
        ("{% for a, b in who %}{% endfor %}", "other than one name"),
        ("{% for a in who if a %}{% endfor %}", "other than one name"),
        ("{% for a in who %}{{ name }}{% endfor %}", "'name' inside a loop over 'a'"),
        ("{% for a in who %}{{ loop.index }}{% endfor %}", "'loop' inside a loop over 'a'"),
        (
            "{% for a in who %}{% for b in a %}{{ a }}{% endfor %}{% endfor %}",
            "'a' inside a loop over 'b'",
        ),
        ("<p{% if who %} class='x'{% endif %}>x</p>", "inside a tag"),
        ('<p class="{% if who %}x{% endif %}">x</p>', "inside a tag"),
        ("<style>p { color: {{ who }} }</style>", "a value inside a style"),
        ("<style>{% if who %}p { color: red }{% endif %}</style>", "inside a tag, a style"),
        ("<p {{ who }}>x</p>", "as a name in a tag"),
        ("<!-- {{ who }} -->", "a comment"),
        ("{% if who %}<div>{% endif %}x</div>", "does not close it"),
        ("<div>{% if who %}x</div>{% endif %}", "does not close it"),
        ("<table>{% for a in who %}<tr><td>x</td></tr>{% endfor %}</table>", "<tbody>"),
        ("<p>{{ '{' }}{{ who }}</p>", "more than a plain name"),
        ("<p>{ {{- who -}} }</p>", "a brace or a backslash"),
        ("<p>\\{{ who }}</p>", "a brace or a backslash"),
        ("<p>\ue000</p>", "private use"),
    ],
)
def test_refused(templates: TemplateFolder, html: str, what: str) -> None:
    """What SES's language has not, or would read otherwise, is refused with what to do instead."""
    written(templates, subject="s", html=html, text="t", who="Ana")
    with pytest.raises(SettingsError) as caught:
        BySes(templates.load("hello"))
    sentence = str(caught.value)
    assert sentence.startswith("hello/body.html")
    assert what in sentence
    assert ("private" in sentence) or ('rendering = "local"' in sentence)


def test_size(templates: TemplateFolder) -> None:
    """A template that outgrows SES's limit when its styles are inlined is refused."""
    rows = "<p>x</p>" * 9_000
    written(templates, subject="s", html=f"<style>p{{font: {'9' * 60}px}}</style>{rows}", text="t")
    with pytest.raises(SettingsError, match="its styles inlined, is over 500 KB"):
        BySes(templates.load("hello"))


def test_marketing(templates: TemplateFolder) -> None:
    """A marketing message that would hide how to leave is not handed to SES either."""
    shown = '{% if shown %}<a ses:no-track href="{{ unsubscribe_url }}">x</a>{% endif %}'
    text = "{{ unsubscribe_url }} {{ postal_address }}"
    written(templates, subject="s", html=f"{shown}{text}", text=text, stream="outreach", shown=True)
    found = BySes(templates.load("hello"))
    with pytest.raises(Unsendable, match="unsubscribe_url"):
        found.body({**GIVEN, "unsubscribe_url": "", "shown": True})
