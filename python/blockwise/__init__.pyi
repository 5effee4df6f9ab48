"""The public names of the package and where they are defined; `__init__.py` reads this list."""

from .analysis.spectral_density import (
    Bulk as Bulk,
    cumulative_band as cumulative_band,
    density as density,
    exact_eigenvalues as exact_eigenvalues,
    quadrature_trace as quadrature_trace,
    spectral_measure as spectral_measure,
    split_outliers as split_outliers,
)
from .analysis.sweep_tables import (
    best_configurations as best_configurations,
    by_rank as by_rank,
    configurations as configurations,
    confirmed_configurations as confirmed_configurations,
    final_losses as final_losses,
    judged_configurations as judged_configurations,
    loss_band as loss_band,
    loss_curves as loss_curves,
    run_status as run_status,
    status_counts as status_counts,
)
from .figures.block_matrix import (
    coupling_figure as coupling_figure,
    coupling_matrix as coupling_matrix,
    distance_figure as distance_figure,
    distance_matrix as distance_matrix,
)
from .figures.energy import (
    energy_figure as energy_figure,
)
from .figures.hessian_matrix import (
    matrix_figure as matrix_figure,
)
from .figures.loss_difference import (
    loss_difference_figure as loss_difference_figure,
    loss_differences as loss_differences,
)
from .figures.partition import (
    partition_picture as partition_picture,
)
from .figures.run import (
    run_figure as run_figure,
    time_split as time_split,
)
from .figures.spectrum import (
    block_spectra_figure as block_spectra_figure,
    eigenvalue_ends as eigenvalue_ends,
    spectrum_figure as spectrum_figure,
)
from .figures.spectrum_course import (
    spectrum_course as spectrum_course,
    spectrum_course_figure as spectrum_course_figure,
)
from .figures.style import (
    save_figure as save_figure,
)
from .figures.sweep import (
    final_loss_figure as final_loss_figure,
    loss_curve_figure as loss_curve_figure,
    memory_figure as memory_figure,
    sweep_figure as sweep_figure,
)
from .files.hdf5_file import (
    RunFileError as RunFileError,
)
from .files.partition_file import (
    PartitionFile as PartitionFile,
    read_partition_file as read_partition_file,
)
from .files.partition_scores import (
    read_scores as read_scores,
)
from .files.run import (
    read_run as read_run,
    Run as Run,
)
from .files.spectra import (
    Eigenvector as Eigenvector,
    read_spectrum as read_spectrum,
    Spectrum as Spectrum,
)
from .files.sweep import (
    Member as Member,
    read_sweep as read_sweep,
    Sweep as Sweep,
)
from .statistics.intervals import (
    mean_interval as mean_interval,
    MeanInterval as MeanInterval,
)
from .statistics.student_t import (
    t_quantile as t_quantile,
)

__version__: str
