"""What only one study needs: the tables and figures of the notebooks beside this folder, and the
programs that run a study.

    python -m studies.hessian_studies                     the studies of configs/hessian
    python -m studies.quadratics                          the study of quadratics, its table
    python -m studies.attribution                         the study of roles, its tables
    python -m studies.optimizer_study                     the study of optimizers, its table
    python -m studies.claims.rmnp                         claims of newer papers, a study each
"""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
"""The checkout: where `configs`, `runs` and `data` are."""
