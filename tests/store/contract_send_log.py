"""What every store must do with the send log. `away(store)` makes a store unreachable."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sesight.domain.errors import StoreUnavailable
from sesight.domain.ports import SendLog, Store
from sesight.domain.sending import (
    INTENTS_KEPT,
    RESUMABLE,
    WITHHELD,
    Intent,
    Pause,
    Resumption,
    SendBatch,
    SendState,
)
from sesight.domain.suppression.item import Cause, Suppression
from sesight.domain.timestamps import DAY
from tests.store.contract import NOW, put

LEASE = 60_000
THREADS = 16

batches = itertools.count(1)


def batch_of(number: int, **fields: object) -> SendBatch:
    """Return a batch requested at NOW, with fields replaced as given."""
    values = {
        "id": f"key-7/post#{number}",
        "kind": "request",
        "stream": "outreach",
        "campaign": "spring",
        "fingerprint": "f00d",
        "at": NOW,
        "holder": "me",
        "leased_until": NOW + LEASE,
        "total": 3,
        **fields,
    }
    return SendBatch(**values)


def intent_of(key: str, batch: str = "b", **fields: object) -> Intent:
    """Return an intent claimed at NOW, with fields replaced as given."""
    values = {
        "batch": batch,
        "key": key,
        "send_id": f"s-{key}",
        "stream": "outreach",
        "campaign": "spring",
        "address": key,
        "at": NOW,
        **fields,
    }
    return Intent(**values)


def resumption(after: int) -> Resumption:
    """Return a resumption of outreach, some milliseconds after NOW."""
    return Resumption(stream="outreach", at=NOW + after)


def sent(intent: Intent) -> Intent:
    """Return an intent that SES accepted."""
    return replace(intent, state=SendState.SENT, settled_at=NOW + 1, message_id=f"m-{intent.key}")


def blocks(_: str, items: Collection[Suppression]) -> str | None:
    """Block by the first cause."""
    return next((cause.reason for item in items for cause in item.causes), None)


def suppress(store: Store, stream: str, *addresses: str, reason: str = "complaint") -> None:
    """Commit suppressions."""
    items = [Suppression(stream, one, (Cause(5, "c", reason, 4),)) for one in addresses]
    put(store, suppressions={(one.stream, one.address): one for one in items})


def all_of(
    log: SendLog, batch: str, states: Collection[SendState] = (), limit: int = 7
) -> list[Intent]:
    """Return all intents of a batch, page by page."""
    found: list[Intent] = []
    while page := log.intents(batch, limit, found[-1].key if found else None, states):
        found += page
    return found


def states_of(intents: Iterable[Intent]) -> list[SendState]:
    """Return the states of intents."""
    return [each.state for each in intents]


class Batches:
    """A batch begins once, and one sender at a time works on it."""

    def test_begin(self, store: Store) -> None:
        """A batch is recorded as requested; a second request while it is leased does not change it."""
        log, one = store.sending, batch_of(1)
        assert log.batch(one.id) is None
        assert log.begin(one) == one
        other = replace(one, holder="other", at=NOW + 5, leased_until=NOW + 9 * LEASE, total=9)
        assert (log.begin(other), log.batch(one.id)) == (one, one)

    def test_lease(self, store: Store) -> None:
        """A batch whose lease has ended is leased to the next requester; the rest of it stays."""
        log, one = store.sending, batch_of(1)
        log.begin(one)
        late = replace(
            one, holder="other", at=one.leased_until, leased_until=NOW + 9 * LEASE, total=9
        )
        early = replace(late, at=one.leased_until - 1)
        assert log.begin(early) == one
        taken = replace(one, holder="other", leased_until=late.leased_until)
        assert (log.begin(late), log.batch(one.id)) == (taken, taken)

    def test_hold(self, store: Store) -> None:
        """Only its holder extends or ends a lease."""
        log, one = store.sending, batch_of(1)
        log.begin(one)
        assert log.hold(one.id, "me", NOW + 2 * LEASE)
        assert log.batch(one.id) == replace(one, leased_until=NOW + 2 * LEASE)
        assert log.hold(one.id, "me", NOW + 1)
        assert not log.hold(one.id, "other", NOW + 9 * LEASE)
        assert not log.hold("unknown", "me", NOW + 9 * LEASE)
        assert log.batch(one.id) == replace(one, leased_until=NOW + 1)
        assert log.batch("unknown") is None

    def test_finish(self, store: Store) -> None:
        """A finished batch is leased to no one until it is reopened."""
        log, one = store.sending, batch_of(1)
        log.begin(one)
        log.finish(one.id, NOW + 7)
        log.finish(one.id, NOW + 8)
        log.finish("unknown", NOW + 8)
        done = replace(one, finished_at=NOW + 7)
        late = replace(one, holder="other", at=NOW + 9 * DAY, leased_until=NOW + 10 * DAY)
        assert (log.begin(late), log.batch(one.id), log.batch("unknown")) == (done, done, None)

    def test_reopen(self, store: Store) -> None:
        """A reopened batch is leased to the first requester; one that is leased already stays as it
        is.
        """
        log, one = store.sending, batch_of(1)
        assert log.reopen(one) == one
        other, third = (
            replace(one, holder=name, at=NOW + 5, leased_until=NOW + 2 * LEASE)
            for name in ("other", "third")
        )
        assert log.reopen(other) == one
        log.finish(one.id, NOW + 4)
        taken = replace(one, holder="other", leased_until=NOW + 2 * LEASE)
        assert log.reopen(other) == taken
        assert (log.reopen(third), log.batch(one.id)) == (taken, taken)

    def test_one_holder(self, store: Store) -> None:
        """Of many concurrent requests for a batch, new, expired or finished, exactly one gets the
        lease.
        """
        log, one = store.sending, batch_of(1)

        def ask(n: int, at: int) -> bool:
            asked = replace(one, holder=f"h{n}", at=at, leased_until=at + LEASE)
            return log.reopen(asked).holder == asked.holder

        with ThreadPoolExecutor(THREADS) as threads:
            for at in (NOW, NOW + LEASE):
                assert sum(threads.map(ask, range(THREADS), [at] * THREADS)) == 1
            log.finish(one.id, NOW + LEASE + 1)
            assert sum(threads.map(ask, range(THREADS), [NOW + LEASE + 2] * THREADS)) == 1

    def test_whole(self, store: Store) -> None:
        """A batch without a total is stored without one; kinds and names are stored as they are."""
        odd = batch_of(1, kind="command", campaign="Ü#%~", total=None, stream="finance")
        store.sending.begin(odd)
        assert store.sending.batch(odd.id) == odd


class Claims:
    """An intent is claimed once, and never if its address is suppressed."""

    def test_claim(self, store: Store) -> None:
        """An unclaimed intent is recorded; a second claim returns the first one's intent."""
        log = store.sending
        ours = [intent_of(f"{name}@example.org") for name in "cab"]
        theirs = [replace(each, send_id=f"t-{each.key}", at=NOW + 5) for each in ours]
        assert log.claim(ours[:2], blocks) == ours[:2]
        assert log.claim(theirs, blocks) == [*ours[:2], theirs[2]]
        assert log.claim([], blocks) == []
        assert all_of(log, "b") == [ours[1], theirs[2], ours[0]]

    def test_number_and_content(self, store: Store) -> None:
        """An intent keeps its number in the request and the hash of its content."""
        log, one = store.sending, intent_of("a@example.org", number=7, content="c0ffee")
        assert log.claim([one], blocks) == [one]
        done = sent(one)
        log.settle([done])
        assert all_of(log, "b") == [done]

    def test_repeated(self, store: Store) -> None:
        """Of two intents with one key in one call, the first is recorded."""
        log, one = store.sending, intent_of("a@example.org")
        assert log.claim([one, replace(one, send_id="t")], blocks) == [one, one]
        assert log.progress("b") == {SendState.INTENDED: 1}

    @pytest.mark.parametrize("state", list(SendState))
    def test_again(self, store: Store, state: SendState) -> None:
        """A recipient to whom nothing was sent can be claimed again; one to whom a message was or
        may have been sent cannot.
        """
        log, one = store.sending, intent_of("a@example.org")
        log.claim([one], blocks)
        done = replace(
            one, state=state, settled_at=NOW + 1, code="rate", detail="Too many.", message_id="m"
        )
        log.settle([done])
        anew = replace(one, send_id="t", at=NOW + 9)
        assert log.claim([anew], blocks) == [anew if state in RESUMABLE else done]
        assert all_of(log, "b") == [anew if state in RESUMABLE else done]

    def test_suppressed(self, store: Store) -> None:
        """A recipient whose address or domain is suppressed is recorded as suppressed, with the
        reason.
        """
        log = store.sending
        suppress(store, "outreach", "a@example.org", reason="complaint")
        suppress(store, "outreach", "@example.com", reason="manual")
        suppress(store, "finance", "b@example.org")
        suppress(store, "outreach", "@c.example.org", "example.org", "@org")
        wanted = [
            intent_of("a@example.org"),
            intent_of("b@example.org"),
            intent_of("x@example.com"),
            intent_of("y@sub.example.com"),
            intent_of("stm-1", address="a@example.org", stream="finance"),
            intent_of("~odd", address="odd"),
            intent_of("~none", address=""),
        ]
        reasons = ["complaint", None, "manual", None, None, None, None]
        expected = [
            each
            if reason is None
            else replace(each, state=SendState.SUPPRESSED, code=reason, settled_at=each.at)
            for each, reason in zip(wanted, reasons, strict=True)
        ]
        assert log.claim(wanted, blocks) == expected
        assert all_of(log, "b") == sorted(expected, key=lambda each: each.key)
        assert log.withheld("outreach", "spring") == {SendState.SUPPRESSED: 2}

    def test_blocks_decides(self, store: Store) -> None:
        """`blocks` receives the stream and the items of address and domain, nothing else; when it
        raises, no one is claimed.
        """
        log, asked = store.sending, []
        suppress(store, "outreach", "a@example.org", "@example.org", "b@example.org")

        def tell(stream: str, items: Collection[Suppression]) -> None:
            asked.append((stream, sorted(item.address for item in items)))

        def fail(stream: str, items: Collection[Suppression]) -> None:
            raise StoreUnavailable("No policy.")

        one = intent_of("a@example.org")
        with pytest.raises(StoreUnavailable):
            log.claim([replace(one, send_id="t")], fail)
        assert log.claim([one], tell) == [one]
        assert asked == [("outreach", ["@example.org", "a@example.org"])]

    def test_lifted(self, store: Store) -> None:
        """A recipient whose suppression was lifted since the last attempt is claimed, and no longer
        counts as withheld.
        """
        log, one = store.sending, intent_of("a@example.org")
        suppress(store, "outreach", "a@example.org")
        assert states_of(log.claim([one], blocks)) == [SendState.SUPPRESSED]
        put(store, suppressions={("outreach", one.address): Suppression("outreach", one.address)})
        anew = replace(one, send_id="t", at=NOW + 9)
        assert log.claim([anew], blocks) == [anew]
        assert (log.withheld("outreach", "spring"), log.progress("b")) == (
            {},
            {SendState.INTENDED: 1},
        )

    def test_many(self, store: Store) -> None:
        """Hundreds of intents of several batches and streams are claimed and settled in one call."""
        log = store.sending
        wanted = [
            intent_of(
                f"p{n:03d}@d{n % 7}.example.org",
                f"b{n % 2}",
                stream=("outreach", "finance")[n % 3 == 0],
                campaign=f"c{n % 5}",
            )
            for n in range(311)
        ]
        suppress(store, "outreach", *(each.address for each in wanted[::4]), "@d6.example.org")
        found = log.claim(wanted, blocks)
        suppressed = {n for n in range(311) if n % 3 and (n % 4 == 0 or n % 7 == 6)}
        assert [n for n, each in enumerate(found) if each.state is SendState.SUPPRESSED] == sorted(
            suppressed
        )
        log.settle([sent(each) for each in found if each.state is SendState.INTENDED])
        for number in (0, 1):
            mine = [n for n in range(311) if n % 2 == number]
            counts = {
                SendState.SUPPRESSED: len(suppressed.intersection(mine)),
                SendState.SENT: len(set(mine) - suppressed),
            }
            assert log.progress(f"b{number}") == counts
        for campaign in range(5):
            withheld = sum(n % 5 == campaign for n in suppressed)
            assert log.withheld("outreach", f"c{campaign}") == {SendState.SUPPRESSED: withheld}
            assert log.withheld("finance", f"c{campaign}") == {}

    def test_one_winner(self, reopen: Callable[..., Store], store: Store) -> None:
        """Sixteen senders that claim the same keys, over two stores, get each key exactly once in
        all.
        """
        stores = [store, reopen()]
        keys = [f"p{n:02d}@example.org" for n in range(40)]

        def claim(n: int) -> list[str]:
            log = stores[n % 2].sending
            won = []
            turned = keys[n:] + keys[:n]
            for some in (turned[:11], turned[11:]):
                wanted = [intent_of(key, send_id=f"{n}-{key}") for key in some]
                found = log.claim(wanted, blocks)
                won += [
                    each.key
                    for each, asked in zip(found, wanted, strict=True)
                    if each.state is SendState.INTENDED and each.send_id == asked.send_id
                ]
            return won

        with ThreadPoolExecutor(THREADS) as threads:
            won = list(itertools.chain.from_iterable(threads.map(claim, range(THREADS))))
        assert sorted(won) == keys
        assert store.sending.progress("b") == {SendState.INTENDED: len(keys)}
        stores[1].close()

    def test_suppressions_meanwhile(self, reopen: Callable[..., Store], store: Store) -> None:
        """A claim never misses a suppression committed before it: neither if the claim began
        afterwards, nor if nothing of the claim was visible afterwards.
        """
        other = reopen()
        addresses = [f"p{n:03d}@d{n % 40}.example.org" for n in range(120)]
        committed: set[str] = set()
        must: set[str] = set()
        began = threading.Barrier(3)

        def suppressing(n: int) -> None:
            began.wait()
            mine = addresses[n::2]
            for at in range(0, len(mine), 3):
                some = mine[at : at + 3]
                if at % 2:  # whole domains
                    suppress(other, "outreach", *(f"@{one.split('@')[1]}" for one in some))
                else:
                    suppress(other, "outreach", *some)
                committed.update(some)
                seen = {each.key for each in other.sending.intents("b", 500)}
                must.update(set(some) - seen)

        def claiming() -> dict[str, SendState]:
            began.wait()
            found = {}
            for at in range(0, len(addresses), 4):
                some = addresses[at : at + 4]
                must.update(committed.intersection(some))
                claimed = store.sending.claim([intent_of(one) for one in some], blocks)
                found.update((each.key, each.state) for each in claimed)
            return found

        with ThreadPoolExecutor(3) as threads:
            suppressors = [threads.submit(suppressing, n) for n in (0, 1)]
            found = threads.submit(claiming).result()
            for each in suppressors:
                each.result()
        assert {one for one in must if found[one] is not SendState.SUPPRESSED} == set()
        assert {each.key: each.state for each in all_of(store.sending, "b")} == found
        other.close()


class Results:
    """The results of intents, and the counts made of them."""

    EXAMPLES = 200
    """How often the law is tried."""

    def test_settle(self, store: Store) -> None:
        """The result of an intent replaces it; the result of another attempt does not."""
        log, one = store.sending, intent_of("a@example.org")
        log.claim([one], blocks)
        other = sent(replace(one, send_id="t"))
        log.settle([other])
        assert all_of(log, "b") == [one]
        log.settle([sent(one)])
        assert all_of(log, "b") == [sent(one)]
        assert log.progress("b") == {SendState.SENT: 1}

    def test_settle_unclaimed(self, store: Store) -> None:
        """A message that cannot be sent to anyone is recorded without a claim; of two results in
        one call the later counts, unless another attempt may have sent something.
        """
        log = store.sending
        one = intent_of(
            "~f00d", address="", state=SendState.INVALID, code="address", detail="No @."
        )
        log.settle(
            [one, replace(one, code="later"), replace(one, send_id="t", state=SendState.UNKNOWN)]
        )
        log.settle([])
        assert all_of(log, "b") == [replace(one, code="later")]
        assert log.withheld("outreach", "spring") == {SendState.INVALID: 1}

    def test_whole(self, store: Store) -> None:
        """Any intent is read as it was written."""
        one = intent_of(
            "Ünïcode#%~ \n@example.org",
            "b#%/~",
            send_id="s#",
            campaign="c#%",
            state=SendState.REFUSED,
            settled_at=NOW + 5,
            message_id="m",
            code="",
            detail="Too \u2028 long: 'x'.",
        )
        store.sending.settle([one])
        assert all_of(store.sending, one.batch) == [one]
        assert store.sending.withheld("outreach", "c#%") == {SendState.REFUSED: 1}

    def test_pages(self, store: Store) -> None:
        """Intents are listed in the order of their keys, page by page, in the requested states."""
        log = store.sending
        keys = ["~~", "~1", "Z", "a", "ä", "a#", "a%", "a ", "0", "\U0001f600", "\ufffd", "B"]
        keys += [f"p{n}@example.org" for n in range(60)]
        everyone = [
            intent_of(key, state=list(SendState)[n % 4], address="x@y")
            for n, key in enumerate(keys)
        ]
        log.settle(everyone)
        log.settle([intent_of("p1", "other")])
        ordered = sorted(everyone, key=lambda each: each.key)
        for limit in (1, 7, 500):
            assert all_of(log, "b", limit=limit) == ordered
        for states in ([SendState.SENT], (SendState.SENT, SendState.INVALID), {SendState.UNKNOWN}):
            of_states = [each for each in ordered if each.state in states]
            for limit in (2, 500):
                assert all_of(log, "b", states, limit) == of_states
        assert log.intents("b", 2, "p58@example.org") == ordered[-11:][:2]
        assert (all_of(log, "unknown"), log.progress("unknown")) == ([], {})

    def test_law(self, store: Store) -> None:
        """After any claims and results in any order, the log has what a dictionary would have, and
        progress and withheld are its counts.
        """
        suppress(store, "outreach", "a@x.example", "@z.example")
        suppress(store, "finance", "b@y.example")
        suppressed = {
            ("outreach", "a@x.example"),
            ("outreach", "c@z.example"),
            ("finance", "b@y.example"),
        }
        intents = st.builds(
            lambda which, send_id, stream, campaign, state: intent_of(
                which, "?", send_id=send_id, stream=stream, campaign=campaign, state=state
            ),
            st.sampled_from(["a@x.example", "b@y.example", "c@z.example"]),
            st.sampled_from("12"),
            st.sampled_from(["outreach", "finance"]),
            st.sampled_from("cd"),
            st.sampled_from(SendState),
        )
        steps = st.lists(
            st.tuples(st.booleans(), st.lists(intents, min_size=1, max_size=4)), max_size=8
        )

        @given(steps)
        def law(steps: list[tuple[bool, list[Intent]]]) -> None:
            mark = next(batches)
            log, model = store.sending, {}
            withheld: Counter[tuple[str, str, SendState]] = Counter()

            def record(intent: Intent) -> None:
                before = model.get(intent.key)
                for each, change in ((before, -1), (intent, 1)):
                    if each is not None and each.state in WITHHELD:
                        withheld[each.stream, each.campaign, each.state] += change
                model[intent.key] = intent

            for claims, drawn in steps:
                told = [
                    replace(each, batch=f"law-{mark}", campaign=f"{each.campaign}-{mark}")
                    for each in drawn
                ]
                if claims:
                    told = [replace(each, state=SendState.INTENDED) for each in told]
                    for each in {each.key: each for each in reversed(told)}.values():
                        if each.key not in model or model[each.key].state in RESUMABLE:
                            blocked = (each.stream, each.address) in suppressed
                            record(
                                replace(
                                    each,
                                    state=SendState.SUPPRESSED,
                                    code="complaint",
                                    settled_at=each.at,
                                )
                                if blocked
                                else each
                            )
                    assert log.claim(told, blocks) == [model[each.key] for each in told]
                else:
                    log.settle(told)
                    for each in told:
                        held = model.get(each.key)
                        if (
                            held is None
                            or held.send_id == each.send_id
                            or (held.state in RESUMABLE and each.state in RESUMABLE)
                        ):
                            record(each)
            assert all_of(log, f"law-{mark}") == [model[key] for key in sorted(model)]
            assert log.progress(f"law-{mark}") == Counter(each.state for each in model.values())
            for stream, campaign in itertools.product(("outreach", "finance"), "cd"):
                named = f"{campaign}-{mark}"
                assert log.withheld(stream, named) == {
                    state: withheld[stream, named, state]
                    for state in WITHHELD
                    if withheld[stream, named, state]
                }

        settings(max_examples=self.EXAMPLES)(law)()

    def test_counted_at_once(self, store: Store) -> None:
        """Concurrent results are all counted."""
        log = store.sending
        states = [SendState.REFUSED, SendState.SENT, SendState.INVALID, SendState.UNKNOWN]

        def settle(n: int) -> None:
            some = [intent_of(f"{n}-{m}") for m in range(8)]
            log.claim(some, blocks)
            log.settle([replace(each, state=states[m % 4]) for m, each in enumerate(some)])

        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(settle, range(THREADS)))
        assert log.progress("b") == dict.fromkeys(states, 2 * THREADS)
        assert log.withheld("outreach", "spring") == {
            SendState.REFUSED: 2 * THREADS,
            SendState.INVALID: 2 * THREADS,
        }


class Pauses:
    """Paused streams."""

    def test_pause(self, store: Store) -> None:
        """A paused stream keeps its first reason until it is resumed, and the resumption is
        remembered.
        """
        log = store.sending
        first = Pause(stream="outreach", at=NOW, by="ses", detail="SES has paused it.")
        second = Pause(stream="outreach", at=NOW + 1, by="operator", detail="Me too.")
        finance = Pause(stream="finance", at=NOW + 2, by="reputation", detail="Bounces.")
        at = [
            Resumption(stream="outreach", at=NOW + n, counts=counts)
            for n, counts in ((9, {"attempted": 7, "reached": 6}), (10, {}))
        ]
        assert (log.pauses(), log.resumption("outreach")) == ({}, None)
        for pause in (first, second, finance):
            log.pause(pause)
        assert log.pauses() == {"outreach": first, "finance": finance}
        assert log.resume(at[0]) == first
        assert (log.pauses(), log.resumption("outreach")) == ({"finance": finance}, at[0])
        assert log.resume(at[1]) is None
        log.pause(second)
        assert log.pauses() == {"outreach": second, "finance": finance}
        assert (log.resumption("outreach"), log.resumption("finance")) == (at[1], None)

    def test_first_reason(self, store: Store) -> None:
        """Of many concurrent pauses of a stream, one is stored and returned."""
        log = store.sending
        many = [Pause(stream="outreach", at=NOW + n, by="ses", detail=f"{n}") for n in range(16)]
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(log.pause, many))
            reason = log.pauses()["outreach"]
            told = list(threads.map(lambda n: log.resume(resumption(n)), range(THREADS)))
        assert reason in many
        assert [each for each in told if each is not None] == [reason]
        assert log.pauses() == {}


class Keeping:
    """How long the log is kept, and its errors while the store is unreachable."""

    def test_reopened(self, store: Store, reopen: Callable[..., Store]) -> None:
        """What was recorded is there when the store is opened again."""
        one, intent = batch_of(1), intent_of("a@example.org")
        store.sending.begin(one)
        store.sending.claim([intent], blocks)
        again = reopen()
        assert (again.sending.batch(one.id), all_of(again.sending, "b")) == (one, [intent])
        again.close()

    def test_sweep(self, store: Store) -> None:
        """Old batches and intents are deleted, up to the limit; withheld recipients stay counted."""
        log = store.sending
        old = batch_of(1, at=NOW - INTENTS_KEPT * DAY - 1)
        new = batch_of(2, at=NOW - INTENTS_KEPT * DAY)
        for one in (old, new):
            log.begin(one)
            log.settle(
                [
                    intent_of(
                        f"{n}@example.org", one.id, at=one.at + n // 5, state=SendState.REFUSED
                    )
                    for n in range(6)
                ]
            )
        assert store.sweep(NOW, 3).intents == 3
        assert log.batch(old.id) == old
        assert len(all_of(log, old.id)) == 3
        assert store.sweep(NOW, 3).intents == 2
        assert [each.key for each in all_of(log, old.id)] == ["5@example.org"]
        assert store.sweep(NOW + 1, 99).intents == 6
        assert (log.batch(old.id), log.batch(new.id)) == (None, new)
        assert (all_of(log, old.id), log.progress(old.id)) == ([], {})
        assert [each.key for each in all_of(log, new.id)] == ["5@example.org"]
        assert log.withheld("outreach", "spring") == {SendState.REFUSED: 12}
        assert store.sweep(NOW + DAY, 99).intents == 1
        assert log.batch(new.id) is None

    def test_away(self, store: Store, away: Callable[[Store], None]) -> None:
        """While the store is unreachable, every call of the log raises StoreUnavailable."""
        log, one, intent = store.sending, batch_of(1), intent_of("a@example.org")
        pause = Pause(stream="outreach", at=NOW, by="ses", detail="x")
        away(store)
        for ask in (
            lambda: log.begin(one),
            lambda: log.hold(one.id, "me", NOW),
            lambda: log.finish(one.id, NOW),
            lambda: log.reopen(one),
            lambda: log.batch(one.id),
            lambda: log.claim([intent], blocks),
            lambda: log.settle([intent]),
            lambda: log.intents("b", 1),
            lambda: log.progress("b"),
            lambda: log.withheld("outreach", "spring"),
            log.pauses,
            lambda: log.pause(pause),
            lambda: log.resume(resumption(0)),
            lambda: log.resumption("outreach"),
        ):
            with pytest.raises(StoreUnavailable):
                ask()
