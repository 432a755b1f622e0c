"""Features for training without a cache: images encoded as they are needed."""
