"""Where segments are trained: this process, local processes, SLURM, Dask."""
