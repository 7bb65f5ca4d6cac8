"""The delay is counted in executed steps, by hand, and one slow chunk does not move it."""

from hardware.execution.delay import ExecutedDelay

STEP = 10


def run(delay, first, last):
    for step in range(first, last + 1):
        delay.executed(step * STEP)


def test_steps_after_the_observation_are_counted():
    delay = ExecutedDelay(0.9, 50, 0)
    run(delay, 1, 20)  # stamps 10, 20, …, 200
    assert delay.arrived(200) == 0
    assert delay.arrived(199) == 1
    assert delay.arrived(150) == 5  # 160, 170, 180, 190, 200; the step at 150 was sent before
    assert delay.arrived(0) == 20


def test_a_loop_that_paused_executed_no_steps_meanwhile():
    delay = ExecutedDelay(0.9, 50, 0)
    run(delay, 1, 3)
    run(delay, 103, 105)  # 1 s later
    assert delay.arrived(25) == 4  # 30, 1030, 1040, 1050: not the 102 that the clock would say


def test_a_cold_start_is_left_out_of_the_estimate():
    delay = ExecutedDelay(1.0, 50, 2)
    run(delay, 1, 100)
    assert [delay.arrived(stamp) for stamp in (0, 500, 900)] == [100, 50, 10]
    assert delay.steps == 10
    delay.restart()
    run(delay, 101, 120)
    delay.arrived(1010)
    delay.arrived(1010)
    assert delay.steps == 10
    delay.arrived(1050)
    assert delay.steps == 15


def test_the_quantile_by_hand():
    delay = ExecutedDelay(0.9, 10, 0)
    assert delay.steps is None
    run(delay, 1, 100)
    for steps in (5, 6, 7, 8, 9, 10, 11, 12, 13, 90):
        assert delay.arrived((100 - steps) * STEP) == steps
    assert delay.steps == 13  # 9 of 10 are at most 13: one slow chunk counts as one
    delay.arrived((100 - 4) * STEP)  # pushes out the 5
    assert delay.steps == 13
