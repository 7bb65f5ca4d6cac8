"""One person drives; another gets the controls when they are handed over, left, or nobody is there any more."""

from hardware.page.seat import Seat


def test_a_free_seat_is_had_for_the_asking_and_a_taken_one_is_not() -> None:
    seat = Seat()
    assert seat.ask(1)
    assert not seat.ask(2)
    assert (seat.now.holder, seat.now.asking) == (1, (2,))


def test_the_holder_hands_over_to_one_that_asked() -> None:
    seat = Seat()
    seat.ask(1)
    seat.ask(2)
    assert not seat.hand_over(2, to=2)
    assert not seat.hand_over(1, to=3)
    assert seat.hand_over(1, to=2)
    assert (seat.now.holder, seat.now.asking) == (2, ())


def test_a_holder_that_keeps_the_seat_turns_the_others_down() -> None:
    seat = Seat()
    seat.ask(1)
    seat.ask(2)
    seat.keep(1)
    assert (seat.now.holder, seat.now.asking) == (1, ())


def test_a_holder_that_is_gone_leaves_the_seat_free_and_gives_it_to_nobody() -> None:
    seat = Seat()
    seat.ask(1)
    seat.ask(2)
    assert seat.leave(1)
    assert (seat.now.holder, seat.now.asking) == (None, (2,))


def test_a_silent_holder_loses_the_seat_to_one_that_asks() -> None:
    seat = Seat()
    seat.ask(1)
    assert seat.ask(2, is_holder_silent=True)
    assert seat.now.holder == 2
