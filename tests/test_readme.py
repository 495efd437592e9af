"""The commands of the README, the tutorial and the first how-to work as they stand, in a fresh clone."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path
from textwrap import dedent

import pytest
import typer

from sesight.cli.program import program

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CONNECT = ROOT / "docs" / "how-to" / "receive-events.md"
FIRST_PAGES = (ROOT / "README.md", ROOT / "docs" / "tutorial.md", CONNECT)
"""What a newcomer follows, in this order."""
BASH = shutil.which("bash")
DEADLINE = 300

READ = r"""set -f; sesight() { printf '%s\0' "$@"; }; """
"""Has a command print its words."""

AWS = '''
"""The aws command without AWS: calls are held against the models that botocore has of them."""
import json
import sys

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

service, operation, *options = sys.argv[1:]
model = ServiceModel(Loader().load_service_model(service, "service-2"))
[asked] = [
    each
    for each in map(model.operation_model, model.operation_names)
    if each.name.lower() == operation.replace("-", "")
]
members = {name.lower(): (name, shape) for name, shape in asked.input_shape.members.items()}
members["notificationendpoint"] = members.get("endpoint")  # the command has a word of its own
given = {}
for option, text in zip(options[::2], options[1::2], strict=True):
    name, shape = members[option.removeprefix("--").replace("-", "")]
    given[name] = text if shape.type_name == "string" else json.loads(text)
    if name == "AttributeValue" and given["AttributeName"] == "Policy":
        json.loads(text)
report = ParamValidator().validate(given, asked.input_shape)
sys.exit(report.generate_report() or None)
'''

# What a reader does by hand: another window for what goes on, and a small demo, to be quick.
PRELUDE = r"""
set -euo pipefail
aws() { python aws.py "$@"; }
curl() { python -c 'import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[-1]).read().decode())' "$@"; }
window() { # runs a command that goes on, until it says where it listens
  "$@" >"$1.out" 2>&1 & local process=$!
  until grep -q 'listens on' "$1.out"; do kill -0 $process || { cat "$1.out"; exit 1; }; sleep 0.1; done
}
demo() { .venv/bin/sesight demo --messages 300 --rate 0 --port 0; }
make() { grep -q "^$1: .*## " Makefile; if [[ $1 == demo ]]; then window demo; fi; }
sesight() { if [[ $1 == serve ]]; then window command sesight "$@"; else command sesight "$@"; fi; }
"""


def commands(page: Path) -> list[str]:
    """Return the commands of a page's consoles, each with the lines it goes on over."""
    found: list[str] = []
    for console in re.findall(
        r"^```console\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    ):
        lines = iter(console.splitlines())
        for line in lines:
            if line.startswith("$ "):
                command = line.removeprefix("$ ")
                while not _is_whole(command):
                    command += f"\n{next(lines)}"
                found.append(command)
    return found


def _is_whole(command: str) -> bool:
    checked = subprocess.run([BASH, "-n", "-c", command], capture_output=True, check=False)
    return checked.returncode == 0 and not command.endswith("\\")


def _free_ports(n: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def test_readme(tmp_path: Path) -> None:
    """Every command of the first pages succeeds, in order, with the settings file that they show."""
    text = CONNECT.read_text("utf-8")
    for name in ("tests", "Makefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "aws.py").write_text(AWS)
    [settings] = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    script = "\n".join([PRELUDE, *[f"echo '+ {n}'\n{each}" for n, each in enumerate(told())]])
    ports = _free_ports(2)
    for written, free in zip(("8025", "8026"), ports, strict=True):
        assert written in script
        script = script.replace(f":{written}", f":{free}")
    (tmp_path / "sesight.toml").write_text(f"{settings}\n[server]\nport = {ports[0]}\n")
    keeping = {name: each for name, each in os.environ.items() if not name.startswith("SESIGHT_")}
    with subprocess.Popen(
        [BASH, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        env={**keeping, "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"},
        start_new_session=True,
        text=True,
    ) as shell:
        try:
            # what goes on has its output elsewhere, so this ends with the last command
            printed, _ = shell.communicate(timeout=DEADLINE)
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
    assert shell.returncode == 0, printed
    assert "sent" in printed
    assert urllib.parse.urlsplit(_endpoint(text)).path == "/api/ses/events"
    said = (tmp_path / "command.out").read_text()
    assert f"Events are received on http://127.0.0.1:{ports[1]}/api/ses/events" in said


def told() -> list[str]:
    """Return the commands of the first pages, each once: the tutorial repeats the README's `make demo`."""
    shown = [command for page in FIRST_PAGES for command in commands(page)]
    return list(dict.fromkeys(re.sub(r"\s+# .*$", "", command) for command in shown))


def _endpoint(text: str) -> str:
    return re.findall(r"--notification-endpoint (\S+)", text)[0]


def test_the_demo_leaves_the_port_of_the_server() -> None:
    """The demo may go on while the server of the next section starts."""
    demo = typer.main.get_command(program).commands["demo"]
    [port] = [each.default for each in demo.params if each.name == "port"]
    assert str(port) not in dedent("\n".join(told()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_read(page: Path, tmp_path: Path) -> None:
    """Every `sesight` command that a console of the docs shows has only options and arguments that
    exist.
    """
    wrong = []
    for each in commands(page):
        words = subprocess.run(
            [BASH, "-c", f"{READ}{each.replace('.venv/bin/sesight', 'sesight')}"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"PATH": ""},  # nothing else is run
        ).stdout.split("\0")[:-1]
        command, name = typer.main.get_command(program), "sesight"
        try:
            while words and hasattr(command, "commands"):
                name, command = words[0], command.commands[words.pop(0)]
            if words:
                command.make_context(name, words)
        except (KeyError, typer.Exit) as error:
            wrong.append((each, repr(error)))
        except Exception as error:  # noqa: BLE001 - click's own, which Typer does not show
            wrong.append((each, getattr(error, "message", repr(error))))
    assert wrong == []
