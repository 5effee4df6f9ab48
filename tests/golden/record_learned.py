"""Records tests/golden/rules/{adafactor_mlp,mlp_lopt}.safetensors: ten steps of the authors' own
learned optimizers, with the weights that come with blockwise; see record_rules.py.

    python3 -m venv learned
    learned/bin/pip install jax==0.4.30 jaxlib==0.4.30 flax==0.8.5 dm-haiku==0.0.12 optax==0.2.3 chex==0.1.86 \\
        gin-config==0.5.0 numpy==1.26.4 scipy==1.13.1 absl-py==2.1.0 tqdm torch==2.13.0
    learned/bin/python tests/golden/record_learned.py SOURCES

SOURCES holds a checkout of google/learned_optimization 32186aa. (The package learned-optimization 0.0.1
is older; it does the same but for vectors of adafactor_mlp, where it divides without the 1e-6.) It writes
summaries by TensorFlow, which its optimizers do not need and which is left out here. It has no weight
decay: that is taken from what it gives, w' - lr wd w.
"""

import sys
from pathlib import Path
from unittest import mock

import jax.numpy as jnp
import numpy as np
from record_rules import DECAY, GRADIENTS, RATE, SCHEDULE, STEPS, WEIGHTS, save

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "notebooks"), str(Path(sys.argv[1]) / "learned_optimization")]
sys.modules |= {name: mock.MagicMock()
                for name in ("tensorflow", "tensorflow.compat", "tensorflow.compat.v2", "flax.metrics",
                             "flax.metrics.tensorboard")}

from learned_optimization.learned_optimizers.adafac_mlp_lopt import AdafacMLPLOpt  # noqa: E402
from learned_optimization.learned_optimizers.mlp_lopt import MLPLOpt  # noqa: E402
from studies.learned_optimizer import read_constants  # noqa: E402


def own_weights(rule):
    constants = read_constants(ROOT / "optimizers/rules" / f"{rule}_weights.inc")
    return {name: jnp.asarray(values.numpy(), dtype=jnp.float32) for name, values in constants.items()}


def adafactor_mlp(rate, weights):
    decays = {name: weights[name] for name in weights if name.endswith("_decays")}
    network = {name: weights[name] for name in weights if not name.endswith("_decays")}
    return AdafacMLPLOpt(step_mult=rate).opt_fn({"nn": {"~": network}} | decays)


def mlp_lopt(rate, weights):
    layers = {f"mlp/~/linear_{i}": {"w": weights[f"w{i}"], "b": weights[f"b{i}"]} for i in range(3)}
    return MLPLOpt(step_mult=rate).opt_fn(layers)


def record(rule, make, reference):
    weights = own_weights(rule)
    state = make(RATE, weights).init({n: jnp.asarray(w) for n, w in WEIGHTS.items()}, num_steps=STEPS)
    tensors = {}
    for step in range(STEPS):
        rate = RATE * float(SCHEDULE[step])
        before = state.params
        gradients = {n: jnp.asarray(g) for n, g in GRADIENTS[step].items()}
        state = make(rate, weights).update(state, gradients, 0.0)
        after = {n: p - rate * DECAY * before[n] for n, p in state.params.items()}
        state = state.replace(params=after)
        tensors |= {f"param/{step + 1}/{n}": np.array(p, dtype=np.float32) for n, p in after.items()}
    save(rule, reference, {}, tensors)


if __name__ == "__main__":
    package = "google/learned_optimization 32186aa, "
    record("adafactor_mlp", adafactor_mlp, package + "AdafacMLPLOpt")
    record("mlp_lopt", mlp_lopt, package + "MLPLOpt")
