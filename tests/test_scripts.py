"""What `make test` does where DynamoDB's engine can be had, and where it cannot."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "dirname", "cat", "tr", "grep", "rm", "mkdir", "true")


class Ended(NamedTuple):
    """How `make test` ended, and the commands it called, with their arguments."""

    code: int
    err: str
    called: list[str]


Run = Callable[..., Ended]


@pytest.fixture
def run_tests(tmp_path: Path) -> Run:
    """Run scripts/run-tests where there are the scripts, a pytest that passes and the commands named."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    found = tmp_path / "bin"
    found.mkdir()
    for tool in TOOLS:
        (found / tool).symlink_to(shutil.which(tool))

    def command(name: str, says: str = "", at: Path = found) -> None:
        at.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(f'#!{shutil.which("bash")}\necho "{name} $*" >>"$CALLED"\n{says}\n')
        (at / name).chmod(0o755)

    command(
        "python",
        'case "$*" in *--collect-only*) printf "a::b\\nc::d\\n";; esac',
        tmp_path / ".venv/bin",
    )

    def run(*commands: str, root: bool = False, **environment: str) -> Ended:
        command("id", f"echo {0 if root else 1000}")
        for each in commands:
            command(each, "echo javac 17.0.1" if each == "javac" else "")
        called = tmp_path / "called"
        called.touch()
        done = subprocess.run(
            [shutil.which("bash"), tmp_path / "scripts" / "run-tests"],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": str(found), "CALLED": str(called), **environment},
        )
        lines = called.read_text().splitlines()
        return Ended(done.returncode, done.stderr, [each for each in lines if each != "id -u"])

    return run


def test_everything_at_hand(run_tests: Run) -> None:
    """With Java and Maven the engine is fetched and all tests run."""
    ended = run_tests("javac", "mvn", "apt-get", "sudo")
    assert ended.code == 0
    assert [each.split()[0] for each in ended.called[:-1]] == ["javac", "mvn", "mvn", "javac"]
    assert ended.called[-1] == "python -m pytest -n auto"


def test_no_java(run_tests: Run) -> None:
    """Without Java nothing is installed, least of all by sudo: the other tests run, and the last words
    are how many did not.
    """
    ended = run_tests("mvn", "apt-get", "sudo")
    assert (ended.code, ended.called) == (
        0,
        [
            "mvn --version",
            "python -m pytest -n auto -m not dynamodb",
            "python -m pytest --collect-only --quiet -m dynamodb",
        ],
    )
    assert "needs Java 17 or newer (javac) and Maven (mvn)" in ended.err
    assert ended.err.rstrip().splitlines()[-2].startswith("NOT RUN: 2 tests, those of DynamoDB")


def test_root(run_tests: Run) -> None:
    """As root what is missing is installed by apt, no more."""
    ended = run_tests("mvn", "apt-get", root=True)
    assert [each for each in ended.called if "apt-get" in each] == [
        "apt-get update -qq",
        "apt-get install -y -qq --no-install-recommends openjdk-17-jdk-headless",
    ]


def test_ci(run_tests: Run) -> None:
    """Where CI is set, tests that cannot run are a failure."""
    ended = run_tests("mvn", CI="true")
    assert (ended.code, ended.called) == (1, ["mvn --version"])
