"""Statements on paper: every figure is there, whole and legible; nothing is read but the template."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from PIL import Image
from pypdf import PdfReader

from sesight.domain.errors import SettingsError
from sesight.send.message import Attachment, Unsendable
from sesight.send.statements.files import from_json
from sesight.send.statements.model import Statement, StatementLine
from sesight.send.statements.renderer import FONTS, StatementRenderer
from sesight.send.templates.folder import EXAMPLES, STANDARD_VARIABLES, TemplateFolder
from sesight.send.templates.sandbox import FolderLoader

STATEMENT = Statement(
    id="PS/2026-10 #42",
    recipient="zoe@example.com",
    name="Zoë Nováková",
    month="2026-10",
    currency="EUR",
    locale="de-DE",
    lines=(
        StatementLine(
            section="Sales",
            label="Ceramic mug",
            quantity=Decimal(124),
            unit_price=Decimal("12.5"),
            amount=Decimal("1550.00"),
        ),
        StatementLine(section="Fees", label="Commission of 12 %", amount=Decimal("-186.00")),
    ),
    total=Decimal("1364.00"),
)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return the folder of a template named payout."""
    folder = tmp_path / "templates" / "payout"
    folder.mkdir(parents=True)
    return folder


def paper(own: Path, toml: str = "") -> StatementRenderer:
    (own / "paper.toml").write_text(toml)
    return StatementRenderer(FolderLoader(own.parent), own.name)


def words(pdf: bytes) -> str:
    """Return the text of all pages as people read it, its spaces plain."""
    text = "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)
    return text.replace("\xa0", " ")


def test_everything_is_on_it(own: Path) -> None:
    """Sender, recipient, month, every line, subtotals and the total are on the page."""
    text = words(paper(own, 'sender = "Example Goods"\nfooter = "Questions?"').pdf(STATEMENT))
    for said in (
        *("Example Goods", "Zoë Nováková", "zoe@example.com", "Oktober 2026", "PS/2026-10 #42"),
        *("Sales", "Ceramic mug", "124", "12,50 €", "1.550,00 €"),
        *("Fees", "Commission of 12 %", "-186,00 €", "Subtotal", "Total", "1.364,00 €"),
        *("Questions?", "Page 1 of 1"),
    ):
        assert said in text


def test_words_of_another_language(own: Path) -> None:
    """What stands on it can be said in another language; columns that no line needs are not there."""
    toml = '[words]\ntitle = "Abrechnung"\ntotal = "Summe"\npage = "Seite {page} von {pages}"'
    plain = replace(STATEMENT, lines=(StatementLine(label="Fee", amount=Decimal("1364.00")),))
    text = words(paper(own, toml).pdf(plain))
    for said in ("Abrechnung", "Summe", "Seite 1 von 1"):
        assert said in text
    for absent in ("Quantity", "Unit price", "Subtotal", "Total"):
        assert absent not in text


def test_the_same_bytes(own: Path) -> None:
    """The same statement gives the same bytes, in another process and at another time too."""
    made = paper(own).pdf(STATEMENT)
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from pathlib import Path\n"
        "from tests.send.statements.test_pdf import STATEMENT, paper\n"
        "sys.stdout.buffer.write(paper(Path(sys.argv[2])).pdf(STATEMENT))"
    )
    root = Path(__file__).parent.parent.parent
    again = subprocess.run(
        [sys.executable, "-c", script, root, own], capture_output=True, check=True
    ).stdout
    assert again == made
    held = PdfReader(io.BytesIO(made)).metadata
    assert held is not None
    assert held.creation_date == datetime(2026, 10, 1, tzinfo=UTC)
    assert held.title == "Statement PS/2026-10 #42"


def test_many_lines(own: Path) -> None:
    """Of several pages each has the columns' names and its number, and no line is lost or cut."""
    long = "with a label that is so long that it does not fit into one line of its column"
    lines = tuple(
        StatementLine(label=f"Item {n:03} {long}", amount=Decimal(n)) for n in range(1, 201)
    )
    whole = replace(STATEMENT, lines=lines, total=Decimal(20_100))
    pages = PdfReader(io.BytesIO(paper(own).pdf(whole))).pages
    text = [page.extract_text().replace("\xa0", " ") for page in pages]
    assert len(pages) > 5
    for n, each in enumerate(text, 1):
        assert f"Page {n} of {len(pages)}" in each
        assert "Description" in each
    together = " ".join(" ".join(text).split())
    assert [n for n in range(1, 201) if f"Item {n:03} with" not in together] == []
    assert together.count("column") == 200
    assert "20.100,00 €" in text[-1]


@pytest.mark.parametrize(
    "name",
    [
        *("Łukasz Żółć", "Ştefan Țîrlea", "Þórður Æðelson", "Jürgen Großmann", "Nguyễn Thị Hương"),
        *("Αλέξανδρος Παπαδόπουλος", "Юлія Ґалаґан", "Ђорђе Љубичић", "Siân ŵyn ŷd", "Ġużè Ħamrun"),
        *("e\u0301migre\u0301 (two code points each)", "O’Néill – “the” € № 5"),
    ],
)
def test_names_of_europe(own: Path, name: str) -> None:
    """Every name in Latin, Greek or Cyrillic letters is printed letter by letter."""
    assert name in words(paper(own).pdf(replace(STATEMENT, name=name)))


@pytest.mark.parametrize(
    ("member", "text"),
    [("name", "山田太郎"), ("name", "דוד"), ("recipient", "🎉@example.com"), ("id", "PS-①")],
)
def test_letters_that_the_font_has_not(own: Path, member: str, text: str) -> None:
    """No letter is printed as an empty box: the statement is refused, and the sentence says the letter
    and what to do.
    """
    with pytest.raises(Unsendable, match=r"U\+[0-9A-F]{4,5}.*paper\.toml") as refused:
        paper(own).pdf(replace(STATEMENT, **{member: text}))
    assert refused.value.code == "characters"


def test_a_font_of_ones_own(own: Path) -> None:
    """A font of the template's folder is used, for bold too where no other is named."""
    (own / "house.ttf").write_bytes((FONTS / "NotoSans-Bold.ttf").read_bytes())
    made = paper(own, 'font = "house.ttf"').pdf(STATEMENT)
    fonts = PdfReader(io.BytesIO(made)).pages[0]["/Resources"]["/Font"]
    names = {font.get_object()["/BaseFont"].partition("+")[2] for font in fonts.values()}
    assert len(names) == 1
    assert "Zoë" in words(made)


def test_a_logo(own: Path) -> None:
    """A logo of the template's folder is printed."""
    Image.new("RGB", (40, 20), "#1f4e5f").save(own / "logo.png")
    made = paper(own, 'logo = "logo.png"').pdf(STATEMENT)
    [picture] = PdfReader(io.BytesIO(made)).pages[0].images
    assert picture.image is not None
    assert picture.image.size == (40, 20)


WRONG = {
    "no TOML": "sender = ",
    "a setting that is none": 'sendr = "x"',
    "a color that is none": 'color = "blue"',
    "a kind that is none": 'attach = ["docx"]',
    "a logo that is not there": 'logo = "logo.png"',
    "a logo from above": 'logo = "../logo.png"',
    "a logo from the root": 'logo = "/etc/passwd"',
    "a logo from the web": 'logo = "https://example.com/logo.png"',
    "a logo behind a link": 'logo = "linked.png"',
    "a logo that is no picture": 'logo = "paper.toml"',
    "a logo that could refer to others": 'logo = "logo.svg"',
    "a font that is not there": 'font = "x.ttf"',
    "a font that is none": 'font = "paper.toml"',
}


@pytest.mark.parametrize("toml", WRONG.values(), ids=WRONG)
def test_wrong_letterheads(own: Path, toml: str) -> None:
    """What is wrong with the letterhead is said before anything is printed; no file outside of the
    template's folder is read, and no other kind of file.
    """
    Image.new("RGB", (4, 4)).save(own.parent / "logo.png")
    (own / "linked.png").symlink_to(own.parent / "logo.png")
    (own / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    with pytest.raises(SettingsError) as refused:
        paper(own, toml)
    assert "payout" in str(refused.value)


def test_csv(own: Path) -> None:
    """The file for spreadsheets has plain figures, the total last, and the mark that says UTF-8."""
    content = paper(own).csv(STATEMENT)
    assert content.startswith(b"\xef\xbb\xbf")
    assert list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))) == [
        ["Section", "Description", "Quantity", "Unit price", "Amount", "Currency"],
        ["Sales", "Ceramic mug", "124", "12.5", "1550.00", "EUR"],
        ["Fees", "Commission of 12 %", "", "", "-186.00", "EUR"],
        ["", "Total", "", "", "1364.00", "EUR"],
    ]


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_nothing_runs_in_a_spreadsheet(own: Path, label: str) -> None:
    """A label that a spreadsheet would run is only text there; a negative amount stays a figure."""
    line = StatementLine(label=label, section=label, amount=Decimal("-5.00"))
    content = paper(own).csv(replace(STATEMENT, lines=(line,), total=Decimal("-5.00")))
    row = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))[1]
    assert row == [f"'{label}", f"'{label}", "", "", "-5.00", "EUR"]


def test_attachments(own: Path) -> None:
    """What the letterhead names goes with the message, under names that any system takes."""
    made = paper(own, 'attach = ["pdf", "csv"]').attachments(STATEMENT)
    assert [(each.name, each.media_type) for each in made] == [
        ("statement-2026-10-PS-2026-10-42.pdf", "application/pdf"),
        ("statement-2026-10-PS-2026-10-42.csv", "text/csv"),
    ]
    assert made[0].content.startswith(b"%PDF-")
    assert paper(own, "attach = []").attachments(STATEMENT) == ()
    assert all(isinstance(each, Attachment) for each in made)


def test_no_letterhead(own: Path) -> None:
    """A template without paper.toml has a plain PDF."""
    [made] = StatementRenderer(FolderLoader(own.parent), own.name).attachments(STATEMENT)
    assert "Statement" in words(made.content)


def test_the_example() -> None:
    """The template that Sesight ships is tried with what its figures give, and has its paper."""
    folder = EXAMPLES / "payout-statement"
    [found] = from_json((folder / "statements.json").read_bytes())
    assert isinstance(found, Statement)
    sample = msgspec.json.decode((folder / "sample.json").read_bytes())
    assert {"statement": sample["statement"]} == found.context()
    body = (
        TemplateFolder(EXAMPLES)
        .load("payout-statement")
        .body({**STANDARD_VARIABLES, **found.context()})
    )
    assert found.shown(found.total) not in body.subject  # subjects are stored
    pdf, sheet = StatementRenderer(FolderLoader(EXAMPLES), "payout-statement").attachments(found)
    for line in found.lines:
        for text in (body.html or "", body.text, words(pdf.content)):
            assert found.shown(line.amount) in text.replace("\xa0", " ")
        assert f"{line.amount}" in sheet.content.decode()


LONG = (
    "United Trading Company for Agricultural Produce and Co-operative Services of the North-Western "
    "Counties Ltd & Co. KG"
)


def elements(pdf: bytes) -> list[tuple[str, int]]:
    """Return what is read out, in order: the kind of each text and its mark on the page."""
    catalog = PdfReader(io.BytesIO(pdf)).trailer["/Root"]
    kids = catalog["/StructTreeRoot"]["/K"][0]["/K"]
    return [(each.get_object()["/S"], int(each.get_object()["/K"][0])) for each in kids]


def test_a_long_name_wraps(own: Path) -> None:
    """Names, addresses and ids that do not fit into one line take several, whole and at their size."""
    address = f"{'very-long-' * 6}name@{'sub-domain.' * 5}example.com"
    long = replace(STATEMENT, name=LONG, recipient=address, id="PS-" + "0123456789-" * 9 + "A")
    head = f'sender = "{LONG}"\naddress = ["{LONG}"]\nfooter = "{LONG}"\n'
    pages: list[list[tuple[str, float, float]]] = []
    for page in PdfReader(io.BytesIO(paper(own, head).pdf(long))).pages:
        found: list[tuple[str, float, float]] = []

        def visit(text, _cm, tm, _font, size, found=found) -> None:
            if text.strip():
                found.append((text.strip(), tm[4], size))

        page.extract_text(visitor_text=visit)
        pages.append(found)
    [page] = pages
    assert min(size for _, _, size in page) >= 7.5
    text = "".join(each for each, _, _ in page).replace(" ", "").replace("\n", "")
    for said, times in ((LONG, 4), (address, 1), (long.id, 2)):
        assert text.count(said.replace(" ", "")) == times


def test_the_month_is_in_the_words_of_the_template(own: Path) -> None:
    """Figures are as the recipient writes them; the month is named in the language around it."""
    text = words(paper(own).pdf(STATEMENT, "fr"))
    assert "octobre 2026" in text
    assert "1.364,00 €" in text
    assert STATEMENT.context("fr")["statement"]["month_name"] == "octobre 2026"
    assert STATEMENT.context()["statement"]["month_name"] == "Oktober 2026"


def test_long_amounts_do_not_wrap(own: Path) -> None:
    """The longest amount there can be stands on one line, beside a description that still has room."""
    most = Decimal("999999999999999.99")
    line = StatementLine(label="A fee", quantity=Decimal(1), unit_price=most, amount=most)
    text = words(paper(own).pdf(replace(STATEMENT, lines=(line,), total=most)))
    assert text.count("999.999.999.999.999,99 €") == 3
    assert "A fee" in text


def test_a_negative_total_is_a_balance(own: Path) -> None:
    """What is below zero is not called to be paid: it has a word of its own, also in the CSV."""
    card = '[words]\ntotal = "To be paid"\nnegative_total = "You owe"'
    negative = replace(
        STATEMENT,
        lines=(StatementLine(label="Returned", amount=Decimal("-2.00")),),
        total=Decimal("-2.00"),
    )
    found = paper(own, card)
    assert "You owe" in words(found.pdf(negative))
    assert "To be paid" not in words(found.pdf(negative))
    assert found.csv(negative).decode("utf-8-sig").splitlines()[-1] == ",You owe,,,-2.00,EUR"
    assert "To be paid" in words(found.pdf(STATEMENT))
    assert "Balance" in words(paper(own, '[words]\ntotal = "To be paid"').pdf(negative))


@pytest.mark.parametrize(
    ("language", "expected"), [("fr", "fr"), ("de-AT", "de-AT"), (None, "de-DE")]
)
def test_language_and_title_are_set(own: Path, language: str | None, expected: str) -> None:
    """The document says its language and shows its title."""
    catalog = PdfReader(io.BytesIO(paper(own).pdf(STATEMENT, language))).trailer["/Root"]
    assert catalog["/Lang"] == expected
    assert catalog["/ViewerPreferences"]["/DisplayDocTitle"] == True  # noqa: E712 - a PDF object


def test_the_document_is_tagged(own: Path) -> None:
    """Every text is a heading or paragraph, in the order of reading; rules and feet are not read out."""
    pdf = paper(own, 'sender = "Example Goods"\nfooter = "Questions?"').pdf(STATEMENT)
    reader = PdfReader(io.BytesIO(pdf))
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"] == True  # noqa: E712 - a PDF object
    found = elements(pdf)
    assert [kind for kind, _ in found] == [
        *("/P", "/H1", *["/P"] * 14, "/H2", *["/P"] * 6),
        *("/H2", *["/P"] * 4, *["/P"] * 2),
    ]
    assert [mark for _, mark in found] == list(range(len(found)))
    drawn = reader.pages[0].get_contents().get_data().decode("latin-1")
    assert drawn.count(" BDC") == len(found)
    assert drawn.count("EMC") == drawn.count("BDC") + drawn.count("BMC")
