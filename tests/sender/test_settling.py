"""Which files have stopped growing."""

from pathlib import Path

from sender.watch import Settling

A, B = Path("a.wav"), Path("b.wav")


def test_a_file_is_due_once_after_settling():
    """It is given when its version is old enough, and never again."""
    settling = Settling(2.0)

    looks = [list(settling.look({A: (10, 1)}, now)) for now in (0.0, 1.9, 2.0, 2.1, 99.0)]
    assert [[], [], [A], [], []] == looks


def test_growth_starts_the_time_anew():
    """Another size, or another time of change, is another version."""
    settling = Settling(2.0)
    versions = [(10, 1), (20, 2), (20, 3), (20, 3), (20, 3)]

    looks = [
        list(settling.look({A: version}, now))
        for now, version in zip((0.0, 1.0, 2.5, 4.4, 4.5), versions, strict=True)
    ]
    assert [[], [], [], [], [A]] == looks


def test_a_file_that_is_replaced_is_due_again():
    """What was sent is that version only."""
    settling = Settling(1.0)
    found = [(0.0, (1, 1)), (1.0, (1, 1)), (2.0, (2, 2)), (3.0, (2, 2)), (4.0, (2, 2))]

    assert [[], [A], [], [A], []] == [list(settling.look({A: v}, now)) for now, v in found]


def test_again_settles_anew():
    """A file that was not sent waits as long as a new one."""
    settling = Settling(1.0)
    for now in (0.0, 1.0):
        list(settling.look({A: (1, 1)}, now))
    settling.again(A)

    looks = [list(settling.look({A: (1, 1)}, now)) for now in (1.5, 2.4, 2.5, 2.6)]
    assert [[], [], [A], []] == looks


def test_a_file_that_went_and_came_back_is_new():
    """Nothing is remembered of what is not there, so memory is bounded by the folder."""
    settling = Settling(1.0)
    looks = [
        list(settling.look(found, now))
        for now, found in enumerate([{A: (1, 1)}, {A: (1, 1)}, {}, {A: (1, 1)}, {A: (1, 1)}])
    ]

    assert [[], [A], [], [], [A]] == looks
    list(settling.look({}, 9.0))
    assert not settling._seen
    assert not settling._done


def test_files_do_not_wait_for_one_another():
    """Each has its own time."""
    settling = Settling(1.0)
    list(settling.look({A: (1, 1)}, 0.0))

    assert [A] == list(settling.look({A: (1, 1), B: (1, 1)}, 1.0))
    assert [B] == list(settling.look({A: (1, 1), B: (1, 1)}, 2.0))


def test_no_settling_at_all():
    """0 s: whatever is seen is due at the next look."""
    settling = Settling(0.0)

    assert [A] == [*settling.look({A: (1, 1)}, 0.0), *settling.look({A: (1, 1)}, 0.0)]


def test_what_is_being_sent_is_not_due():
    """A file that changes meanwhile is due when its old version is done with."""
    settling = Settling(1.0)
    versions = [(1, 1), (1, 1), (2, 2), (2, 2), (2, 2)]

    looks = [
        list(settling.look({A: version}, float(now), {A} if now in (2, 3) else ()))
        for now, version in enumerate(versions)
    ]
    assert [[], [A], [], [], [A]] == looks
