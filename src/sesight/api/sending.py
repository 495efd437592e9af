"""The routes that send mail: requests with a result for each recipient, and jobs for larger mailings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody
from msgspec import Struct

from sesight.api.parameters import CursorParameter, InjectedServices, LimitParameter
from sesight.api.route import ask, read
from sesight.api.send_answer import SendAnswer, answer_to_send
from sesight.domain.errors import InvalidParameter, InvalidRequest, SendingStopped
from sesight.domain.sending import JobResult, SendJob, SendResult, StatementMail, TemplateMail
from sesight.domain.timestamps import iso
from sesight.services import Services, StreamRoutes
from sesight.services.recipient_id import seal, unseal

if TYPE_CHECKING:
    from sesight.services.sending import SendService

RESULTS = 100
"""Results on a page if no limit is given."""

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description=(
            "The same request with the same key is sent once, and repeated requests get the first "
            "answer; recipients that were throttled are tried again."
        ),
    ),
]


class JobAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """The progress of a job; `counts` has the number of recipients by state so far."""

    id: str
    stream: str
    campaign: str
    state: str
    total: int
    counts: dict[str, int]
    started_at: str | None
    finished_at: str | None
    detail: str | None


class JobResults(Struct, frozen=True, rename="camel"):
    """Results of a job, in the order of its request, of the recipients that have been tried."""

    data: list[JobResult]
    next_cursor: str | None


ANSWERS = {
    207: ResponseSpec(SendAnswer, description="Some were not sent, each for a reason of its own."),
    503: ResponseSpec(SendAnswer, description="No recipient could be tried now."),
}
"""The answers to a request of which not all recipients were sent to."""


def sending_routes(routes: StreamRoutes) -> list[HTTPRouteHandler]:
    """Return the routes that send a stream's template mail."""
    path, stream = routes.send, routes.stream

    @ask(path, operation_id=f"send_{stream}", summary=f"Send: {stream}", responses=ANSWERS)
    def send(
        services: InjectedServices, data: JSONBody[TemplateMail], key: IdempotencyKey = None
    ) -> Response[SendAnswer]:
        """Send template mail to at most 100 recipients. 200: all were sent; 207: some were not, each for a
        reason of its own; 503: none could be tried.
        """
        return _response(send_service(services).send_mail(stream, data, key))

    @ask(
        f"{path}/jobs",
        operation_id=f"send_{stream}_job",
        summary=f"Send a job: {stream}",
        status_code=202,
    )
    def send_job(
        services: InjectedServices, data: JSONBody[TemplateMail], key: IdempotencyKey = None
    ) -> JobAnswer:
        """Start a job that sends to at most 10,000 recipients, or continue it."""
        return _job(send_service(services).start_mail_job(stream, data, required_key(key)))

    return [send, send_job, *job_routes(routes)]


def statement_routes(routes: StreamRoutes) -> list[HTTPRouteHandler]:
    """Return the routes that send a stream's statements."""
    path, stream = routes.send, routes.stream

    @ask(path, operation_id=f"send_{stream}", summary=f"Send: {stream}", responses=ANSWERS)
    def send(
        services: InjectedServices, data: JSONBody[StatementMail], key: IdempotencyKey = None
    ) -> Response[SendAnswer]:
        """Send at most 100 statements. 200: all were sent; 207: some were not, each for a reason of its own;
        503: none could be tried.
        """
        return _response(send_service(services).send_statements(stream, data, key))

    @ask(
        f"{path}/jobs",
        operation_id=f"send_{stream}_job",
        summary=f"Send a job: {stream}",
        status_code=202,
    )
    def send_job(
        services: InjectedServices, data: JSONBody[StatementMail], key: IdempotencyKey = None
    ) -> JobAnswer:
        """Start a job that sends at most 10,000 statements, or continue it."""
        return _job(send_service(services).start_statement_job(stream, data, required_key(key)))

    return [send, send_job, *job_routes(routes)]


def required_key(key: str | None) -> str:
    """Return a job's key. Raises InvalidParameter if there is none."""
    if key is None:
        raise InvalidParameter(
            "Idempotency-Key",
            "Idempotency-Key: a job needs one, so that the same request continues it.",
        )
    return key


def job_routes(routes: StreamRoutes) -> list[HTTPRouteHandler]:
    """Return the routes that read a stream's jobs."""
    path, stream = f"{routes.send}/jobs", routes.stream

    @read(f"{path}/{{job_id:str}}", operation_id=f"{stream}_job", summary=f"A job: {stream}")
    def job(services: InjectedServices, job_id: FromPath[str]) -> JobAnswer:
        """The progress of a job."""
        return _job(send_service(services).job(stream, job_id))

    @read(
        f"{path}/{{job_id:str}}/results",
        operation_id=f"{stream}_job_results",
        summary=f"A job's results: {stream}",
    )
    def job_results(
        services: InjectedServices,
        job_id: FromPath[str],
        limit: LimitParameter = None,
        cursor: CursorParameter = None,
    ) -> JobResults:
        """The results of a job, page by page."""
        query, key = f"{stream} job {job_id}", services.recipient_key
        after = 0 if cursor is None else read_offset(cursor, query, key)
        results, end = send_service(services).job_results(stream, job_id, limit or RESULTS, after)
        return JobResults(results, None if end is None else seal(str(end), query, key))

    return [job, job_results]


def read_offset(cursor: str, query: str, key: bytes) -> int:
    """Return the number of results before a cursor. Raises InvalidParameter."""
    try:
        return int(unseal(cursor, query, key))
    except InvalidRequest as error:
        raise InvalidParameter("cursor", f"cursor: {error}") from error


def send_service(services: Services) -> SendService:
    """Return the send service. Raises SendingStopped if this process sends no mail."""
    if services.sending is None:
        raise SendingStopped("This server sends no mail.")
    return services.sending()


def _response(results: list[SendResult]) -> Response[SendAnswer]:
    answered = answer_to_send(results)
    headers = {} if answered.retry_after is None else {"retry-after": str(answered.retry_after)}
    return Response(answered.answer, status_code=answered.status, headers=headers)


def _job(job: SendJob) -> JobAnswer:
    return JobAnswer(
        id=job.id,
        stream=job.stream,
        campaign=job.campaign,
        state=job.state,
        total=job.total,
        counts=job.counts,
        started_at=iso(job.started_at),
        finished_at=iso(job.finished_at),
        detail=job.detail,
    )
