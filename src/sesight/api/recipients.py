"""The routes of one person."""

from __future__ import annotations

from litestar.params import FromPath, JSONBody
from msgspec import Struct

from sesight.api.parameters import InjectedServices, StreamsParameter
from sesight.api.route import ask, read
from sesight.services.recipients import Person, person_by_address, person_by_id


class Lookup(Struct, frozen=True):
    """The address to look up."""

    address: str


@ask("/recipients/lookup")
def lookup(services: InjectedServices, data: JSONBody[Lookup]) -> Person:
    """Find a person by address. The address is in the body to keep it out of URLs and logs."""
    return person_by_address(services, data.address)


@read("/recipients/{rid:str}")
def recipient(
    services: InjectedServices, rid: FromPath[str], stream: StreamsParameter = None
) -> Person:
    """One person: whether each stream may mail them, suppressions with history, counts and records."""
    return person_by_id(services, rid, stream)
