"""Which sources one run of the compiler may take together: unity_groups.py SIZE FILE...

Prints "GROUP FILE" lines. Files of a group define no name in common at the outermost level, where
names of one file only, in a namespace without a name, would meet. It goes by this project's layout:
what is inside namespaces is not indented.
"""

import re
import sys
from pathlib import Path

NAMES = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^(?:struct|class|enum class|union) (\w+)",
        r"^using (\w+) =",
        r"^(?=\w)[\w:<>,* &]*?\b(k[A-Z]\w*)\b",
        r"^[A-Za-z_][^;=({\n]*?[\s*&>](\w+)\(",
    )
]
# Overloads do not meet.
OVERLOADS = {"run_verb", "add_options"}
COMMON = {"blockwise", "testing", "kernels", "TEST_CASE", "main"} | OVERLOADS


def names_in(path: Path) -> set[str]:
    text = path.read_text()
    return {name for pattern in NAMES for name in pattern.findall(text)} - COMMON


def groups_of(files: list[Path], size: int) -> list[list[Path]]:
    """Every file goes into the first group that has room and none of its names."""
    groups: list[tuple[list[Path], set[str]]] = []
    for file in files:
        names = names_in(file)
        for members, taken in groups:
            if len(members) < size and not names & taken:
                break
        else:
            members, taken = [], set()
            groups.append((members, taken))
        members.append(file)
        taken |= names
    return [members for members, _ in groups]


if __name__ == "__main__":
    files = [Path(name) for name in sys.argv[2:]]
    for number, members in enumerate(groups_of(files, int(sys.argv[1]))):
        for member in members:
            print(number, member)
