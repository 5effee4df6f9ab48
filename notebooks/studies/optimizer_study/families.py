"""What kind of optimizer a rule is: by what it keeps of the second moments, and how."""

from __future__ import annotations

from collections.abc import Mapping

from blockwise.files.sweep import Override

FAMILIES = {
    "per element": ("adamw", "nadamw", "stable_adamw", "sophia_g", "adaptive_memory"),
    "blocks and factors": (
        "adam_mini", "slim_adam", "adafactor", "adafactor_original", "came", "adalomo", "sm3",
        "extreme_tensoring", "gefen", "ada_pm",
    ),
    "no second moment": ("sgd", "sgd_momentum", "lomo", "lion", "scale"),
    "whole matrices": ("muon", "normuon", "rmnp", "soap", "shampoo", "dion"),
    "projections": (
        "galore", "fira", "apollo", "apollo_mini", "ldadam", "frugal", "foam", "gwt", "micro_adam",
        "badam",
    ),
    "learned": ("adafactor_mlp", "mlp_lopt"),
}  # fmt: skip
"""The rules of each family."""

FEW_BITS = "few bits"
OTHERS = "others"
ORDER = (*FAMILIES, FEW_BITS, OTHERS)

_ROUNDED = ("optimizer.state.", "trainer.precision", "trainer.master_weights")


def family_of(overrides: Mapping[str, Override]) -> str:
    """Of a group, by what it sets: few bits where it stores state or weights in fewer than 32."""
    if any(key.startswith(_ROUNDED) for key in overrides) or _is_8_bit(overrides):
        return FEW_BITS
    rule = overrides.get("optimizer.rule")
    return next((family for family, rules in FAMILIES.items() if rule in rules), OTHERS)


def _is_8_bit(overrides: Mapping[str, Override]) -> bool:
    return overrides.get("optimizer.rule") == "fp8_adamw"
