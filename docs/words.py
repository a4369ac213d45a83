"""
Counts mannered phrases in documents and docstrings, and fails if there are too many.

Run it from anywhere: `python docs/words.py`, with `--list` to see each place.
"""

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PHRASE = re.compile(
    r"""
    \b(nobody|somebody|anybody|everybody|whoever|whatever|whichever
      |that\s+of|those\s+of|those\s+that|those\s+who
      |so\s+many|so\s+long|so\s+much
      |none\s+is|none\s+of|is\s+none|if\s+none
      |by\s+way\s+of|on\s+its\s+way|on\s+their\s+way|in\s+turn)\b
    | \bwhat\s+(is|was|has|have|had|came|comes|it|they|one|can|cannot|must|may|lies|follows
               |others|this)\b
    | ,\s+too\b
    | \b(is|are)\s+(not\s+)?to\s+[a-z]+\b
    | \b(go|goes|went|going)\s+on\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
CODE_BLOCK = re.compile(r"^```.*?^```[ \t]*$", re.MULTILINE | re.DOTALL)


class Passage(NamedTuple):
    """Prose in a file, from a line on."""

    path: Path
    line: int
    text: str


class Group(NamedTuple):
    """Prose that is counted together, and how many phrases 1,000 words of it may have."""

    name: str
    limit: float
    passages: Sequence[Passage]

    @property
    def words(self) -> int:
        """Return how many words the passages have."""
        return sum(len(passage.text.split()) for passage in self.passages)

    @property
    def places(self) -> list[str]:
        """Return each phrase as `file:line: phrase`."""
        return [place for passage in self.passages for place in find(passage)]

    @property
    def rate(self) -> float:
        """Return the phrases in 1,000 words; 0 without words."""
        return 1000 * len(self.places) / self.words if self.words else 0.0

    @property
    def failed(self) -> bool:
        """Return whether there are more phrases than the limit allows."""
        return self.rate > self.limit


def find(passage: Passage) -> Iterator[str]:
    """Yield each phrase of *passage* as `file:line: phrase`."""
    for match in PHRASE.finditer(passage.text):
        line = passage.line + passage.text.count("\n", 0, match.start())
        yield f"{passage.path}:{line}: {' '.join(match[0].split())}"


def document(path: Path, text: str) -> Passage:
    """Return Markdown without its code blocks; lines keep their numbers."""
    prose = CODE_BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    return Passage(path, 1, prose)


def docstrings(path: Path, source: str) -> Iterator[Passage]:
    """Yield the docstrings of a module and of everything in it."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and (text := ast.get_docstring(node, clean=False)):
            yield Passage(path, node.body[0].lineno, text)


def tracked(root: Path) -> list[Path]:
    """Return the files below *root* that git knows; all but hidden ones if git cannot say."""
    try:
        listing = subprocess.check_output(
            ["git", "ls-files", "-z"], cwd=root, text=True, stderr=subprocess.DEVNULL
        )
    except (OSError, subprocess.CalledProcessError):
        files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return sorted(file for file in files if not any(part[0] == "." for part in file.parts))
    return [Path(name) for name in listing.split("\0") if name and (root / name).is_file()]


def groups(root: Path) -> list[Group]:
    """Return the prose below *root*: documents, docstrings, and docstrings of tests."""
    documents: list[Passage] = []
    ours: list[Passage] = []
    tests: list[Passage] = []
    for path in tracked(root):
        if path.suffix == ".md":
            documents.append(document(path, (root / path).read_text("utf-8")))
        elif path.suffix == ".py":
            found = tests if path.parts[0] == "tests" else ours
            found += docstrings(path, (root / path).read_text("utf-8"))
    return [
        Group("documents", 3, documents),
        Group("docstrings", 4, ours),
        Group("docstrings of tests", 4, tests),
    ]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """
    Print how many phrases each group has, and where, if they are too many.

    Returns:
        1 if a group is beyond its limit, otherwise 0.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="print every place")
    every = parser.parse_args(arguments).list
    counted = groups(root)
    for group in counted:
        print(
            f"{group.name}: {len(group.places)} in {group.words} words,"
            f" {group.rate:.1f} in 1,000; at most {group.limit:g}"
        )
    for place in (place for group in counted if every or group.failed for place in group.places):
        print(place)
    return int(any(group.failed for group in counted))


if __name__ == "__main__":
    sys.exit(main())
