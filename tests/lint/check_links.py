"""Relative links of every Markdown file: the file is there, and so is the heading behind '#'.

    python3 tests/lint/check_links.py [ROOT]

Ends with 1 and a line per broken link. Links into the web are not followed. Only the standard
library: a lint runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Folders of the checkout that are not part of the repository.
_LEFT_OUT = {".git", ".venv", "build", "data", "runs"}
_FENCE = re.compile(r"^\s*(```|~~~)")
_CODE = re.compile(r"`[^`]*`")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_WEB = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def markdown_files(root: Path) -> list[Path]:
    """Those of the repository, sorted."""
    found = root.rglob("*.md")
    return sorted(path for path in found if not _LEFT_OUT & set(path.relative_to(root).parts))


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines outside fenced blocks, which hold no links and no headings."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark.group(1)
        elif mark and mark.group(1) == fence:
            fence = ""
        elif not fence:
            yield number, line


def anchor(heading: str) -> str:
    """What GitHub makes of a heading: no markup, no punctuation, hyphens for blanks."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[^\w\- ]", "", text.replace("`", "").lower())
    return text.replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """Of all headings of a file; those that repeat are numbered, as GitHub does it."""
    found: dict[str, int] = {}
    names = set()
    for _, line in prose(path.read_text(encoding="utf-8")):
        if heading := _HEADING.match(line):
            name = anchor(heading.group(1))
            count = found.get(name, 0)
            found[name] = count + 1
            names.add(f"{name}-{count}" if count else name)
    return names


def problem(source: Path, target: str, root: Path) -> str:
    """What is wrong with a link of the file `source`; empty when nothing is."""
    if _WEB.match(target):
        return ""
    place, _, name = target.partition("#")
    path = (source.parent / place).resolve() if place else source.resolve()
    if not path.is_relative_to(root.resolve()):
        return "leads out of the repository"
    if not path.exists():
        return "there is no such file"
    if name and (path.suffix != ".md" or name not in anchors(path)):
        return "there is no such heading"
    return ""


def broken_links(root: Path) -> list[str]:
    """FILE:LINE: TARGET: what is wrong, for every broken link."""
    lines = []
    for source in markdown_files(root):
        for number, line in prose(source.read_text(encoding="utf-8")):
            for target in _LINK.findall(_CODE.sub("", line)):
                if wrong := problem(source, target, root):
                    lines.append(f"{source.relative_to(root)}:{number}: {target}: {wrong}")
    return lines


def unreachable_pages(root: Path) -> list[str]:
    """Pages of docs/ that its table of contents does not link."""
    contents = root / "docs/README.md"
    if not contents.exists():
        return []
    listed = _LINK.findall(contents.read_text(encoding="utf-8"))
    pages = (page.name for page in sorted((root / "docs").glob("*.md")) if page != contents)
    return [f"docs/README.md: {page} is not in it" for page in pages if page not in listed]


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    files = markdown_files(root)
    wrong = broken_links(root) + unreachable_pages(root)
    print("\n".join(wrong) or f"links of {len(files)} Markdown files lead somewhere")
    return 1 if wrong or not files else 0


if __name__ == "__main__":
    sys.exit(main())
