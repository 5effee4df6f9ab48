"""From text files to a folder of token files with a manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..files.input_file import first_hole, open_input
from .binary_text import SAMPLE_BYTES, Content, binary_reason
from .encode import Separator, TokenRun, encode, first_to_validation
from .errors import InputError
from .progress import Progress, duration_text, say
from .stop_signal import stop_at_checks
from .text import DocumentKind, Piece, Split, TextReader, cut_after, document_kind, whole_words
from .token_file import MAX_FILE_TOKENS, SplitWriter, TokenLayout, replaced_together, token_width
from .tokenizer import (
    END_OF_TEXT,
    MAX_VOCAB_SIZE,
    MIN_VOCAB_SIZE,
    ByteTokenizer,
    Tokenizer,
    gpt2_tokenizer,
    load_tokenizer,
    train_bpe,
)

DEFAULT_VOCAB_SIZE = 2048
_NAMED_TOKENIZERS = ("byte", "bpe", "gpt2")
_SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True)
class Job:
    """What the command line says; None where it says nothing."""

    train: tuple[Path, ...]
    output: Path
    validation: tuple[Path, ...] = ()
    validation_fraction: float | None = None
    validation_tokens: int | None = None
    documents: DocumentKind | None = None
    text_field: str | None = None
    document_separator: Separator = "none"
    tokenizer: str = "byte"
    vocab_size: int | None = None
    vocabulary: Path | None = None
    merges: Path | None = None
    end_of_text: str = END_OF_TEXT
    format: TokenLayout = "llmc"
    content: Content = "text"
    shard_tokens: int | None = None


def prepare(job: Job) -> dict[str, Any]:
    """Writes all files, returns the manifest. The old files stay until all new ones are there."""
    check(job)
    corpus = _Corpus(job)
    with replaced_together(job.output) as folder:
        tokenizer = _tokenizer(job, corpus)
        width = token_width(tokenizer.vocab_size, job.format)
        writers = {
            split: SplitWriter(folder, split, job.format, width, job.shard_tokens)
            for split in _SPLITS
        }
        _write_tokens(job, corpus, tokenizer, writers)
        manifest = _manifest(job, tokenizer, width, writers)
        _write_beside(folder, tokenizer, manifest)
    return manifest


# ---- checks ------------------------------------------------------------------------------------


def check(job: Job) -> None:
    """What can be known before any text is read."""
    _check_split(job)
    _check_tokenizer(job)
    if job.shard_tokens is not None and not 1 <= job.shard_tokens <= MAX_FILE_TOKENS:
        raise InputError(
            f"--shard-tokens is {job.shard_tokens}, allowed are 1 to {MAX_FILE_TOKENS}"
        )
    files = (*job.train, *job.validation)
    if job.content == "binary" and job.tokenizer != "byte":
        raise InputError(f"--content binary needs --tokenizer byte, not {job.tokenizer}")
    for file in files:
        _check_text(file, job.content)
    kinds = {document_kind(file, job.documents) for file in files}
    if job.text_field is not None and "jsonl" not in kinds:
        raise InputError(f"--text-field {job.text_field}: none of the files is read as JSON lines")


def _check_text(file: Path, content: Content) -> None:
    try:
        with open_input(file) as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise InputError(f"{file}: is empty")
            hole = first_hole(stream)
            start = stream.read(SAMPLE_BYTES) if content == "text" else b""
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from None
    if hole is not None:
        raise InputError(f"{file}: has a hole at byte {hole}: a sparse file, no text")
    if (reason := binary_reason(start)) is not None:
        raise InputError(f"{file}: {reason}")


def _check_split(job: Job) -> None:
    given = {
        "--validation": bool(job.validation),
        "--validation-fraction": job.validation_fraction is not None,
        "--validation-tokens": job.validation_tokens is not None,
    }
    if sum(given.values()) != 1:
        named = ", ".join(name for name, there in given.items() if there) or "none"
        raise InputError(f"exactly one of {', '.join(given)} must be given, not {named}")
    fraction, tokens = job.validation_fraction, job.validation_tokens
    if fraction is not None and not 0 < fraction < 1:
        raise InputError(f"--validation-fraction is {fraction}, it must be above 0 and below 1")
    if tokens is not None and tokens < 1:
        raise InputError(f"--validation-tokens is {tokens}, it must be at least 1")
    if tokens is not None and job.tokenizer == "bpe":
        raise InputError(
            "--validation-tokens needs a tokenizer that is there, bpe is trained on the training "
            "text alone: use --validation-fraction"
        )


def _check_tokenizer(job: Job) -> None:
    named = job.tokenizer in _NAMED_TOKENIZERS
    if not named and not Path(job.tokenizer).is_file():
        raise InputError(
            f"--tokenizer {job.tokenizer}: neither {', '.join(_NAMED_TOKENIZERS)} nor a file"
        )
    if job.vocab_size is not None and job.tokenizer != "bpe":
        raise InputError(f"--vocab-size {job.vocab_size}: only --tokenizer bpe takes it")
    size = DEFAULT_VOCAB_SIZE if job.vocab_size is None else job.vocab_size
    if not MIN_VOCAB_SIZE <= size <= MAX_VOCAB_SIZE:
        raise InputError(
            f"--vocab-size is {size}, allowed are {MIN_VOCAB_SIZE} to {MAX_VOCAB_SIZE}"
        )
    for name, path in (("--vocabulary", job.vocabulary), ("--merges", job.merges)):
        if job.tokenizer == "gpt2" and path is None:
            raise InputError(f"--tokenizer gpt2 needs {name}: the file from GPT-2's release")
        if job.tokenizer != "gpt2" and path is not None:
            raise InputError(f"{name} {path}: only --tokenizer gpt2 takes it")


# ---- text --------------------------------------------------------------------------------------


class _Corpus:
    """The pieces of the job's files with their splits."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._reader = TextReader(job.documents, job.text_field or "text")
        if job.tokenizer == "byte":
            self._reader = replace(self._reader, errors=ByteTokenizer.errors)
        self._cut: int | None = None
        self.bytes = sum(file.stat().st_size for file in (*job.train, *job.validation))

    def pieces(self, progress: Progress) -> Iterator[Piece]:
        reader = replace(self._reader, on_read=progress.advance)
        if self._job.validation_fraction is not None:
            return cut_after(reader.pieces(self._job.train), self._train_characters())
        return self._files(reader)

    def training_text(self, progress: Progress) -> Iterator[str]:
        training = takewhile(lambda piece: piece.split == "train", self.pieces(progress))
        return whole_words(training)

    def _files(self, reader: TextReader) -> Iterator[Piece]:
        yield from reader.pieces(self._job.train)
        yield from reader.pieces(self._job.validation, "validation")

    def _train_characters(self) -> int:
        """nanoGPT's rule: the first int(n * 0.9) of n characters for a fraction of 0.1."""
        assert self._job.validation_fraction is not None
        if self._cut is None:
            progress = Progress("counting characters", self.bytes)
            reader = replace(self._reader, on_read=progress.advance)
            count = sum(len(piece.text) for piece in reader.pieces(self._job.train))
            progress.finish()
            self._cut = int(count * (1 - self._job.validation_fraction))
        return self._cut


def _tokenizer(job: Job, corpus: _Corpus) -> Tokenizer:
    separated = job.document_separator != "none"
    if job.tokenizer == "byte":
        return ByteTokenizer(separated)
    if job.tokenizer == "bpe":
        return _trained(job, corpus, separated)
    tokenizer: Tokenizer
    if job.tokenizer == "gpt2":
        assert job.vocabulary is not None and job.merges is not None
        tokenizer = gpt2_tokenizer(job.vocabulary, job.merges, job.end_of_text)
    else:
        tokenizer = load_tokenizer(Path(job.tokenizer), job.end_of_text)
    if tokenizer.vocab_size > MAX_VOCAB_SIZE:
        raise InputError(
            f"{job.tokenizer}: {tokenizer.vocab_size} tokens, at most {MAX_VOCAB_SIZE} are allowed"
        )
    if separated and tokenizer.end_of_text is None:
        raise InputError(
            f"{job.vocabulary or job.tokenizer}: has no token '{job.end_of_text}' for "
            f"--document-separator {job.document_separator}; --end-of-text names another one"
        )
    return tokenizer


def _trained(job: Job, corpus: _Corpus, separated: bool) -> Tokenizer:
    size = job.vocab_size or DEFAULT_VOCAB_SIZE
    progress = Progress("training the tokenizer", corpus.bytes)
    text = corpus.training_text(progress)
    tokenizer = train_bpe(text, size, job.end_of_text if separated else None)
    progress.finish()
    if tokenizer.vocab_size < size:
        say(f"the text has no more than {tokenizer.vocab_size} entries")
    return tokenizer


# ---- tokens ------------------------------------------------------------------------------------


def _write_tokens(
    job: Job, corpus: _Corpus, tokenizer: Tokenizer, writers: dict[Split, SplitWriter]
) -> None:
    progress = Progress("tokens", corpus.bytes)
    with stop_at_checks() as check_stop:
        pieces = _checked(corpus.pieces(progress), check_stop)
        runs: Iterator[TokenRun] = encode(pieces, tokenizer, job.document_separator)
        if job.validation_tokens is not None:
            runs = first_to_validation(runs, job.validation_tokens)
        for run in runs:
            writers[run.split].write(run.ids, run.text_bytes)
    for split, writer in writers.items():
        writer.close()
        if writer.tokens == 0:
            raise InputError(f"{_split_place(job, split)}: no text is left for the {split} tokens")
    progress.finish()
    for split, writer in writers.items():
        _report(split, writer)
    say(f"took {duration_text(progress.seconds())}")


def _checked(pieces: Iterator[Piece], check_stop: Callable[[], None]) -> Iterator[Piece]:
    for piece in pieces:
        check_stop()
        yield piece


def _split_place(job: Job, split: Split) -> str:
    if job.validation_fraction is not None:
        return f"--validation-fraction {job.validation_fraction}"
    if job.validation_tokens is not None:
        return f"--validation-tokens {job.validation_tokens}"
    files = job.train if split == "train" else job.validation
    return ", ".join(map(str, files))


def _report(split: Split, writer: SplitWriter) -> None:
    count = len(writer.files)
    say(
        f"{split}: {writer.tokens:,} tokens in {count} file{'s' if count > 1 else ''}, "
        f"{writer.text_bytes / writer.tokens:.2f} bytes each"
    )


def _manifest(
    job: Job, tokenizer: Tokenizer, width: int, writers: dict[Split, SplitWriter]
) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "format": "blockwise-tokens",
        "version": 1,
        "tokenizer": tokenizer.name,
        "vocab_size": tokenizer.vocab_size,
        "end_of_text": tokenizer.end_of_text,
        "document_separator": job.document_separator,
        "layout": job.format,
        "token_bytes": width,
    }
    if tokenizer.file_content() is not None:
        manifest["tokenizer_file"] = "tokenizer.json"
    manifest["files"] = {split: _split_entry(writer) for split, writer in writers.items()}
    return manifest


def _split_entry(writer: SplitWriter) -> dict[str, Any]:
    shards = [
        {"file": file.name, "tokens": file.tokens, "sha256": file.sha256} for file in writer.files
    ]
    return {"tokens": writer.tokens, "bytes": writer.text_bytes, "shards": shards}


def _write_beside(folder: Path, tokenizer: Tokenizer, manifest: dict[str, Any]) -> None:
    files = {"manifest.json": (json.dumps(manifest, indent=2) + "\n").encode()}
    content = tokenizer.file_content()
    if content is not None:
        files["tokenizer.json"] = content
    for name, data in files.items():
        with (folder / name).open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
