"""How the program expands a sweep: every member is the file with its own overrides, and no others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from studies.program import program

pytestmark = pytest.mark.skipif(not program().is_file(), reason="`make build` makes the program")

SWEEP = """
name: small
output: {output}
data: {{kind: gaussian_classes}}
model: {{family: mlp, hidden: [4]}}
optimizer: {{rule: adamw, learning_rate: 1.0e-3}}
trainer: {{steps: 1}}
sweep:
  method: grid
  seeds: [1]
  baseline: checkpointed
  groups:
    - {{name: checkpointed, set: {{trainer.activation_checkpointing: true}}}}
    - {{name: chunked, set: {{trainer.loss_chunk_tokens: 256}}}}
"""


def test_a_group_does_not_inherit_the_settings_of_the_one_before(tmp_path: Path) -> None:
    config = tmp_path / "sweep.yaml"
    config.write_text(SWEEP.format(output=tmp_path / "out"))
    subprocess.run([program(), "sweep", config], check=True, capture_output=True)
    chunked = (tmp_path / "out/members/chunked-s1/config.yaml").read_text()
    assert "loss_chunk_tokens: 256" in chunked
    assert "activation_checkpointing: false" in chunked
