"""Templates in tests: written into a folder, and those that Sesight ships."""

from typing import Any

import msgspec

from sesight.send.templates.folder import TemplateFolder


def written(
    templates: TemplateFolder,
    name: str = "hello",
    *,
    subject: str,
    html: str | None,
    text: str,
    stream: str | None = None,
    **sample: Any,
) -> None:
    """Write a template, whose sample is what is given beside its parts."""
    folder = templates.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "subject.txt").write_text(subject)
    (folder / "body.txt").write_text(text)
    (folder / "sample.json").write_bytes(msgspec.json.encode(sample))
    if html is not None:
        (folder / "body.html").write_text(html)
    if stream is not None:
        (folder / "template.toml").write_text(f'stream = "{stream}"\n')
