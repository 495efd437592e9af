"""The rules of the house that no linter knows; import directions are in pyproject.toml."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
HOUSE = SOURCE / "sesight"
MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

# Standard modules that reach outside the process or differ from one run to the next.
IMPURE = {
    *{"asyncio", "concurrent", "ctypes", "fcntl", "fileinput", "getpass", "glob", "http", "io"},
    *{"logging", "mmap", "multiprocessing", "os", "pathlib", "platform", "random", "resource"},
    *{"secrets", "select", "selectors", "shutil", "signal", "smtplib", "socket", "socketserver"},
    *{"sqlite3", "ssl", "subprocess", "sys", "syslog", "tempfile", "threading", "time"},
    *{"urllib.error", "urllib.request"},
}
ALLOWED = {*sys.stdlib_module_names, "msgspec", "idna", "sesight.domain"}
CLOCK_READERS = {"now", "utcnow", "today"}

by_path = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
by_test_file = pytest.mark.parametrize(
    "path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests"))
)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Return every module that a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def named(modules: set[str], names: set[str]) -> set[str]:
    """Return those of the modules that are in a package or module of these names."""
    return {
        module for module in modules if any(f"{module}.".startswith(f"{name}.") for name in names)
    }


def words(path: Path) -> Iterator[str]:
    """Yield every name and attribute a module's code uses."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


def calls(path: Path) -> set[str]:
    """Return the names of the methods a module calls."""
    return {
        node.func.attr
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }


def is_in(path: Path, folder: str) -> bool:
    return path.is_relative_to(HOUSE / folder)


@by_path
def test_name(path: Path) -> None:
    """A file is named after what it holds, not after its being useful."""
    assert path.stem not in {"utils", "helpers", "common", "manager", "base"}


@by_path
def test_nothing_left_to_do(path: Path) -> None:
    """What is not done is in no file: it is an issue or a decision, or it is done."""
    assert re.findall(r"\b(?:TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8")) == []


@by_path
def test_responsibility(path: Path) -> None:
    """Every module and package says what it is responsible for, in a sentence."""
    sentence = (ast.get_docstring(parsed(path)) or "").split("\n\n")[0]
    assert sentence.endswith((".", ":", "?"))


@by_path
def test_environment(path: Path) -> None:
    """Only settings.py reads the environment."""
    read = {"environ", "environb", "getenv", "getenvb"} & set(words(path))
    assert path == HOUSE / "settings.py" or read == set()


@by_path
def test_sqlite(path: Path) -> None:
    """Only store/ knows SQLite."""
    assert is_in(path, "store") or named(imports(path), {"sqlite3"}) == set()


@by_path
def test_domain_is_pure(path: Path) -> None:
    """The domain imports the pure part of the standard library, msgspec, idna and itself."""
    found = imports(path)
    impure = named(found, IMPURE) | (found - named(found, ALLOWED))
    assert not is_in(path, "domain") or impure == set()


def test_domain_loads_idna_for_whom_it_is_needed() -> None:
    """Only domain/address.py imports idna, and not before an address needs it."""
    users = [path for path in MODULES if is_in(path, "domain") and named(imports(path), {"idna"})]
    home = HOUSE / "domain" / "address.py"
    at_start = [node for node in parsed(home).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert users == [home]
    assert "idna" not in {getattr(node, "module", "") for node in at_start}


@by_path
def test_domain_has_no_clock(path: Path) -> None:
    """The domain is told the time, it never asks."""
    assert not is_in(path, "domain") or CLOCK_READERS & calls(path) == set()


def test_no_name_is_defined_twice() -> None:
    """A class or a type alias of the source has a name that no other has, in any package."""
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for name in type_names(parsed(path)):
            places.setdefault(name, []).append(str(path.relative_to(SOURCE)))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def type_names(module: ast.Module) -> Iterator[str]:
    """Yield the names of the classes, and of the assignments written as types are, of a module."""
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name) and re.fullmatch(r"_*[A-Z]\w*[a-z]\w*", target.id):
                yield target.id


def test_domain_has_no_circle() -> None:
    """No module of the domain imports itself through others, not even for type checking."""
    modules = {
        ".".join(path.relative_to(SOURCE).with_suffix("").parts): path
        for path in MODULES
        if is_in(path, "domain")
    }
    edges = {
        name: {other for other in modules if named(imports(path), {other})} - {name}
        for name, path in modules.items()
        if path.stem != "__init__"
    }
    while leaves := {name for name, others in edges.items() if not others & edges.keys()}:
        edges = {name: others for name, others in edges.items() if name not in leaves}
    assert edges == {}


@by_test_file
def test_tests_are_sentences(path: Path) -> None:
    """Every test says in a sentence what must be true."""
    silent = [
        node.name
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_every_folder_is_a_package() -> None:
    """Every folder of code has an __init__.py to say what it is."""
    bare = {path.parent for path in MODULES if not (path.parent / "__init__.py").exists()}
    assert bare == set()


def test_documents_named_exist() -> None:
    """Nothing refers to a document that is not in the repository: not by its name, nor by its chapters."""
    texts = [
        path
        for folder in ("src", "docs", "tests", "scripts", "bench")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md", ".sql", ".toml", ".java", ""} and path.is_file()
    ]
    names = {path.name for path in ROOT.rglob("*.md") if ".venv" not in path.parts}
    wrong = set()
    for path in [*texts, *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"]:
        text = path.read_text(encoding="utf-8")
        if path != Path(__file__):
            wrong |= {(path.name, each) for each in re.findall(r"\bDESIGN\b|\bfacts/\w+", text)}
        named = re.findall(r"(?<![\w/.{-])((?:[\w-]+/)*[\w-]+\.md)\b", text)
        wrong |= {(path.name, each) for each in named if each.rpartition("/")[2] not in names}
    assert wrong == set()


def test_decisions_are_numbered_without_a_gap() -> None:
    """Decisions have the numbers from 1 on, each once, and each says its own."""
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    titles = [page.read_text(encoding="utf-8").partition(". ")[0] for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    assert titles == [f"# {number}" for number in numbers]
