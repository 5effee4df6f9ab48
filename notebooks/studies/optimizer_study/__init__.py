"""Every optimizer with the same tuning effort: loss, band of rates, memory, time, energy.

    blockwise sweep configs/studies/optimizers.yaml --jobs 2
    python -m studies.optimizer_study runs/optimizers
    python -m studies.optimizer_study runs/optimizers --figure loss.png --rates rates.png
    blockwise sweep configs/studies/optimizers-equal-memory.yaml --jobs 2
    python -m studies.optimizer_study runs/optimizers-equal-memory
    python -m studies.optimizer_study.widths              the widths of that file

Tables are printed as Markdown, but for that of the widths.
"""

from .figures import loss_bytes_figure, rates_figure
from .markdown import markdown
from .tables import study_table

__all__ = ["loss_bytes_figure", "markdown", "rates_figure", "study_table"]
