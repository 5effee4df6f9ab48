"""A prompt to tokens, and tokens to text as they come, by the library `tokenizers`:

python -m blockwise.tokens.text_session path/to/tokenizer.json

Every line of standard input is a JSON value, every answer a line of JSON:

    "It was"   a text: its token numbers; what follows continues it
    17         a token: the text that is certain with it, behind what was answered before
    null       the end: what was still held back
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from typing import Any

from ..files.input_file import read_input

MAX_BYTES = 256 << 20  # of a tokenizer.json
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Continuation:
    """The text of tokens behind a prompt, as the tokenizer's own decoder writes it, piece by piece.

    A decoder looks at neighbours (blanks between words, bytes of one character), so it gets the
    tokens from the last piece on: what it makes of that piece alone is known, the rest is new. A
    character whose bytes are not all there yet is decoded as U+FFFD: that end is held back."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._tokens = list(prompt)  # from the piece before the last on
        self._start = len(self._tokens)  # of what is new among them
        self._shown = self._decode(self._tokens)

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(list(tokens), skip_special_tokens=False)

    def feed(self, token: int) -> str:
        self._tokens.append(token)
        text = self._decode(self._tokens)
        certain = text.rstrip(REPLACEMENT)
        piece = certain[len(self._shown) :]
        if piece and certain == text:
            self._tokens = self._tokens[self._start :]
            self._start = len(self._tokens)
            self._shown = self._decode(self._tokens)
        elif piece:
            self._shown = certain
        return piece

    def finish(self) -> str:
        return self._decode(self._tokens)[len(self._shown) :]


def open_tokenizer(path: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(read_input(path, MAX_BYTES).decode("utf-8"))
    # What whoever saved the file used to make batches of.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def serve(tokenizer: Any) -> None:
    continuation = Continuation(tokenizer, [])
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any
        if isinstance(request, str):
            answer = tokenizer.encode(request).ids
            continuation = Continuation(tokenizer, answer)
        elif request is None:
            answer = continuation.finish()
        else:
            answer = continuation.feed(request)
        print(json.dumps(answer), flush=True)


def main(arguments: Sequence[str]) -> int:
    # Ctrl-C goes to both of us; the end of the input is what ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if len(arguments) != 1:
        print("usage: python -m blockwise.tokens.text_session TOKENIZER_JSON", file=sys.stderr)
        return 2
    (path,) = arguments
    try:
        tokenizer = open_tokenizer(path)
    except ImportError:
        print("the package `tokenizers` is missing: pip install tokenizers", file=sys.stderr)
        return 2
    except Exception as error:  # the library raises its base class
        print(f"{path}: no tokenizer of the library tokenizers: {error}", file=sys.stderr)
        return 2
    try:
        serve(tokenizer)
    except Exception as error:  # a text or a token that this tokenizer cannot take
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
