"""What the program writes, read and checked: run files, sweeps, spectra, partitions, scores."""
