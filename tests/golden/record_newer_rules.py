"""Records tests/golden/rules/*.safetensors of the rules of 2024 and later; see record_rules.py and
record_hidden_rules.py, whose packages and SOURCES it takes as well.

    golden/bin/python tests/golden/record_newer_rules.py SOURCES [RULE ...]

SOURCES also holds dayal-kalra/low-memory-adam bb3652c.
"""

import json
import sys
from pathlib import Path

from record_hidden_rules import load
from record_rules import DECAY, RATE, of_functions, record


def record_slim_adam():
    module = load("low-memory-adam/utils/slimadam.py", "slimadam")
    axes = {"table": (1,), "wide": (0,), "tall": (0,), "head": (1,)}

    def make(parameters):
        rules = Path("axes.json")
        rules.write_text(json.dumps(axes))
        optimizer = module.SlimAdamW(list(parameters.items()), lr=RATE, betas=(0.9, 0.95), eps=1e-8,
                                     weight_decay=DECAY, rules_json_path=rules)
        rules.unlink()
        for group in optimizer.param_groups:
            group["weight_decay"] = DECAY  # vectors have none there
        return [optimizer]

    record("slim_adam", "dayal-kalra/low-memory-adam bb3652c, SlimAdamW",
           {"fan_in": ["lm_head"], "fan_out": ["token_embedding", "other"]}, make)


if __name__ == "__main__":
    own = {name: function for name, function in globals().items()
           if getattr(function, "__module__", "") == "__main__"}
    of_functions(own, sys.argv[2:])
