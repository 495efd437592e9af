"""The answers of read routes within this process: a route's function is called, without a web application."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from sesight.api.dependencies import Services
from sesight.api.problem import mismatched, problem_of, wrong_parameter
from sesight.api.route import FUNCTION


def answer_to(
    route: HTTPRouteHandler, query: Mapping[str, Any], services: Services, **path: str
) -> tuple[int, bytes]:
    """Return status and body of a read route's JSON answer, the same as over HTTP.

    `query` has parameters by their names in a URL, None for one that is not given; `path` has those of
    the route's path by the names of its function.
    """
    function: Callable[..., Any] = route.opt[FUNCTION]
    try:
        # only files of rows look at the request, and a command has those by other means
        of_http = {"request": None} if "request" in function.__annotations__ else {}
        content = function(
            services=services, **of_http, **path, **dict(_arguments(function, query))
        )
    except Exception as error:  # noqa: BLE001 - as over HTTP: a problem says it, the log knows more
        found = problem_of(error, services.new_request_id(), min(route.paths))
        return found.status, msgspec.json.encode(found)
    return 200, msgspec.json.encode(content.content if isinstance(content, Response) else content)


def _arguments(function: Callable[..., Any], query: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the function's arguments that the query gives. Raises InvalidParameter."""
    for argument, hint in get_type_hints(function, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue
        of, *metadata = get_args(hint)
        for parameter in metadata:
            if isinstance(parameter, QueryParameter):
                name = parameter.name or argument
                value = query.get(name)
                if value is None:
                    continue
                if (found := mismatched(value, of, parameter)) is not None:
                    raise wrong_parameter(found, name)
                yield argument, value
