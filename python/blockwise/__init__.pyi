"""The public names of the package and where they are defined; `__init__.py` reads this list."""

from .analysis.spectral_density import (
    Bulk as Bulk,
)
from .analysis.spectral_density import (
    cumulative_band as cumulative_band,
)
from .analysis.spectral_density import (
    density as density,
)
from .analysis.spectral_density import (
    exact_eigenvalues as exact_eigenvalues,
)
from .analysis.spectral_density import (
    quadrature_trace as quadrature_trace,
)
from .analysis.spectral_density import (
    spectral_measure as spectral_measure,
)
from .analysis.spectral_density import (
    split_outliers as split_outliers,
)
from .analysis.spectral_distance import (
    jensen_shannon as jensen_shannon,
)
from .analysis.spectral_distance import (
    spectral_distances as spectral_distances,
)
from .analysis.sweep_tables import (
    best_configurations as best_configurations,
)
from .analysis.sweep_tables import (
    by_rank as by_rank,
)
from .analysis.sweep_tables import (
    configurations as configurations,
)
from .analysis.sweep_tables import (
    confirmed_configurations as confirmed_configurations,
)
from .analysis.sweep_tables import (
    final_losses as final_losses,
)
from .analysis.sweep_tables import (
    judged_configurations as judged_configurations,
)
from .analysis.sweep_tables import (
    loss_band as loss_band,
)
from .analysis.sweep_tables import (
    loss_curves as loss_curves,
)
from .analysis.sweep_tables import (
    run_status as run_status,
)
from .analysis.sweep_tables import (
    status_counts as status_counts,
)
from .figures.block_matrix import (
    coupling_figure as coupling_figure,
)
from .figures.block_matrix import (
    coupling_matrix as coupling_matrix,
)
from .figures.block_matrix import (
    distance_figure as distance_figure,
)
from .figures.block_matrix import (
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
)
from .figures.loss_difference import (
    loss_differences as loss_differences,
)
from .figures.partition import (
    partition_picture as partition_picture,
)
from .figures.run import (
    run_figure as run_figure,
)
from .figures.run import (
    time_split as time_split,
)
from .figures.spectrum import (
    block_spectra_figure as block_spectra_figure,
)
from .figures.spectrum import (
    eigenvalue_ends as eigenvalue_ends,
)
from .figures.spectrum import (
    spectrum_figure as spectrum_figure,
)
from .figures.spectrum_course import (
    spectrum_course as spectrum_course,
)
from .figures.spectrum_course import (
    spectrum_course_figure as spectrum_course_figure,
)
from .figures.style import (
    save_figure as save_figure,
)
from .figures.sweep import (
    final_loss_figure as final_loss_figure,
)
from .figures.sweep import (
    loss_curve_figure as loss_curve_figure,
)
from .figures.sweep import (
    memory_figure as memory_figure,
)
from .figures.sweep import (
    sweep_figure as sweep_figure,
)
from .files.hdf5_file import (
    RunFileError as RunFileError,
)
from .files.partition_file import (
    PartitionFile as PartitionFile,
)
from .files.partition_file import (
    read_partition_file as read_partition_file,
)
from .files.partition_scores import (
    read_scores as read_scores,
)
from .files.run import (
    Run as Run,
)
from .files.run import (
    read_run as read_run,
)
from .files.spectra import (
    Eigenvector as Eigenvector,
)
from .files.spectra import (
    Spectrum as Spectrum,
)
from .files.spectra import (
    read_spectrum as read_spectrum,
)
from .files.sweep import (
    Member as Member,
)
from .files.sweep import (
    Sweep as Sweep,
)
from .files.sweep import (
    read_sweep as read_sweep,
)
from .statistics.intervals import (
    MeanInterval as MeanInterval,
)
from .statistics.intervals import (
    mean_interval as mean_interval,
)
from .statistics.intervals import (
    t_quantile as t_quantile,
)

__version__: str
