"""The command line of `python -m blockwise.tokens`; `blockwise data` has the same options."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from .binary_text import CONTENTS
from .encode import SEPARATORS
from .errors import InputError
from .prepare import DEFAULT_VOCAB_SIZE, Job, prepare
from .progress import say
from .stop_signal import Stopped
from .text import DOCUMENT_KINDS
from .token_file import TOKEN_LAYOUTS
from .tokenizer import END_OF_TEXT


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="blockwise data", description="Token files from text.")
    add: Any = parser.add_argument
    add("--train", type=Path, nargs="+", required=True, help="UTF-8 text, or JSON lines (*.jsonl)")
    add("--validation", type=Path, nargs="+", help="text to evaluate on")
    add("--validation-fraction", type=float, help="the last part of the characters of --train")
    add("--validation-tokens", type=int, help="the first tokens of --train")
    add("--documents", choices=DOCUMENT_KINDS, help="default: jsonl for *.jsonl, file for others")
    add("--text-field", help="jsonl: the field with the text (default: text)")
    add("--document-separator", choices=SEPARATORS, help="where the end-of-text token stands")
    add("--tokenizer", help="byte (default), bpe, gpt2, or the path of a tokenizer.json")
    add("--vocab-size", type=int, help=f"bpe: number of entries (default: {DEFAULT_VOCAB_SIZE})")
    add("--vocabulary", type=Path, help="gpt2: encoder.json or vocab.json")
    add("--merges", type=Path, help="gpt2: vocab.bpe or merges.txt")
    add("--end-of-text", help=f"the separator's name in the tokenizer (default: {END_OF_TEXT})")
    add("--output", type=Path, required=True, help="folder of the token files")
    add("--format", choices=TOKEN_LAYOUTS, help="llmc (default), or bare: raw_uint16, raw_uint32")
    add("--content", choices=CONTENTS, help="text (default), or binary: any bytes, byte tokens")
    add("--shard-tokens", type=int, help="tokens per file; without it one file each")
    return parser


def _job(arguments: Sequence[str] | None) -> Job:
    given = {k: v for k, v in vars(_parser().parse_args(arguments)).items() if v is not None}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return Job(**values)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 2 for bad input, 1 where writing failed, 4 where a signal stopped it."""
    try:
        job = _job(arguments)
        prepare(job)
    except InputError as error:
        say(f"blockwise: {error}")
        return 2
    except (OSError, MemoryError) as error:
        say(f"blockwise: the run failed: {error or 'out of memory'}")
        return 1
    except Stopped as signal_name:
        say(f"blockwise: stopped by {signal_name}; the folder is as it was")
        return 4
    return _print(f"The token files are in {job.output}")


def _print(text: str) -> int:
    """The exit status: what was printed counts when it has arrived."""
    try:
        print(text, flush=True)
    except OSError as error:
        say(f"blockwise: standard output: cannot be written: {error.strerror}")
        # Python would try again at its end, and complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    # Ends at once, also within the package's long calls, where there is nothing to take away.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
