"""The steps of `scripts/train_bridge.py`: photos and texts, what trunk and teacher see, fits, losses, training."""
