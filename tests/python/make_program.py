"""A made-up program that answers `plan` and `eval` like blockwise, for the tests."""

from __future__ import annotations

import sys
from pathlib import Path

CONFIGS = [
    "configs/llama/39m.yaml",
    "configs/gpt2/125m.yaml",
    "configs/gpt2/330m.yaml",
    "configs/llama/1b.yaml",
]

_SOURCE = '''#!{python}
import json
import sys
from pathlib import Path

verb, path = sys.argv[1], Path(sys.argv[2])
assert sys.argv[-1] == "--json"
letters = {{"m": 10**6, "b": 10**9}}

def plan():
    parameters = int(float(path.stem.split('-')[-1][:-1]) * letters[path.stem[-1]])
    values = parameters if "optimizer.rule=adamw" in sys.argv else parameters // 500
    state = {{"exp_avg": 4 * parameters, "exp_avg_sq": 4 * values}}
    lasting = 8 * parameters + sum(state.values())
    activations = 10**9 + 4 * parameters
    return {{
        "name": f"{{path.parent.name}}-{{path.stem}}", "parameters": parameters,
        "parameter_bytes": 4 * parameters, "gradient_bytes": 4 * parameters, "optimizer": state,
        "optimizer_bytes": sum(state.values()), "master_bytes": 0,
        "activation_bytes": activations, "peak_bytes": lasting + activations,
        "peak_bytes_without_checkpointing": lasting + activations,
        "peak_bytes_with_checkpointing": lasting + activations // 4,
        "checkpoint_bytes": 4 * parameters + sum(state.values()),
        "flops_per_token": 6 * parameters, "device_bytes": 80 * 2**30,
        "devices_state_sharded": 1, "devices_all_sharded": 1,
    }}

def each_rank():
    """State in shares, activations of the micro-batch; what a byte a second and an operation a second take."""
    ranks, given = int(sys.argv[sys.argv.index("--ranks") + 1]), dict(
        word.split("=") for word in sys.argv if word.startswith("trainer.micro_batch_size=")
    )
    sequences, whole = int(given["trainer.micro_batch_size"]), plan()
    parameters = whole["parameters"]
    sent = 6 * parameters * (ranks - 1) / ranks
    return {{
        "peak_bytes": 6 * parameters + whole["optimizer_bytes"] / ranks + sequences * 2 * parameters,
        "needed_bytes": 6 * parameters + whole["optimizer_bytes"] / ranks + sequences * 2 * parameters,
        "sent_bytes": sent, "seconds_sending": sent / 25e9,
        "seconds_computing": 6 * parameters * sequences * 1024 / 400e12,
    }}

def evaluation():
    losses = [3.0 + 2.0 / (1 + position) for position in range(64)]
    mean = sum(losses) / len(losses)
    return {{"loss": mean, "perplexity": 2.718281828**mean, "bits_per_byte": 1.1, "tokens": 1024,
            "loss_by_position": losses}}

if path.name == "refused.yaml":
    sys.exit(f"blockwise: {{path}}: unknown key")
if path.name == "text.yaml":
    print("a table")
elif path.name == "list.yaml":
    print("[]")
elif path.name == "short.yaml":
    path = path.with_name("1b.yaml")
    answer = plan()
    del answer["peak_bytes"]
    print(json.dumps(answer))
elif "--ranks" in sys.argv:
    print(json.dumps(plan() | {{"each_rank": each_rank()}}))
else:
    print(json.dumps(plan() if verb == "plan" else evaluation()))
'''


def write_program(path: Path) -> Path:
    """An executable file at `path`; sizes come from the names of the configurations."""
    path.write_text(_SOURCE.format(python=sys.executable))
    path.chmod(0o755)
    return path
