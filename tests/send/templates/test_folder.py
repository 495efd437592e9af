"""Templates: rendered in a sandbox, checked against their sample, refused where they would mislead."""

import os
import shutil
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from sesight.domain.errors import InvalidRequest, NotFound, SettingsError
from sesight.domain.stream import FINANCE, OUTREACH
from sesight.domain.template import RenderedTemplate, TemplateIssue
from sesight.send.message import DATA_LIMIT, Unsendable
from sesight.send.templates.folder import EXAMPLES, STANDARD_VARIABLES, TemplateFolder
from sesight.send.templates.preview import POLICY, preview
from tests.letters import written

LEAVE = '<p><a ses:no-track href="{{ unsubscribe_url }}">No more</a> {{ postal_address }}</p>'
LEAVE_TEXT = "No more: {{ unsubscribe_url }}\n{{ postal_address }}\n"


@pytest.fixture
def templates(tmp_path: Path) -> TemplateFolder:
    return TemplateFolder(tmp_path)


def refused(templates: TemplateFolder, context: dict[str, object], name: str = "hello") -> tuple:
    with pytest.raises(Unsendable) as caught:
        templates.load(name).body(context)
    return caught.value.code, str(caught.value)


def errors(templates: TemplateFolder, name: str = "hello") -> list[str]:
    return [each.text for each in templates.check(name) if each.level == "error"]


class Read(HTMLParser):
    """Reads HTML as a browser does: the names of attributes, and the texts and values."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[str] = []
        self.found = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"html", "head", "body", "p", "a"}
        for name, value in attrs:
            self.attributes.append(name)
            self.found += value or ""

    def handle_data(self, data: str) -> None:
        self.found += data


# -- what is made ---------------------------------------------------------------------------------


def test_body(templates: TemplateFolder) -> None:
    """A template makes subject, HTML with its styles at the elements, and text."""
    written(
        templates,
        subject="Hello {{ who }}\n",
        html="<style>p { color: red } @media print { p { color: blue } }</style><p>{{ who }}</p>",
        text="Hello {{ who }},\n{% if more %}\nmore\n{% endif %}\nbye\n",
    )
    made = templates.load("hello").body({"who": "Ana & Bo <b>", "more": None})
    assert made == RenderedTemplate(
        "Hello Ana & Bo <b>",
        "<html><head><style>@media print { p { color: blue } } </style></head><body>"
        '<p style="color: red;">Ana &amp; Bo &lt;b&gt;</p></body></html>',
        "Hello Ana & Bo <b>,\nbye\n",
    )


def test_nothing_is_loaded(templates: TemplateFolder, tmp_path: Path) -> None:
    """No style sheet is loaded, were it a file of this machine."""
    (tmp_path / "own.css").write_text("p { color: red }")
    links = "".join(
        f'<link rel="stylesheet" href="{scheme}{tmp_path / "own.css"}">'
        for scheme in ("", "file://")
    )
    written(templates, subject="s", html=f"{links}<p>x</p>", text="t")
    assert "red" not in (templates.load("hello").body({}).html or "")


def test_text_alone(templates: TemplateFolder) -> None:
    """A template without HTML makes mail of text alone."""
    written(templates, subject="Hi", html=None, text="Hi {{ who }}")
    assert templates.load("hello").body({"who": "<Ana>"}) == RenderedTemplate(
        "Hi", None, "Hi <Ana>\n"
    )


def test_printed_values(templates: TemplateFolder) -> None:
    """Null prints nothing, truth prints a word, a list or an object by mistake nothing at all."""
    written(templates, subject="s", html=None, text="[{{ a }}] {{ b }} {{ c }}")
    template = templates.load("hello")
    assert template.body({"a": None, "b": True, "c": 0}).text == "[] true 0\n"
    with pytest.raises(Unsendable, match="a list or an object is printed"):
        template.body({"a": ["x"], "b": "", "c": ""})


def test_members_before_methods(templates: TemplateFolder) -> None:
    """What an object holds under a name like `items` is what the template means."""
    written(
        templates, subject="s", html=None, text="{% for x in order.items %}{{ x }} {% endfor %}"
    )
    assert templates.load("hello").body({"order": {"items": ["a", "b"]}}).text == "a b \n"


def test_included_part(templates: TemplateFolder) -> None:
    """A file of a folder that begins with _ is no template, and any template can include it."""
    written(templates, subject="s", html='<p>{% include "_parts/foot.html" %}</p>', text="t")
    (templates.folder / "_parts").mkdir()
    (templates.folder / "_parts/foot.html").write_text("<i>{{ who }}</i>")
    assert templates.names() == ["hello"]
    assert "<i>&lt;Ana&gt;</i>" in (templates.load("hello").body({"who": "<Ana>"}).html or "")


@pytest.mark.parametrize("html", ["<p>{{ v }}</p>", '<a title="{{ v }}"></a>'])
@pytest.mark.parametrize("value", ["<script>alert(1)</script>", '" onclick="x', "' x='", "a&lt;"])
def test_values_are_escaped(templates: TemplateFolder, html: str, value: str) -> None:
    """No value ends a text or an attribute of HTML."""
    written(templates, subject="s", html=html, text="t")
    page = Read()
    page.feed(templates.load("hello").body({"v": value}).html or "")
    expected = (["title"], value) if "title" in html else ([], value)
    assert (page.attributes, page.found) == expected


# -- what is refused of a context -----------------------------------------------------------------


def test_missing_variable(templates: TemplateFolder) -> None:
    """A variable that nobody gives a value is refused, with where it is named."""
    written(templates, subject="s", html=None, text="Hello\n{{ who.first }}\n")
    assert refused(templates, {}) == (
        "missing-variable",
        "hello/body.txt, line 2: 'who' is named and has no value.",
    )
    assert refused(templates, {"who": {"last": "secret"}}) == (
        "missing-variable",
        "hello/body.txt, line 2: 'first' is named and has no value.",
    )


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x1b", "\x85", "\u2028"])
def test_subject_is_one_line(templates: TemplateFolder, character: str) -> None:
    """No subject begins a header of its own."""
    written(templates, subject="Hello {{ who }}", html=None, text="t")
    assert refused(templates, {"who": f"Ana{character}Bcc: x"})[0] == "subject"


def test_subject_has_a_length(templates: TemplateFolder) -> None:
    """A subject is neither empty nor longer than a line of mail."""
    written(templates, subject="{{ who }}", html=None, text="t")
    assert refused(templates, {"who": " "})[0] == "subject"
    assert refused(templates, {"who": "x" * 901})[0] == "subject"


def test_context_has_a_size(templates: TemplateFolder) -> None:
    """A template is told no more than SES takes, and only what JSON can hold."""
    written(templates, subject="s", html=None, text="t")
    assert refused(templates, {"who": "x" * DATA_LIMIT})[0] == "too-large"
    assert refused(templates, {"who": object()}) == (
        "template",
        "The template's context has a value that JSON cannot represent.",
    )


def test_failure_names_no_value(templates: TemplateFolder) -> None:
    """What fails says where, and nothing of whom the mail is for."""
    written(templates, subject="s", html=None, text="{{ who + 1 }}")
    assert refused(templates, {"who": "secret"}) == (
        "template",
        "hello/body.txt, line 1: TypeError while it was rendered.",
    )


# -- the sandbox ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "escape",
    [
        "{{ who.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ who|attr('__class__') }}",
        "{{ who['__class__'] }}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ range.__self__ }}",
        "{{ cycler.__init__.__globals__.os.environ }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ dict.__base__ }}",
        "{{ '{0.__class__}'.format(who) }}",
        "{{ '{a.__class__}'.format_map({'a': who}) }}",
        "{{ '%s' % who }}",
        "{{ '%100000000d' % 1 }}",
        "{{ 'a' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 10 ** 10000000 }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a'.zfill(1000000000) }}",
        "{{ things.append(1) }}",
        "{{ told.update({'a': 1}) }}",
        "{{ told.clear() }}",
        "{% for i in range(10000000) %}x{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100) %}xxx{% endfor %}{% endfor %}",
        "{% include 'hello/body.txt' %}",
    ],
)
def test_sandbox(templates: TemplateFolder, escape: str) -> None:
    """No template reaches Python, changes what it is told, or grows without end."""
    written(templates, subject="s", html=None, text=escape)
    context = {"who": "Ana", "things": [1], "told": {"a": 0}}
    code, sentence = refused(templates, context)
    assert code in {"template", "missing-variable", "too-large"}
    assert "<" not in sentence
    assert context == {"who": "Ana", "things": [1], "told": {"a": 0}}


@pytest.mark.parametrize(
    "gone",
    [
        "'a'|center(9)",
        "'%9d'|format(1)",
        "'a'|random",
        "lipsum()",
        *[f"'a'.{padding}(9)" for padding in ("center", "ljust", "rjust", "zfill", "expandtabs")],
        "'a{}'.format('b')",
        "'a{b}'.format_map({'b': 1})",
        "('a{}'|attr('format'))('b')",
        "'a{}'['format']('b')",
    ],
)
def test_no_chance(templates: TemplateFolder, gone: str) -> None:
    """What pads, or differs from one rendering to the next, is not in the language."""
    written(templates, subject="s", html=None, text=f"{{{{ {gone} }}}}")
    assert errors(templates) != []


def test_includes_stay_inside(templates: TemplateFolder, tmp_path: Path) -> None:
    """No path leads out of the folder, nor does a link, nor one to a folder of another place."""
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    written(templates, subject="s", html=None, text="{% include file %}")
    hello = templates.folder / "hello"
    (hello / "link.txt").symlink_to(outside / "secret.txt")
    (templates.folder / "_linked").symlink_to(outside)
    os.mkfifo(hello / "pipe.txt")
    for file in (
        "../secret.txt",
        f"../{outside.name}/secret.txt",
        "hello/../../secret.txt",
        str(outside / "secret.txt"),
        "/etc/passwd",
        "hello/link.txt",
        "_linked/secret.txt",
        "hello/pipe.txt",
        "hello//body.txt",
        "hello/./body.txt",
        "hello\\body.txt",
        "hello",
        "",
        "hello/body.txt\0",
    ):
        code, sentence = refused(templates, {"file": file})
        assert (code, "there is no" in sentence) == ("template", True), file


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../hello", "hello/", "hello/../hello", "_parts", "a\0", "x" * 65]
)
def test_names_stay_inside(templates: TemplateFolder, name: str) -> None:
    """A template is only ever one of the folder's own names."""
    written(templates, subject="s", html=None, text="t")
    with pytest.raises(NotFound):
        templates.load(name)


def test_linked_template(templates: TemplateFolder, tmp_path: Path) -> None:
    """A template that is a link to elsewhere is none, and so is one of whose files one is."""
    written(templates, subject="s", html=None, text="t")
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    shutil.copytree(templates.folder / "hello", moved)
    (templates.folder / "linked").symlink_to(moved)
    assert templates.names() == ["hello"]
    (templates.folder / "hello/body.txt").unlink()
    (templates.folder / "hello/body.txt").symlink_to(moved / "body.txt")
    with pytest.raises(SettingsError, match=r"hello has no body\.txt, as a plain file"):
        templates.load("hello")


def test_folder_reached_by_a_link(templates: TemplateFolder, tmp_path: Path) -> None:
    """The folder itself may be reached by a link, as folders of mounted settings are."""
    written(templates, subject="s", html=None, text="t")
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    assert TemplateFolder(link).load("hello").body({}).text == "t\n"


# -- what is wrong with a template ----------------------------------------------------------------


def test_examples_are_right() -> None:
    """What Sesight ships is without a finding, for the streams it is for."""
    examples = TemplateFolder(EXAMPLES)
    assert {each.name: (each.stream, each.findings) for each in examples.about()} == {
        "payout-statement": ("finance", ()),
        "spring-launch": ("outreach", ()),
    }
    for name, stream in (("payout-statement", FINANCE), ("spring-launch", OUTREACH)):
        assert examples.checked(name, stream).files.label == name.replace("-", " ").capitalize()


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there yet has no templates; a file in its place is said."""
    assert TemplateFolder(tmp_path / "none").names() == []
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be read"):
        TemplateFolder(tmp_path / "file").names()


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("subject.txt", None, "The template hello has no subject.txt, as a plain file."),
        ("body.txt", None, "The template hello has no body.txt, as a plain file."),
        ("body.txt", b"\xff", "hello/body.txt is not UTF-8: save it as that."),
        ("body.txt", b"x" * 500_001, "hello/body.txt is over 500 KB, more than SES takes."),
        ("body.html", b"x" * 499_990, "The template hello is over 500 KB."),
        ("body.html", b"a\n{% if %}", "hello/body.html, line 2: Expected an expression, got"),
        ("body.html", b"{{ a|nothing }}", "hello/body.html, line 1: No filter named 'nothing'."),
        ("sample.json", None, "The template hello has no sample.json: write one"),
        ("sample.json", b"{", "hello/sample.json is no JSON: "),
        ("sample.json", b"[]", "hello/sample.json is no JSON object."),
        ("sample.json", b"{}", "hello/body.txt, line 1: 'who' is named and has no value."),
        ("template.toml", b"stream = 'x'", "hello/template.toml names the stream 'x'; the"),
        ("template.toml", b"colour = 'x'", "hello/template.toml is wrong: "),
        ("template.toml", b"=", "hello/template.toml is wrong: "),
    ],
)
def test_wrong_file(
    templates: TemplateFolder, file: str, content: bytes | None, sentence: str
) -> None:
    """A file that is wrong is told in a sentence that names it."""
    written(templates, subject="s", html="<p>x</p>", text="Hello, dear {{ who }}", who="Ana")
    path = templates.folder / "hello" / file
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    (found,) = templates.check("hello")
    assert found.level == "error"
    assert found.text.startswith(sentence)
    with pytest.raises(SettingsError):
        templates.checked("hello", FINANCE)


HEAD = "<p>Hello</p>"


@pytest.mark.parametrize(
    ("html", "level", "word"),
    [
        (
            '<link rel="stylesheet" href="https://example.com/a.css">',
            "error",
            "cannot load external",
        ),
        ("<style>@import url(https://example.com/a.css);</style>", "error", "cannot load external"),
        (
            "<style>p{background:url(https://example.com/a)}</style>",
            "warning",
            "load external images",
        ),
        ("<p style='background:url(\"//example.com/a\")'>x</p>", "warning", "load external images"),
        ("<a href={{ name }}>x</a>", "error", "no quotes"),
        ("<script>1</script>", "warning", "<script>"),
        ('<img src="https://example.com/a.png">', "warning", "no alt text"),
        (f"<p>{'x' * 102_000}</p>", "warning", "Gmail clips"),
        ("{% if false %}{{ other }}{% endif %}", "warning", "'other' is named and the sample"),
        ('<a href="{{ unsubscribe_url }}">x</a>', "warning", "ses:no-track"),
    ],
)
def test_findings(templates: TemplateFolder, html: str, level: str, word: str) -> None:
    """What a recipient or a mail program would stumble over is said."""
    written(templates, subject="s", html=HEAD + html, text="t", stream="finance")
    (found,) = templates.check("hello")
    assert (found.level, word in found.text) == (level, True), found


def test_nothing_to_find(templates: TemplateFolder) -> None:
    """Pictures in the message itself, fragments and alt texts are right."""
    html = (
        "<style>p{background:url(data:image/png;base64,AA)} i{fill:url(#a)}</style>"
        "<p>x</p><i>y</i><img alt='' src='https://example.com/a.png'>"
    )
    written(templates, subject="s", html=html, text="t", stream="finance")
    assert templates.check("hello") == []


def test_any_stream(templates: TemplateFolder) -> None:
    """A template that names no stream may be sent by any, and was held to the rules of none."""
    written(templates, subject="s", html=HEAD, text="t")
    (found,) = templates.check("hello")
    assert (found.level, "names no stream" in found.text) == ("warning", True)
    assert templates.checked("hello", FINANCE).name == "hello"
    with pytest.raises(SettingsError, match="cannot be sent: Marketing mail must show"):
        templates.checked("hello", OUTREACH)


def test_other_stream(templates: TemplateFolder) -> None:
    """A template of one stream is not sent by another."""
    written(templates, subject="s", html=HEAD, text="t", stream="finance")
    with pytest.raises(InvalidRequest, match="for the stream finance, not for outreach"):
        templates.checked("hello", OUTREACH)


# -- marketing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "text", "sentence"),
    [
        (HEAD, LEAVE_TEXT, "Marketing mail must show {{ unsubscribe_url }}."),
        (HEAD + LEAVE, "t", "Marketing mail must show {{ unsubscribe_url }}."),
        (None, "t", "Marketing mail must show {{ unsubscribe_url }}."),
        (HEAD + LEAVE, "{{ unsubscribe_url }}", "Marketing mail must show {{ postal_address }}."),
        (
            HEAD + LEAVE.replace("{{ postal_address }}", ""),
            LEAVE_TEXT,
            "Marketing mail must show {{ postal_address }}.",
        ),
        (
            HEAD + LEAVE.replace(" ses:no-track", ""),
            LEAVE_TEXT,
            "Clicks on the unsubscribe link must not be tracked: ",
        ),
        (
            HEAD + "{{ unsubscribe_url }} {{ postal_address }}",
            LEAVE_TEXT,
            "Marketing mail must show an",
        ),
        (
            HEAD + LEAVE.replace("No more", " "),
            LEAVE_TEXT,
            "Marketing mail must show an unsubscribe link",
        ),
        (
            HEAD + LEAVE.replace("<p>", '<p style="display: none">'),
            LEAVE_TEXT,
            "Marketing mail must show an unsubscribe link",
        ),
        (
            "<style>p a { font-size: 0px }</style>" + HEAD + LEAVE,
            LEAVE_TEXT,
            "Marketing mail must show an unsubscribe link",
        ),
    ],
)
def test_marketing(templates: TemplateFolder, html: str | None, text: str, sentence: str) -> None:
    """Marketing mail that does not show how to leave, or who sends it, fails its check and is not
    sent.
    """
    written(templates, subject="s", html=html, text=text, stream="outreach")
    found = errors(templates)
    assert len(found) == 1
    assert found[0].startswith(sentence)
    with pytest.raises(SettingsError, match="cannot be sent"):
        templates.checked("hello", OUTREACH)


def test_marketing_of_each_message(templates: TemplateFolder) -> None:
    """What the sample shows and a context hides is refused when the message is made."""
    shown = "{% if shown %}" + LEAVE + "{% endif %}"
    written(templates, subject="s", html=shown, text=LEAVE_TEXT, stream="outreach", shown=True)
    template = templates.checked("hello", OUTREACH)
    assert template.body({**STANDARD_VARIABLES, "shown": True}).html
    assert refused(templates, {**STANDARD_VARIABLES, "shown": False})[0] == "unsubscribe-link"
    assert refused(templates, {**STANDARD_VARIABLES, "shown": True, "unsubscribe_url": ""})[0] == (
        "unsubscribe-link"
    )
    assert refused(templates, {**STANDARD_VARIABLES, "shown": True, "postal_address": "\n"})[0] == (
        "postal-address"
    )


def test_marketing_with_lines_and_ampersands(templates: TemplateFolder) -> None:
    """An address of several lines, and a link with &, are found where they are shown escaped."""
    written(templates, subject="s", html=LEAVE, text=LEAVE_TEXT, stream="outreach")
    body = templates.load("hello").body(
        {
            **STANDARD_VARIABLES,
            "postal_address": "Bell & Sons\n1 Example Street",
            "unsubscribe_url": "https://mail.example.com/u?a=1&b=2",
        }
    )
    assert "Bell &amp; Sons" in (body.html or "")
    assert "https://mail.example.com/u?a=1&b=2" in body.text


# -- looking at them ------------------------------------------------------------------------------


def test_about(templates: TemplateFolder) -> None:
    """Every template is listed, the broken ones too, with what is wrong with them."""
    written(templates, subject="s", html=HEAD, text="t", stream="finance")
    written(templates, name="broken", subject="s", html=None, text="{{")
    broken, hello = templates.about()
    assert (hello.name, hello.label, hello.stream, hello.findings) == (
        "hello",
        "Hello",
        "finance",
        (),
    )
    assert broken.findings[0].level == "error"


def test_rendered(templates: TemplateFolder) -> None:
    """A template is looked at with its sample or with another context."""
    written(templates, subject="{{ who }}", html=None, text="{{ name }}", who="Ana")
    assert templates.rendered("hello", None).subject == "Ana"
    assert templates.rendered("hello", {"who": "Bo"}).subject == "Bo"
    with pytest.raises(InvalidRequest, match="'who' is named"):
        templates.rendered("hello", {})


def test_preview() -> None:
    """A preview loads and runs nothing, shows HTML in frames without rights, and escapes the rest."""
    examples = TemplateFolder(EXAMPLES)
    made = examples.rendered(
        "spring-launch", {**examples.sample("spring-launch"), "first_name": "<b>"}
    )
    page = preview("spring-launch", "Spring <launch>", made, [TemplateIssue("warning", "a < b")])
    assert f'content="{POLICY}"' in page
    assert "default-src 'none'" in POLICY
    assert page.count("<iframe sandbox ") == page.count("<iframe") == 2
    assert "<b>, Harbour" not in page
    assert "Spring <launch>" not in page
    assert "a &lt; b" in page
    assert "<script" not in page


def test_sample_is_json(templates: TemplateFolder) -> None:
    """The samples of the examples are what a context may be."""
    for name in TemplateFolder(EXAMPLES).names():
        assert msgspec.json.encode(TemplateFolder(EXAMPLES).sample(name))
