"""Everything the gateway keeps. All SQL is in this package; stages meet here and nowhere else."""
