"""Templates in tests, written into a folder."""

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
    rendering: str | None = None,
    **sample: Any,
) -> None:
    """Write a template; `sample` holds the values of its sample."""
    folder = templates.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "subject.txt").write_text(subject)
    (folder / "body.txt").write_text(text)
    (folder / "sample.json").write_bytes(msgspec.json.encode(sample))
    if html is not None:
        (folder / "body.html").write_text(html)
    settings = {"stream": stream, "rendering": rendering}
    lines = [f'{name} = "{value}"\n' for name, value in settings.items() if value is not None]
    if lines:
        (folder / "template.toml").write_text("".join(lines))
