"""Templates that SES holds: made there, or brought up to date, from those of the folder."""

from __future__ import annotations

from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from sesight.domain.errors import SesightError
from sesight.send.templates.handlebars import BySes

PushResult = Literal["created", "updated", "unchanged"]
"""What is done to SES's own copy."""


class PushFailed(SesightError):
    """SES did not take a template; the text says why."""


class SesTemplates:
    """The templates of an account in one region."""

    def __init__(self, client: Any) -> None:
        """Keep a client of SES v2."""
        self._client = client

    def push(self, template: BySes, *, dry: bool = False) -> PushResult:
        """Have SES hold a template under its name; return what was done, or if `dry` would be.

        Raises NotPushed.
        """
        try:
            held = self._held(template.name)
            if held == template.content:
                return "unchanged"
            call = (
                self._client.create_email_template
                if held is None
                else self._client.update_email_template
            )
            if not dry:
                call(TemplateName=template.name, TemplateContent=dict(template.content))
        except ClientError as error:
            said = error.response["Error"]
            raise PushFailed(
                f"SES did not take the template {template.name}: {said['Code']}: {said['Message']}"
            ) from None
        except BotoCoreError as error:
            raise PushFailed(f"SES could not be asked: {str(error).rstrip('.')}.") from None
        return "created" if held is None else "updated"

    def _held(self, name: str) -> dict[str, str] | None:
        """Return what SES holds under a name, as `content` is; None for nothing."""
        try:
            content = self._client.get_email_template(TemplateName=name)["TemplateContent"]
        except self._client.exceptions.NotFoundException:
            return None
        return {part: content[part] for part in ("Subject", "Text", "Html") if content.get(part)}
