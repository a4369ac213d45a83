"""
Writes the map of modules into architecture.md: for each module its docstring's first paragraph.

`python docs/modules.py` writes it, and a test compares it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("sonoduct", "sender", "receiver")
MARK = "<!-- modules: written by docs/modules.py -->\n"


def modules(package: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each module of *package*, and its subject."""
    for path in sorted((ROOT / package).rglob("*.py"), key=_order):
        subject = ast.get_docstring(ast.parse(path.read_text())) or ""
        name = path.relative_to(ROOT / package).as_posix()
        yield name, " ".join(subject.partition("\n\n")[0].split())


def table() -> str:
    """Return the map in Markdown."""
    parts = []
    for package in PACKAGES:
        rows = "".join(f"| `{name}` | {subject} |\n" for name, subject in modules(package))
        parts.append(f"### {package}/\n\n| module | subject |\n| --- | --- |\n{rows}")
    return "\n".join(parts)


def page() -> str:
    """Return architecture.md with the map of today's modules at its end."""
    before, _, _ = PAGE.read_text().partition(MARK)
    return f"{before}{MARK}\n{table()}"


def _order(path: Path) -> tuple[Path, bool, str]:
    """A folder's own modules come before its subfolders, and `__init__` first."""
    return path.parent, path.name != "__init__.py", path.name


if __name__ == "__main__":
    PAGE.write_text(page())
