"""Loaders of patch features, ours and others', each writing its own files and reading them for training."""
