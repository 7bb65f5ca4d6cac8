"""Late, old, silent or unseen: no heartbeat moves an arm but one that is fresh, from a page that sees the robot."""

from hypothesis import given
from hypothesis import strategies as st

from hardware.page.dead_man import DeadMan, Pulses, Verdict

MS = 1_000_000
SECOND = 1_000_000_000


class Person:
    """A page whose link takes `way_ms` each way; pulses leave every 40 ms and heartbeats every 25 ms."""

    def __init__(self) -> None:
        self.pulses = Pulses()
        self.dead_man = DeadMan(self.pulses)
        self.sequence = 0
        self.pulses.send(0)
        self.sent_ns = 0

    def beat(self, now_ns: int, is_held: bool, way_ms: float = 1.0, echo: int | None = None) -> Verdict:
        while self.sent_ns + 40 * MS <= now_ns - 2 * way_ms * MS:
            self.sent_ns += 40 * MS
            self.pulses.send(self.sent_ns)
        self.sequence += 1
        since_s = (now_ns - 2 * way_ms * MS - self.sent_ns) / SECOND
        number = self.pulses.newest if echo is None else echo
        return self.dead_man.hear(now_ns, self.sequence, number, since_s, is_held)


def test_a_held_key_moves_once_nothing_was_held() -> None:
    person = Person()
    assert person.beat(1 * SECOND, True) == "let_go_first"
    assert person.beat(1 * SECOND + 25 * MS, False) == "rests"
    assert person.beat(1 * SECOND + 50 * MS, True) == "moves"
    assert person.dead_man.dropped == 1


def test_after_silence_the_key_must_be_let_go() -> None:
    person = Person()
    person.beat(1 * SECOND, False)
    assert person.beat(1 * SECOND + 25 * MS, True) == "moves"
    assert person.beat(3 * SECOND, True) == "let_go_first"
    assert person.beat(3 * SECOND + 25 * MS, True) == "let_go_first"
    assert person.beat(3 * SECOND + 50 * MS, False) == "rests"
    assert person.beat(3 * SECOND + 75 * MS, True) == "moves"


def test_a_burst_that_waited_in_a_queue_is_dropped_whole() -> None:
    """Thirty heartbeats were sent while the network stood still; they all arrive 1.5 s later, with old echoes."""
    person = Person()
    person.beat(1 * SECOND, False)
    person.beat(1 * SECOND + 25 * MS, True)
    echo = person.pulses.newest
    arrived_ns = 2 * SECOND + 500 * MS
    verdicts = []
    for number in range(30):
        person.sequence += 1
        since_s = 0.03 + 0.025 * number
        verdicts.append(person.dead_man.hear(arrived_ns + number, person.sequence, echo, since_s, True))
    assert set(verdicts) <= {"late", "let_go_first"}
    assert "moves" not in verdicts


@given(st.floats(0, 400))
def test_a_link_that_lags_moves_nothing(way_ms: float) -> None:
    person = Person()
    person.beat(2 * SECOND, False, way_ms)
    verdict = person.beat(2 * SECOND + 25 * MS, True, way_ms)
    if 2 * way_ms < 119:
        assert verdict == "moves"
    elif 2 * way_ms > 121:
        assert verdict == "late"


def test_a_page_that_has_not_seen_the_robot_lately_moves_nothing() -> None:
    """The way down is dead while the way up works: `since_s` grows."""
    pulses = Pulses()
    dead_man = DeadMan(pulses)
    pulses.send(0)
    assert dead_man.hear(10 * MS, 1, 1, 0.009, False) == "rests"
    assert dead_man.hear(35 * MS, 2, 1, 0.034, True) == "moves"
    assert dead_man.hear(160 * MS, 3, 1, 0.159, True) == "moves"
    assert dead_man.hear(300 * MS, 4, 1, 0.299, True) == "late"


def test_a_heartbeat_that_comes_again_or_names_no_pulse_counts_for_nothing() -> None:
    person = Person()
    person.beat(1 * SECOND, False)
    person.beat(1 * SECOND + 25 * MS, True)
    assert person.dead_man.hear(1 * SECOND + 30 * MS, person.sequence, person.pulses.newest, 0.0, True) == "older"
    assert person.beat(1 * SECOND + 50 * MS, True, echo=10_000) == "late"
    assert person.dead_man.trip_s is None
