"""Which files are due: they have stopped growing, or may be readable by now."""

from pathlib import Path

import pytest

from sender.jobs.watch import Settling

A, B = Path("in/a.wav"), Path("in/b.wav")
FIRST, SECOND = (1, 1, 1, 1), (2, 2, 1, 2)
NEVER = 1e9


def due(settling, *looks):
    """What each of *looks*, pairs of a time and what is found, makes due."""
    return [list(settling.look(found, now)) for now, found in looks]


def test_a_file_is_due_once_after_settling():
    """It is given when its version is old enough, and never again."""
    looks = [(now, {A: FIRST}) for now in (0.0, 1.9, 2.0, 2.1, 99.0)]

    assert [[], [], [A], [], []] == due(Settling(2.0, NEVER), *looks)


def test_growth_starts_the_time_anew():
    """Another size, or another time of change, is another version."""
    versions = [(10, 1), (20, 2), (20, 3), (20, 3), (20, 3)]
    times = (0.0, 1.0, 2.5, 4.4, 4.5)
    looks = [(now, {A: each}) for now, each in zip(times, versions, strict=True)]

    assert [[], [], [], [], [A]] == due(Settling(2.0, NEVER), *looks)


def test_a_file_that_is_replaced_is_due_again():
    """What was sent is that version only."""
    looks = [(now, {A: FIRST if now < 2 else SECOND}) for now in range(5)]

    assert [[], [A], [], [A], []] == due(Settling(1.0, NEVER), *looks)


@pytest.mark.parametrize("twin", [(1, 1, 2, 1), (1, 1, 1, 2)], ids=["renamed", "rewritten"])
def test_a_twin_is_another_version(twin):
    """A file of the same size and time is looked at again: another inode, or another change."""
    looks = [(now, {A: FIRST if now < 2 else twin}) for now in range(5)]

    assert [[], [A], [], [A], []] == due(Settling(1.0, NEVER), *looks)


def test_again_settles_anew():
    """A file that was not sent waits as long as a new one."""
    settling = Settling(1.0, NEVER)
    due(settling, (0.0, {A: FIRST}), (1.0, {A: FIRST}))
    settling.again(A)

    assert [[], [], [A], []] == due(settling, *((now, {A: FIRST}) for now in (1.5, 2.4, 2.5, 2.6)))


def test_a_file_that_went_and_came_back_is_new():
    """Nothing is remembered of what is not there, so memory is bounded by the folder."""
    settling = Settling(1.0, NEVER)
    found = [{A: FIRST}, {A: FIRST}, {}, {A: FIRST}, {A: FIRST}]

    assert [[], [A], [], [], [A]] == due(settling, *enumerate(found))
    settling.later(A, 5.0)
    due(settling, (9.0, {}))
    settling.later(A, 9.0)  # its attempt ends when it is gone
    assert [{}, {}, {}] == [settling._seen, settling._done, settling._failures]


def test_a_folder_that_cannot_be_listed_forgets_nothing():
    """What lies in it is not due again when it can be, unless it has changed."""
    settling = Settling(1.0, NEVER)
    other = Path("out/c.wav")
    due(settling, *((now, {A: FIRST, B: FIRST, other: FIRST}) for now in (0, 1)))
    list(settling.look({}, 2.0, unseen=[Path("in")]))
    back = {A: FIRST, B: SECOND, other: FIRST}

    assert [[], [B, other]] == due(settling, (3.0, back), (4.0, back))


def test_files_do_not_wait_for_one_another():
    """Each has its own time."""
    both = {A: FIRST, B: FIRST}

    assert [[], [A], [B]] == due(Settling(1.0, NEVER), (0.0, {A: FIRST}), (1.0, both), (2.0, both))


def test_no_settling_at_all():
    """0 s: whatever is seen is due at the next look."""
    assert [[A], []] == due(Settling(0.0, NEVER), (0.0, {A: FIRST}), (0.0, {A: FIRST}))


def test_what_is_being_sent_is_not_due():
    """A file that changes meanwhile is due when its old version is done with."""
    settling = Settling(1.0, NEVER)
    versions = [FIRST, FIRST, SECOND, SECOND, SECOND]

    looks = [
        list(settling.look({A: look}, float(now), {A} if now in (2, 3) else ()))
        for now, look in enumerate(versions)
    ]
    assert [[], [A], [], [], [A]] == looks


def test_a_file_that_could_not_be_read_is_due_again():
    """After twice as long each time, up to a limit, until it can be read."""
    settling = Settling(1.0, 5.0)
    at = []
    for now in range(40):
        if due(settling, (float(now), {A: FIRST})) == [[A]]:
            at.append(now)
            settling.later(A, now)

    assert [1, 2, 4, 8, 13, 18, 23, 28, 33, 38] == at
    assert settling.failed(A)
    settling.over(A)
    assert not settling.failed(A)
    assert [[], []] == due(settling, (50.0, {A: FIRST}), (99.0, {A: FIRST}))


def test_without_settling_attempts_are_a_moment_apart():
    """A file that cannot be read is not tried as fast as the processor can."""
    settling = Settling(0.0, 5.0)
    due(settling, (0.0, {A: FIRST}))
    settling.later(A, 0.0)

    assert [[], [A]] == due(settling, (0.05, {A: FIRST}), (0.15, {A: FIRST}))


def test_rights_that_change_end_the_wait():
    """A file that could not be read settles after a chmod, and does not wait for the next try."""
    settling = Settling(1.0, NEVER)
    before, after = {A: (1, 1, 1, 1)}, {A: (1, 1, 1, 2)}
    due(settling, (0.0, before), (1.0, before))
    for now in (1.0, 2.0, 4.0):
        settling.later(A, now)

    assert [[], [], [A], []] == due(
        settling, (4.1, before), (5.0, after), (6.0, after), (99.0, after)
    )


def test_another_version_is_no_failure():
    """A file that could not be read and was replaced settles as a new one does."""
    settling = Settling(1.0, NEVER)
    due(settling, (0.0, {A: FIRST}), (1.0, {A: FIRST}))
    settling.later(A, 1.0)

    looks = due(settling, (1.5, {A: SECOND}), (2.4, {A: SECOND}), (2.5, {A: SECOND}))
    assert [[], [], [A]] == looks
    assert not settling.failed(A)
