"""Lines about refusals: one a reason and minute, with their number."""

import pytest

from sesight.ingest.http.refusal_log import SECONDS, RefusalLog
from sesight.ingest.http.refusals import PASSING, REFUSED

TOPIC = "The topic is not in [[topics]]: add its ARN if the topic is yours."
AGAIN = "The sender will retry."


class Time:
    """Calls what is due when it is told to go on."""

    def __init__(self) -> None:
        self.due = []

    def later(self, seconds: float, call) -> None:
        assert seconds == SECONDS
        self.due.append(call)

    def pass_a_minute(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


def test_one_line_a_reason_and_minute(caplog) -> None:
    """The first at once, the rest of its minute together after it, and when none come there is none."""
    time = Time()
    refusals = RefusalLog(time.later)
    for _ in range(1_500):
        refusals.add("foreign-topic", 403)
    refusals.add("busy", 503)
    assert caplog.messages == [
        f"INTAKE_REFUSED foreign-topic 403 once. {TOPIC}",
        f"INTAKE_REFUSED busy 503 once. {AGAIN}",
    ]
    caplog.clear()
    time.pass_a_minute()
    refusals.add("foreign-topic", 403)
    assert caplog.messages == [f"INTAKE_REFUSED foreign-topic 403 1,499 times. {TOPIC}"]
    caplog.clear()
    time.pass_a_minute()
    time.pass_a_minute()
    assert caplog.messages == [f"INTAKE_REFUSED foreign-topic 403 once. {TOPIC}"]
    assert time.due == []
    refusals.add("foreign-topic", 403)
    assert len(caplog.messages) == 2


def test_what_is_counted_is_told_at_the_end(caplog) -> None:
    """A server that stops says what it had counted, and then nothing again."""
    time = Time()
    refusals = RefusalLog(time.later)
    for _ in range(3):
        refusals.add("signature", 403)
    caplog.clear()
    refusals.flush()
    refusals.flush()
    time.pass_a_minute()
    assert [message.split(".")[0] for message in caplog.messages] == [
        "INTAKE_REFUSED signature 403 2 times"
    ]


@pytest.mark.parametrize("reason", sorted({*REFUSED, *PASSING}))
def test_each_reason_says_what_to_do(caplog, reason) -> None:
    """A line is one line, in sentences."""
    RefusalLog(Time().later).add(reason, 400)
    (line,) = caplog.messages
    assert line.startswith(f"INTAKE_REFUSED {reason} 400 once. ")
    assert (line.endswith("."), "\n" in line) == (True, False)
