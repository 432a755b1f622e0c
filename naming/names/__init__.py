"""What concepts are called."""
