"""Strategies for any record that is possible, including improbable ones: a store must keep all
without loss.
"""

from hypothesis import strategies as st

from sesight.domain.event import (
    UNATTRIBUTED,
    Accepted,
    Bounce,
    Click,
    Complaint,
    Delivery,
    DeliveryDelay,
    Identity,
    Open,
    Reject,
    RenderingFailure,
    Send,
    Subscription,
)
from sesight.domain.record import Record
from sesight.domain.tally import LinkTally, Tally, TallyDimensions


def ses_id(at: int, number: int = 0) -> str:
    """Return a message id of SES's form."""
    return f"0102{at:012x}-{number:08x}-6a7b-4c8d-9e0f-1a2b3c4d0001-000000"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
shared = st.sampled_from(["a", "b", "Mozilla/5.0", "", "250 ok queued", "1", "0"])
some_text = st.none() | texts | shared
ips = st.none() | st.sampled_from(["203.0.113.0", "2001:db8:1::", "1.2.3.4", "01.2.3.0", "x"])
bots = st.sampled_from([None, "Likely", "Unlikely", "Perhaps"])
numbers = st.none() | st.integers(-(2**40), 2**40)
several = st.none() | st.lists(texts, max_size=3).map(tuple)
times = st.integers(0, 2**41) | st.integers(0, 253_402_300_799_999)
clocks = st.sampled_from([None, None, "sent", "zoneless", "other"])
occurrences = st.one_of(
    st.builds(Accepted, times, clocks),
    st.builds(Send, times, clocks),
    st.builds(DeliveryDelay, times, clocks, some_text, some_text, some_text, some_text, numbers),
    st.builds(Delivery, times, clocks, some_text, some_text, numbers),
    st.builds(Bounce, times, clocks, *[some_text] * 7),
    st.builds(Complaint, times, clocks, some_text, some_text, some_text, several),
    st.builds(Open, times, clocks, some_text, ips, bots),
    st.builds(Click, times, clocks, some_text, ips, bots, some_text),
    st.builds(Subscription, times, clocks, some_text, several, some_text, several),
    st.builds(Reject, times, clocks, some_text),
    st.builds(RenderingFailure, times, clocks, some_text, some_text),
)
tags = st.lists(st.tuples(texts | shared, texts | st.just("4711 x")), max_size=4).map(tuple)
identities = st.builds(
    Identity,
    times,
    some_text,
    some_text,
    some_text,
    some_text,
    some_text,
    tags | tags.map(lambda pairs: tuple(sorted(pairs))),
    shared,
)
places = st.none() | st.builds(
    TallyDimensions,
    shared,
    texts,
    st.integers(0, 10**6),
    shared,
    some_text,
    some_text,
    st.none() | st.integers(0, 10**5),
    some_text,
    some_text,
    tags,
)
small = st.integers(0, 40)
links = st.lists(st.builds(LinkTally, texts, small, small, small), max_size=2).map(tuple)
tallies = st.none() | st.builds(
    Tally,
    st.integers(0, 9),
    places,
    st.integers(0, 23),
    st.integers(-1, 8),
    st.integers(0, 2**16),
    st.lists(small, max_size=6).map(tuple),
    st.lists(st.none() | small, max_size=4).map(tuple),
    links,
)
message_ids = texts | st.builds(ses_id, st.integers(0, 2**48 - 1), st.integers(0, 2**32 - 1))
message_ids |= message_ids.map(str.upper) | message_ids.map(lambda one: one[:-1] + "7")
records = st.builds(
    Record,
    message_ids,
    texts | st.just(UNATTRIBUTED),
    st.sampled_from(["outreach", "finance"]),
    identities,
    st.lists(occurrences, max_size=6).map(tuple),
    st.integers(0, 2**11),
    some_text,
    tallies,
)
