"""Which files a path on the command line stands for."""

import pytest

from sender.errors import SourceError
from sender.find import find_files


@pytest.fixture(name="folder")
def _folder(tmp_path):
    for name in ("b.wav", "a.FLAC", "deep/c.ogg", "cover.jpg", ".hidden.wav", ".git/d.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "x.wav").mkdir()
    (tmp_path / "quiet").mkdir()
    return tmp_path


def names(folder, found):
    """*found* relative to *folder*."""
    return [str(path.relative_to(folder)) for path in found]


def test_a_folder_is_its_audio_files(folder):
    """Sorted, at any depth, by suffix; what is hidden, or a folder itself, is none."""
    assert ["a.FLAC", "b.wav", "deep/c.ogg"] == names(folder, find_files(str(folder)))


def test_a_hidden_folder_that_is_named_is_meant(folder):
    """Only what lies below the path can be hidden."""
    assert [".git/d.wav"] == names(folder, find_files(str(folder / ".git")))


def test_a_file_that_is_named_may_be_called_anything(folder):
    """Whether it is audio turns out when it is opened; so does whether it is there."""
    assert [folder / "cover.jpg"] == find_files(str(folder / "cover.jpg"))
    assert [folder / "gone"] == find_files(str(folder / "gone"))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.wav", ["b.wav"]),
        ("[ab].*", ["a.FLAC", "b.wav"]),
        ("**/*.ogg", ["deep/c.ogg"]),
        ("?eep", ["deep/c.ogg"]),
        ("[dq]*", ["deep/c.ogg"]),  # one of the folders holds nothing
    ],
)
def test_a_pattern_is_its_matches(folder, pattern, expected):
    """Folders among them are walked."""
    assert expected == names(folder, find_files(str(folder / pattern)))


def test_a_name_that_looks_like_a_pattern(folder):
    """What exists is itself."""
    (folder / "take[1].wav").touch()

    assert ["take[1].wav"] == names(folder, find_files(str(folder / "take[1].wav")))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("quiet", "no audio in this folder, expected .aac, "),
        ("*.mp3", "no file matches this pattern"),
        ("q*", "no file matches this pattern"),
        ("x" * 300, "File name too long"),
    ],
)
def test_nothing_is_an_error(folder, path, reason):
    """It names the path and what was looked for."""
    with pytest.raises(SourceError) as raised:
        find_files(str(folder / path))

    assert str(raised.value).startswith(f"{folder / path}: {reason}")
