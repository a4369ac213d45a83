"""The sender's record of what its files held."""

import threading

import pytest

from sender.ledger import open_ledger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "receipts.db"


def test_what_was_recorded_is_found(path):
    """By stream and evidence, also by the next process; the folder is made."""
    with open_ledger(str(path), 10) as ledger:
        assert ledger.find("a", "1") is None

        ledger.record("a", "1", 5, "d")
    with open_ledger(str(path), 10) as ledger:
        assert (5, "d") == ledger.find("a", "1")
        assert ledger.find("a", "2") is None
        assert ledger.find("b", "1") is None


def test_the_latest_counts(path):
    """A file that has changed has one record, the new one."""
    with open_ledger(str(path), 10) as ledger:
        ledger.record("a", "1", 5, "d")
        ledger.record("a", "2", 6, "e")

        assert (6, "e") == ledger.find("a", "2")
        assert ledger.find("a", "1") is None


def test_the_oldest_go(path, monkeypatch):
    """However many files are sent, the ledger has a bounded number of records."""
    monkeypatch.setattr("sender.ledger.TOGETHER", 2)
    with open_ledger(str(path), 3) as ledger:
        for number in range(10):
            ledger.record(str(number), "1", number, "d")
        found = [number for number in range(10) if ledger.find(str(number), "1")]

    assert [7, 8, 9] == found


def test_no_path_is_no_ledger():
    """An operator can switch it off."""
    with open_ledger("", 3) as ledger:
        assert ledger is None


def spoilt(path):
    path.parent.mkdir()
    path.write_bytes(b"no database at all, but long enough to be looked at" * 50)


def blocked(path):
    path.parent.write_text("a file where the folder should be")


@pytest.mark.parametrize("spoil", [spoilt, blocked])
def test_a_ledger_that_cannot_be_used_is_empty(path, spoil, capsys):
    """One line says so, and nothing else is lost but time."""
    spoil(path)
    for _ in range(2):
        with open_ledger(str(path), 3) as ledger:
            assert ledger.find("a", "1") is None

            ledger.record("a", "1", 5, "d")

    assert 2 == capsys.readouterr().out.count("ledger_unusable")


def test_what_waits_to_be_written_is_found(path):
    """Records are written together; until then they are in memory."""
    with open_ledger(str(path), 10) as ledger:
        ledger.record("a", "1", 5, "d")

        assert not path.exists()
        assert (5, "d") == ledger.find("a", "1")
        assert ledger.find("a", "2") is None


def test_threads_and_processes_share_it(path, monkeypatch):
    """Clients record from several threads, and two senders may have one ledger."""
    monkeypatch.setattr("sender.ledger.TOGETHER", 3)
    with open_ledger(str(path), 10_000) as one, open_ledger(str(path), 10_000) as two:
        threads = [
            threading.Thread(target=record, args=(ledger, name))
            for name, ledger in (("a", one), ("b", one), ("c", two))
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        one.close()
        found = [two.find(f"{name}{number}", "1") for name in "abc" for number in range(50)]

    assert all(found)


def record(ledger, name):
    for number in range(50):
        ledger.record(f"{name}{number}", "1", number, "d")


def test_a_user_without_a_home(monkeypatch, capsys):
    """Then there is no ledger, and everything else works."""

    def expanduser(_path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", expanduser)
    with open_ledger("~/receipts.db", 3) as ledger:
        assert ledger.find("a", "1") is None

    assert 1 == capsys.readouterr().out.count("ledger_unusable")
