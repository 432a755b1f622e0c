"""A finished cache: shuffled for training, front to back, image by image."""
