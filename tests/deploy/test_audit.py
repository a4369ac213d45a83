"""The list of allowed vulnerabilities, and what is audited."""

from datetime import date

import pytest

from deploy import audit

TODAY = date(2027, 1, 1)
GOOD = """
[[allowed]]
id = "PYSEC-2027-1"
package = "numpy"
reason = "Only in f2py, which the images do not have."
until = 2027-03-31
"""


def test_an_entry_with_a_reason_and_a_date_is_allowed():
    """Its id is returned, up to its last day."""
    assert ["PYSEC-2027-1"] == audit.allowed(GOOD, TODAY)
    assert ["PYSEC-2027-1"] == audit.allowed(GOOD, date(2027, 3, 31))
    assert [] == audit.allowed("", TODAY)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('id = "PYSEC-2027-1"', "", "an entry without id: no id, expected one"),
        ('package = "numpy"', "", "PYSEC-2027-1: no package"),
        ('reason = "Only in f2py, which the images do not have."', "", "no reason"),
        ('"Only in f2py, which the images do not have."', '" "', "no reason"),
        ("until = 2027-03-31", "", "until None, expected a date"),
        ("2027-03-31", '"soon"', "until 'soon', expected a date"),
        ("2027-03-31", "2027-03-31T00:00:00Z", "expected a date"),
        ("2027-03-31", "2026-12-31", "allowed until 2026-12-31, expected a later date"),
        ("2027-03-31", "2037-01-01", "expected at most 180 days ahead"),
        ("until", "severity = 3\nuntil", "severity, expected no other keys"),
    ],
)
def test_other_entries_fail(old, new, expected):
    """An entry without a reason or a date, past it, or for years, is an error."""
    assert old in GOOD
    with pytest.raises(ValueError, match=expected):
        audit.allowed(GOOD.replace(old, new), TODAY)


def test_the_list_is_valid_today():
    """Each entry of the list in the repository has its reason, and is not past its date."""
    assert 0 == audit.main(["--list"])


def test_the_list_is_looked_at_first(monkeypatch, tmp_path, capsys):
    """With a bad entry nothing is asked, and the exit code is 1."""
    bad = tmp_path / "audit.toml"
    bad.write_text(GOOD.replace("2027-03-31", "2020-01-01"))
    monkeypatch.setattr(audit, "ALLOWED", bad)

    assert 1 == audit.main([])
    assert "audit.toml: PYSEC-2027-1: allowed until 2020-01-01" in capsys.readouterr().err


def test_each_python_gets_its_own_versions():
    """A package that is locked in two versions is audited in the one that a Python installs."""
    text = """
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:00
    # via sonoduct (pyproject.toml)
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:00
rich[jupyter]==15.0.0 \\
    --hash=sha256:00
rich==15.0.0 \\
    --hash=sha256:00
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:00
"""
    assert ["numpy==2.4.6", "rich==15.0.0"] == audit.locked([text], "3.11")
    assert ["numpy==2.5.5", "rich==15.0.0"] == audit.locked([text], "3.13")


def test_every_locked_package_is_audited():
    """Each file of requirements is asked about, for each version of Python that is supported."""
    found = dict(audit.lists(audit.ROOT / "requirements"))

    assert len(found) == 3 * len(list((audit.ROOT / "requirements").glob("*.txt")))
    for name in ("sender.txt", "receiver.txt", "dev.txt"):
        assert any(each.startswith("numpy==") for each in found[f"{name}, Python 3.13"])
        text = (audit.ROOT / "requirements" / name).read_text()
        assert text.count("\n    --hash") > len(found[f"{name}, Python 3.13"])


def test_what_a_report_says():
    """Each vulnerability is a line, with the package and its version."""
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": []},
            {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"]}]},
            {"name": "c", "skip_reason": "unknown"},
        ]
    }

    assert ["b 2: PYSEC-1 CVE-1"] == audit.vulnerable(report)
    assert [] == audit.vulnerable({})


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ([(1, "ERROR: no name resolution", {})], 2, "NOTHING WAS AUDITED"),
        ([(0, "", {"dependencies": []})], 2, "NOTHING WAS AUDITED"),
        (["known", (0, "", {})], 0, "ok"),
        (["known", (1, "ERROR: a could not be audited", {})], 1, "could not be audited"),
    ],
    ids=["unreachable", "knows nothing", "clean", "unknown package"],
)
def test_only_a_service_that_knows_something_can_fail(monkeypatch, capsys, answers, code, said):
    """Without one the program says that nothing was audited; with one, doubt is a failure."""
    fault = {"name": "urllib3", "version": "1.24.1", "vulns": [{"id": "PYSEC-1", "aliases": []}]}
    known = (1, "", {"dependencies": [fault]})
    left = [known if each == "known" else each for each in answers]
    monkeypatch.setattr(audit, "ask", lambda *_: left.pop(0))
    monkeypatch.setattr(audit, "lists", lambda _: iter([("sender.txt", ["a==1"])]))

    assert code == audit.main([])
    assert said in capsys.readouterr().out
