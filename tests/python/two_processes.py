"""Small runs of two processes, as tests start and end them."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence

STEPS = 400
TIMEOUT = 6

CONFIG = f"""
name: small
data: {{kind: markov_tokens, vocab_size: 64, sequence_length: 32}}
model: {{family: llama, n_layer: 2, n_head: 2, n_embd: 32}}
optimizer: {{rule: adam_mini, learning_rate: 1.0e-3}}
trainer: {{steps: {STEPS}, micro_batch_size: 4, global_batch_tokens: 256, checkpoint_every: 20}}
parallel: {{timeout_seconds: {TIMEOUT}}}
"""


def free_port() -> int:
    """Of this machine, that nobody uses at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_all(processes: Sequence[subprocess.Popen[bytes]], seconds: float) -> list[int]:
    """Exit codes; what has not ended in time is killed, which is its code then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        time.sleep(0.05)
    for process in processes:
        process.kill()
    return [process.wait() for process in processes]
