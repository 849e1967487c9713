"""What the notebooks of the course need beside the library: checks, exercises, the ablation."""
