"""Token numbers of a text, as a JSON list:

python -m blockwise.encode_text path/to/tokenizer.json "It was a truth"
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from .input_file import read_input


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2:
        print("usage: python -m blockwise.encode_text TOKENIZER_JSON TEXT", file=sys.stderr)
        return 2
    try:
        from tokenizers import Tokenizer
    except ImportError:
        print("the package `tokenizers` is missing: pip install tokenizers", file=sys.stderr)
        return 2
    path, text = arguments
    try:
        tokenizer = Tokenizer.from_str(read_input(path, 256 << 20).decode("utf-8"))
    except Exception as error:  # the library raises its base class
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(tokenizer.encode(text).ids))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
