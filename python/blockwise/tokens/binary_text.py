"""Files that are no text: images, archives, token files, text in UTF-16."""

from __future__ import annotations

import re
from typing import Literal

Content = Literal["text", "binary"]
CONTENTS: tuple[Content, ...] = ("text", "binary")
SAMPLE_BYTES = 1 << 20  # of the start of a file, which says what it is
# A text with some stray bytes (an old encoding here and there) has less of them than this.
_MOST_STRAY = 0.01
_STRAY = re.compile("[\udc80-\udcff]")
_ADVICE = (
    "Text has to be UTF-8 (iconv -f UTF-16 -t UTF-8 converts); token files need no `data`, they go "
    "into data.train with their data.format; --content binary takes any bytes as byte tokens"
)


def binary_reason(start: bytes) -> str | None:
    """Why the start of a file is none of a text, with the place; None where it may be one."""
    zero = start.find(0)
    if zero >= 0:
        return f"byte {zero} is NUL, so this is a binary file or UTF-16, no UTF-8 text. {_ADVICE}"
    text = start.decode("utf-8", "surrogateescape")
    # The sample may end within a character, of which at most three bytes are there.
    end = len(text) - 3 if len(start) == SAMPLE_BYTES else len(text)
    stray = [match.start() for match in _STRAY.finditer(text) if match.start() < end]
    if len(stray) <= _MOST_STRAY * len(start) or not stray:
        return None
    first = len(text[: stray[0]].encode("utf-8", "surrogateescape"))
    share = 100 * len(stray) / len(start)
    return (
        f"byte {first} is no UTF-8, and so are {share:.0f} % of the first {len(start)} bytes: a "
        f"binary file or another encoding. {_ADVICE}"
    )
