"""Whoever has no AWS credentials is told so, and what to set, by every command that needs some."""

import os
import subprocess
from pathlib import Path

import pytest

from sesight.domain.errors import NO_CREDENTIALS
from sesight.send.templates.folder import TemplateFolder
from tests.cli.conftest import COMMAND, DEADLINE, environment
from tests.letters import written

SETTINGS = """
region = "eu-west-1"
[sending]
templates = "templates"
[[sending.senders]]
stream = "outreach"
from_address = "news@example.com"
public_url = "https://news.example.com"
postal_address = "1 Example Street"
unsubscribe_keys = { a = "0000000000000000000000000000000000000000000000000000000000000000" }
"""


def run(folder: Path, *arguments: str, **more: str) -> tuple[int, str]:
    """Run a command where there are no credentials; return its code and what it says."""
    kept = {name: each for name, each in environment().items() if not name.startswith("AWS_")}
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    done = subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**kept, **nothing, "AWS_EC2_METADATA_DISABLED": "true", **more},
        timeout=DEADLINE,
        check=False,
    )
    return done.returncode, done.stderr


SEND = "send outreach --template spring-launch --campaign c --to people.csv --context context.json"


@pytest.mark.parametrize(
    ("command", "before"),
    [
        ("campaigns --store dynamodb://eu-west-1", ""),
        ("replay s3://bucket/prefix", "The bucket bucket cannot be listed: "),
        (
            "replay --from-queue https://sqs.eu-west-1.amazonaws.com/123456789012/q",
            "The queue https://sqs.eu-west-1.amazonaws.com/123456789012/q cannot be used: ",
        ),
        ("suppress sync", ""),
        ("templates push", "SES could not be reached: "),
        (SEND, ""),
    ],
)
def test_no_credentials(tmp_path: Path, command: str, before: str) -> None:
    """It is one sentence, ends with 1, and has no name of a class."""
    (tmp_path / "sesight.toml").write_text(SETTINGS)
    (tmp_path / "people.csv").write_text("email,first_name\nana@example.org,Ana\n")
    assert run(tmp_path, "templates", "init")[0] == 0
    templates = TemplateFolder(tmp_path / "templates")
    written(templates, subject="Hello {{name}}\n", html=None, text="Bye\n", rendering="ses")
    sample = tmp_path / "templates" / "spring-launch" / "sample.json"
    (tmp_path / "context.json").write_bytes(sample.read_bytes())
    assert run(tmp_path, *command.split()) == (1, f"{before}{NO_CREDENTIALS}\n")


@pytest.mark.parametrize("command", ["campaigns --store dynamodb://eu-west-1", "suppress sync"])
def test_no_profile(tmp_path: Path, command: str) -> None:
    """A profile that is not there is a sentence with its name."""
    (tmp_path / "sesight.toml").write_text(SETTINGS)
    code, said = run(tmp_path, *command.split(), AWS_PROFILE="nobody")
    assert (code, said.count("\n")) == (1, 1)
    assert "(nobody)" in said
