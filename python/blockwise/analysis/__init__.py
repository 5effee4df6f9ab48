"""What the files come to: tables of sweeps, densities of spectra."""
