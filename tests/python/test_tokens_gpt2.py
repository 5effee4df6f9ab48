"""GPT-2's BPE on tiny Shakespeare: the token counts that nanoGPT and llm.c publish.

BLOCKWISE_TEST_GPT2_BPE is a folder with GPT-2's encoder.json and vocab.bpe. The text is
BLOCKWISE_TEST_TINYSHAKESPEARE or ../shared/data/tinyshakespeare.txt. Neither is in the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from make_tokens import manifest_of, run, split_of

TABLES = Path(os.environ.get("BLOCKWISE_TEST_GPT2_BPE", "missing"))
TEXT = Path(
    os.environ.get("BLOCKWISE_TEST_TINYSHAKESPEARE")
    or Path(__file__).resolve().parents[3] / "shared/data/tinyshakespeare.txt"
)
GPT2 = ("--tokenizer", "gpt2", "--vocabulary", TABLES / "encoder.json",
        "--merges", TABLES / "vocab.bpe")  # fmt: skip
END_OF_TEXT = 50256

needs_text = pytest.mark.skipif(not TEXT.is_file(), reason=f"no tiny Shakespeare ({TEXT})")
needs_tables = pytest.mark.skipif(
    not (TABLES / "encoder.json").is_file(), reason="BLOCKWISE_TEST_GPT2_BPE names no tables"
)


@needs_text
@needs_tables
@pytest.mark.parametrize("layout", ["llmc", "raw_uint16"])
def test_nanogpt_counts(tmp_path: Path, layout: str) -> None:
    assert run("--train", TEXT, "--validation-fraction", 0.1, *GPT2, "--format", layout,
               "--output", tmp_path / "tokens") == 0  # fmt: skip
    files = manifest_of(tmp_path / "tokens")["files"]
    assert (files["train"]["tokens"], files["validation"]["tokens"]) == (301_966, 36_059)
    assert (files["train"]["bytes"], files["validation"]["bytes"]) == (1_003_854, 111_540)
    header = 1024 if layout == "llmc" else 0
    assert (tmp_path / "tokens/train.bin").stat().st_size == header + 2 * 301_966
    # "First Citizen:\nBefore we proceed any further", as nanoGPT's and llm.c's files begin.
    first = np.fromfile(tmp_path / "tokens/train.bin", dtype="<u2", offset=header)[:8]
    assert first.tolist() == [5962, 22307, 25, 198, 8421, 356, 5120, 597]


@needs_text
@needs_tables
def test_llmc_counts(tmp_path: Path) -> None:
    assert run("--train", TEXT, "--validation-tokens", 32_768, *GPT2, "--documents", "blank-line",
               "--document-separator", "before", "--output", tmp_path / "tokens") == 0  # fmt: skip
    train, validation = (split_of(tmp_path / "tokens", name) for name in ("train", "validation"))
    assert len(train) + len(validation) == 338_028
    assert (tmp_path / "tokens/validation.bin").stat().st_size == 66_560
    assert (tmp_path / "tokens/train.bin").stat().st_size == 611_544
    assert validation[:3].tolist() == [END_OF_TEXT, 5962, 22307]
    sections = TEXT.read_text().count("\n\n") + 1
    assert (train == END_OF_TEXT).sum() + (validation == END_OF_TEXT).sum() == sections


@needs_text
def test_bytes_of_tiny_shakespeare(tmp_path: Path) -> None:
    assert run("--train", TEXT, "--validation-fraction", 0.1, "--output", tmp_path / "tokens") == 0
    files = manifest_of(tmp_path / "tokens")["files"]
    assert (files["train"]["tokens"], files["validation"]["tokens"]) == (1_003_854, 111_540)
