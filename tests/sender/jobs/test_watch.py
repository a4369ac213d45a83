"""A file is due when it has stopped growing, or when it is time to try an unreadable one again."""

from pathlib import Path

import pytest

from sender.jobs.watch import Settling

A, B = Path("in/a.wav"), Path("in/b.wav")
FIRST, SECOND = (1, 1, 1, 1), (2, 2, 1, 2)
NEVER = 1e9


def due(settling, *looks):
    """Return the files that each of *looks*, a time and the files found, makes due."""
    return [list(settling.look(found, now)) for now, found in looks]


def test_a_file_is_due_once_after_settling():
    """A file is due when its version is old enough, and never again."""
    looks = [(now, {A: FIRST}) for now in (0.0, 1.9, 2.0, 2.1, 99.0)]

    assert [[], [], [A], [], []] == due(Settling(2.0, NEVER), *looks)


def test_growth_restarts_the_settling_time():
    """If the size or the time of change differs, it is another version, which has to settle."""
    versions = [(10, 1), (20, 2), (20, 3), (20, 3), (20, 3)]
    times = (0.0, 1.0, 2.5, 4.4, 4.5)
    looks = [(now, {A: each}) for now, each in zip(times, versions, strict=True)]

    assert [[], [], [], [], [A]] == due(Settling(2.0, NEVER), *looks)


def test_a_file_that_is_replaced_is_due_again():
    """If another version replaces the one that was sent, the file is due again."""
    looks = [(now, {A: FIRST if now < 2 else SECOND}) for now in range(5)]

    assert [[], [A], [], [A], []] == due(Settling(1.0, NEVER), *looks)


@pytest.mark.parametrize("twin", [(1, 1, 2, 1), (1, 1, 1, 2)], ids=["renamed", "rewritten"])
def test_a_twin_is_another_version(twin):
    """If only the inode or the time of change differs, the file is another version all the same."""
    looks = [(now, {A: FIRST if now < 2 else twin}) for now in range(5)]

    assert [[], [A], [], [A], []] == due(Settling(1.0, NEVER), *looks)


def test_a_file_that_was_not_sent_settles_again():
    """The file waits as long as a new one."""
    settling = Settling(1.0, NEVER)
    due(settling, (0.0, {A: FIRST}), (1.0, {A: FIRST}))
    settling.again(A)

    assert [[], [], [A], []] == due(settling, *((now, {A: FIRST}) for now in (1.5, 2.4, 2.5, 2.6)))


def test_a_file_that_went_and_came_back_is_new():
    """Nothing is remembered of a file that is gone, so the size of the folder bounds the memory."""
    settling = Settling(1.0, NEVER)
    found = [{A: FIRST}, {A: FIRST}, {}, {A: FIRST}, {A: FIRST}]

    assert [[], [A], [], [], [A]] == due(settling, *enumerate(found))
    settling.later(A, 5.0)
    due(settling, (9.0, {}))
    settling.later(A, 9.0)  # its attempt ends after the file is gone
    assert [{}, {}, {}] == [settling._seen, settling._done, settling._failures]


def test_files_of_a_folder_that_cannot_be_listed_are_remembered():
    """When the folder can be listed again, only its changed files are due."""
    settling = Settling(1.0, NEVER)
    other = Path("out/c.wav")
    due(settling, *((now, {A: FIRST, B: FIRST, other: FIRST}) for now in (0, 1)))
    list(settling.look({}, 2.0, unseen=[Path("in")]))
    back = {A: FIRST, B: SECOND, other: FIRST}

    assert [[], [B, other]] == due(settling, (3.0, back), (4.0, back))


def test_files_do_not_wait_for_one_another():
    """Each file has its own settling time."""
    both = {A: FIRST, B: FIRST}

    assert [[], [A], [B]] == due(Settling(1.0, NEVER), (0.0, {A: FIRST}), (1.0, both), (2.0, both))


def test_no_settling_time():
    """With 0 s of settling time, a file is due at the first look."""
    assert [[A], []] == due(Settling(0.0, NEVER), (0.0, {A: FIRST}), (0.0, {A: FIRST}))


def test_a_file_that_is_being_sent_is_not_due():
    """If the file changes meanwhile, it is due after its old version has been sent."""
    settling = Settling(1.0, NEVER)
    versions = [FIRST, FIRST, SECOND, SECOND, SECOND]

    looks = [
        list(settling.look({A: look}, float(now), {A} if now in (2, 3) else ()))
        for now, look in enumerate(versions)
    ]
    assert [[], [A], [], [], [A]] == looks


def test_a_file_that_could_not_be_read_is_due_again():
    """After each failure the wait doubles, up to a limit, until the file can be read."""
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


def test_attempts_wait_a_moment_without_settling_time():
    """With 0 s of settling time, an unreadable file is not tried again at once."""
    settling = Settling(0.0, 5.0)
    due(settling, (0.0, {A: FIRST}))
    settling.later(A, 0.0)

    assert [[], [A]] == due(settling, (0.05, {A: FIRST}), (0.15, {A: FIRST}))


def test_rights_that_change_end_the_wait():
    """After a chmod an unreadable file settles again, and does not wait for the next attempt."""
    settling = Settling(1.0, NEVER)
    before, after = {A: (1, 1, 1, 1)}, {A: (1, 1, 1, 2)}
    due(settling, (0.0, before), (1.0, before))
    for now in (1.0, 2.0, 4.0):
        settling.later(A, now)

    assert [[], [], [A], []] == due(
        settling, (4.1, before), (5.0, after), (6.0, after), (99.0, after)
    )


def test_another_version_has_not_failed():
    """A file that replaces an unreadable one settles like a new file."""
    settling = Settling(1.0, NEVER)
    due(settling, (0.0, {A: FIRST}), (1.0, {A: FIRST}))
    settling.later(A, 1.0)

    looks = due(settling, (1.5, {A: SECOND}), (2.4, {A: SECOND}), (2.5, {A: SECOND}))
    assert [[], [], [A]] == looks
    assert not settling.failed(A)


def test_files_that_wait_are_counted():
    """Those that settle, and those that could not be read; a file that is sent waits no more."""
    settling = Settling(1.0, NEVER)
    seen = []
    for now, found in ((0.0, {A: FIRST}), (0.9, {A: FIRST, B: FIRST}), (1.0, {A: FIRST, B: FIRST})):
        due(settling, (now, found))
        seen.append((settling.settling, settling.retrying))
    settling.later(A, 1.0)
    due(settling, (1.5, {A: FIRST, B: FIRST}))
    seen.append((settling.settling, settling.retrying))
    settling.over(A)
    due(settling, (5.0, {A: FIRST, B: FIRST}))
    seen.append((settling.settling, settling.retrying))

    assert [(1, 0), (2, 0), (1, 0), (1, 1), (0, 0)] == seen
