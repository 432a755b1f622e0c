"""Parts of `scripts/train_dinoiser.py`."""
