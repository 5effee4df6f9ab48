"""Text files as documents in pieces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from make_tokens import MESSY
from tokenizers.pre_tokenizers import ByteLevel

from blockwise.tokens.errors import InputError
from blockwise.tokens.text import DocumentKind, Piece, TextReader, cut_after, whole_words


def documents(path: Path, kind: DocumentKind | None, block_bytes: int = 1 << 17) -> list[str]:
    """The documents put together again; checks that starts and ends alternate."""
    result: list[str] = []
    inside = False
    for piece in TextReader(kind, block_bytes=block_bytes).pieces([path]):
        assert piece.starts is not inside
        if piece.starts:
            result.append("")
        result[-1] += piece.text
        inside = not piece.ends
    assert not inside
    return result


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 64, 1 << 17])
@pytest.mark.parametrize(
    "text",
    ["a", "\n", "\n\n", "a\n\nb", "a\n\n\nb\n\n\n\n\nc\n", "a\n\nb\n\n", "é🙂\n\n" * 9, MESSY],
)
def test_documents_do_not_depend_on_the_blocks(tmp_path: Path, text: str, block_bytes: int) -> None:
    path = write(tmp_path / "a.txt", text)
    assert documents(path, "file", block_bytes) == [text]
    # llm.c's rule: split at blank lines, which stay with the section before them.
    sections = text.split("\n\n")
    expected = [section + "\n\n" for section in sections[:-1]] + sections[-1:]
    assert documents(path, "blank-line", block_bytes) == expected
    lines = text.split("\n")
    expected = [line + "\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]
    assert documents(path, "line", block_bytes) == expected


def test_pieces_are_short(tmp_path: Path) -> None:
    long = "word " * 5000
    path = write(tmp_path / "a.txt", f"{long}\n{long}")
    record = write(tmp_path / "a.jsonl", json.dumps({"text": long}) + "\n")
    for kind, file in (("file", path), ("line", path), ("blank-line", path), ("jsonl", record)):
        reader = TextReader(kind, block_bytes=100)  # type: ignore[arg-type]
        assert max(len(piece.text) for piece in reader.pieces([file])) <= 200


def test_json_lines_are_recognized_and_may_have_another_field(tmp_path: Path) -> None:
    texts = ["one\n\ntwo", "", 'with "quotes" and 🙂', "\n"]
    lines = [json.dumps({"id": 3, "text": text, "body": text * 2}) for text in texts]
    path = write(tmp_path / "a.jsonl", "\n".join([*lines, "", ""]))
    assert documents(path, None) == texts
    assert documents(write(tmp_path / "a.txt", path.read_text()), "jsonl", 2) == texts
    assert documents(path, "file") == [path.read_text()]
    pieces = TextReader(text_field="body").pieces([path])
    assert [piece.text for piece in pieces] == [text * 2 for text in texts]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"a\.jsonl:2: not JSON"),
        ("[1]", r"a\.jsonl:2: a list, not an object"),
        ('{"Text": "a"}', r"a\.jsonl:2: no field 'text', only \['Text'\]"),
        ('{"text": 5}', r"a\.jsonl:2: field 'text' is a int, not text"),
        ('{"text": "a\\ud83d"}', r"a\.jsonl:2: half a surrogate pair at 1"),
    ],
)
def test_bad_json_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "good"}\n' + line + "\n")
    with pytest.raises(InputError, match=message):
        list(TextReader().pieces([path]))


def test_json_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl:1: byte 10 of the line is not UTF-8"):
        list(TextReader().pieces([tmp_path / "a.jsonl"]))


@pytest.mark.parametrize("block_bytes", [3, 1501, 10_000])
def test_text_that_is_not_utf8_is_named_with_its_place(tmp_path: Path, block_bytes: int) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"good\n" * 300 + "é".encode() + b"\xff")
    with pytest.raises(InputError, match=r"bad\.txt: byte 1502 is not UTF-8"):
        list(TextReader("file", block_bytes=block_bytes).pieces([path]))


def test_half_a_character_at_the_end_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"x" + "é".encode()[:1])
    with pytest.raises(InputError, match="middle of a UTF-8 character"):
        list(TextReader("file").pieces([tmp_path / "bad.txt"]))


def test_what_is_read_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", MESSY)
    record = write(tmp_path / "a.jsonl", '{"text": "é"}\n' * 50)
    counts: list[int] = []
    list(TextReader(block_bytes=100, on_read=counts.append).pieces([path, record]))
    assert sum(counts) == path.stat().st_size + record.stat().st_size


@pytest.mark.parametrize("cut", range(10))
def test_a_cut_puts_each_character_on_its_side(cut: int) -> None:
    pieces = [Piece("ab", ends=False), Piece("cde", starts=False), Piece(""), Piece("fghi")]
    result = list(cut_after(pieces, cut))
    sides = {split: [p for p in result if p.split == split] for split in ("train", "validation")}
    assert "".join(p.text for p in sides["train"]) == "abcdefghi"[:cut]
    assert "".join(p.text for p in sides["validation"]) == "abcdefghi"[cut:]
    # A document that is cut starts and ends once.
    assert [p.starts for p in result].count(True) == 3
    assert [p.ends for p in result].count(True) == 3
    assert [p.split for p in result] == sorted(p.split for p in result)


@pytest.mark.parametrize("length", [1, 5, 64, 700, 10**6])
def test_words_stay_whole(length: int) -> None:
    rule = ByteLevel(add_prefix_space=False)
    documents = [MESSY, "ends without a blank", "starts without one"]
    pieces = [
        Piece(text[i : i + length], i == 0, i + length >= len(text))
        for text in documents
        for i in range(0, len(text), length)
    ]
    parts = list(whole_words(pieces))
    assert "".join(parts) == "".join(documents)
    words = [word for part in parts for word, _ in rule.pre_tokenize_str(part)]
    assert words == [word for text in documents for word, _ in rule.pre_tokenize_str(text)]
    if length < 100:
        assert max(map(len, parts)) < 250


def test_an_endless_word_is_cut() -> None:
    parts = list(whole_words([Piece("x" * (1 << 17), i == 0, ends=False) for i in range(40)]))
    assert sum(map(len, parts)) == 40 << 17
    assert max(map(len, parts)) <= (1 << 20) + (1 << 17)


def test_the_empty_end_of_a_document_stays_with_it() -> None:
    long = [Piece("abc", ends=False), Piece("", starts=False)]
    assert [p.split for p in cut_after(long, 3)] == ["train", "train"]
    assert [p.split for p in cut_after(long, 2)] == ["train", "validation", "validation"]
