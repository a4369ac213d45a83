"""docs/words.py counts mannered phrases, and fails when there are too many."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "words.py"


@pytest.fixture(scope="module")
def words():
    spec = importlib.util.spec_from_file_location("words", SCRIPT)
    module = sys.modules["words"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["words"]


@pytest.fixture
def run(words, tmp_path, capsys):
    """A function that counts in these files, and returns the exit code and the lines."""

    def count(*arguments, **files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        code = words.main(arguments, tmp_path)
        return code, capsys.readouterr().out.splitlines()

    return count


def test_each_place_is_named(run):
    """Every phrase is listed with its file and line, also one that a line break cuts."""
    text = (
        "Nobody waits.\nIt goes\non, too, as whoever sends it.\nWhat is sent is not to be lost.\n"
    )

    code, lines = run("--list", a_md=text)

    assert 1 == code
    assert [
        "a.md:1: Nobody",
        "a.md:2: goes on",
        "a.md:3: , too",
        "a.md:3: whoever",
        "a.md:4: What is",
        "a.md:4: is not to be",
    ] == lines[3:]


@pytest.mark.parametrize(("phrases", "code"), [(3, 0), (4, 1)])
def test_documents_over_the_limit_fail(run, phrases, code):
    """3 in 1,000 words pass, and more do not; without a fault no place is printed."""
    found, lines = run(a_md="chunk " * (1000 - phrases) + "nobody " * phrases)

    assert (code, 3 + code * phrases) == (found, len(lines))


@pytest.mark.parametrize("path", ["a.py", "tests/a.py"])
@pytest.mark.parametrize(("phrases", "code"), [(4, 0), (5, 1)])
def test_docstrings_over_the_limit_fail(run, path, phrases, code):
    """4 in 1,000 words pass, and more do not, in modules, classes and functions together."""
    plain = f'"""{"chunk " * (1000 - phrases)}"""'
    function = f'    def b(self):\n        """{"nobody " * phrases}"""'
    name = path.replace("/", "__").replace(".", "_")

    found, lines = run(**{name: f"{plain}\n\n\nclass A:\n{function}\n"})

    assert (code, [f"{path}:6: nobody"] * code * phrases) == (found, lines[3:])


def test_docstrings_of_tests_are_counted_apart(run):
    """Plain docstrings of tests do not make up for others."""
    plain = "chunk " * 1000

    code, lines = run(a_py='"""Nobody."""\n', tests__a_py=f'"""{plain}"""\n')

    assert 1 == code
    assert [
        "docstrings: 1 in 1 words, 1000.0 in 1,000; at most 4",
        "docstrings of tests: 0 in 1000 words, 0.0 in 1,000; at most 4",
        "a.py:1: Nobody",
    ] == lines[1:]


def test_code_does_not_count(run):
    """Neither code blocks of documents nor the strings and comments of programs are prose."""
    text = "```text\nnobody\n```\n\n  ```sh\n"

    code, lines = run("--list", a_md=text, b_py='# nobody\nA = "nobody"\n')

    assert (0, 3) == (code, len(lines))
