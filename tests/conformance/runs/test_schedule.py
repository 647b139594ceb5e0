"""Who does what next: nothing is given out twice, nothing before its case is there, and all of it in the end."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from conformance.runs.schedule import MOST_AHEAD, ORACLE, WORTH_A_WORKER, Schedule, Unit

TASKS = [(f"recipe-{number}", "float64") for number in range(6)]


def anybody(name, left):
    return True


@given(st.integers(1, 4), st.integers(1, 6), st.sets(st.sampled_from(TASKS)), st.integers(0, 2**32))
def test_every_unit_is_given_out_once_and_none_before_its_case_is_made(at_once, count, made, seed):
    tasks, random = TASKS[:count], Random(seed)
    units = {Unit(name, task) for name in ("numpy", "jax") for task in tasks}
    schedule, at_work, done, there = Schedule(sorted(units), made, at_once), [], [], set(made)
    while True:
        unit = schedule.next(anybody) if len(at_work) < at_once else None
        if unit is not None:
            assert unit.worker == ORACLE or unit.task in there
            at_work.append(unit)
        elif at_work:
            unit = at_work.pop(random.randrange(len(at_work)))
            if random.random() < 0.2:
                schedule.again(unit)
                continue
            done.append(unit)
            if unit.worker == ORACLE:
                there.add(unit.task)
                schedule.case_made(unit.task)
            else:
                schedule.took(unit.worker, 1.0)
        else:
            break
    assert schedule.finished
    cases = {Unit(ORACLE, task) for task in tasks if task not in made}
    assert sorted(done) == sorted(units | cases)


def test_the_oracle_stays_ahead_and_then_the_implementation_with_most_left_comes_first():
    schedule = Schedule([Unit(name, task) for name in ("numpy", "jax") for task in TASKS], (), at_once=2)
    assert schedule.next(anybody) == Unit(ORACLE, TASKS[0])
    schedule.case_made(TASKS[0])
    schedule.took("numpy", 1.0)
    schedule.took("jax", 9.0)
    assert schedule.next(anybody) == Unit(ORACLE, TASKS[1])
    schedule.case_made(TASKS[1])
    assert schedule.next(lambda name, left: name != ORACLE) == Unit("jax", TASKS[0])
    assert schedule.next(lambda name, left: name == "numpy") == Unit("numpy", TASKS[0])


def test_cases_do_not_pile_up_where_the_oracle_is_faster():
    tasks = [(f"recipe-{number}", "float64") for number in range(100)]
    schedule, made = Schedule([Unit("jax", task) for task in tasks], (), at_once=2), 0
    while (unit := schedule.next(lambda name, left: name == ORACLE)) is not None:
        schedule.case_made(unit.task)
        made += 1
    assert made == MOST_AHEAD * 2 * 2
    assert schedule.next(anybody) == Unit("jax", tasks[0])
    assert schedule.next(lambda name, left: name == ORACLE) == Unit(ORACLE, tasks[made])


def test_it_is_said_for_how_many_tasks_a_worker_would_be_started():
    asked = {}
    Schedule([Unit("jax", task) for task in TASKS], TASKS[:2], at_once=2).next(
        lambda name, left: bool(asked.update({name: left}))
    )
    assert asked == {ORACLE: 4, "jax": 6}
    assert WORTH_A_WORKER <= 6


def test_what_is_given_up_is_waited_for_by_nobody():
    schedule = Schedule([Unit(name, task) for name in ("numpy", "jax") for task in TASKS[:2]], (), at_once=1)
    assert schedule.next(anybody) == Unit(ORACLE, TASKS[0])
    schedule.give_up_task(TASKS[0])
    schedule.give_up_implementation("jax")
    assert schedule.next(anybody) == Unit(ORACLE, TASKS[1])
    schedule.case_made(TASKS[1])
    assert schedule.next(anybody) == Unit("numpy", TASKS[1])
    assert schedule.finished


def test_where_no_implementation_is_left_no_case_is_made():
    schedule = Schedule([Unit("jax", task) for task in TASKS], (), at_once=1)
    schedule.give_up_implementation("jax")
    assert schedule.finished
