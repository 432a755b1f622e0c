"""What `scripts/train_small_model.py` is made of: photographs, settings, card."""
