"""Which concept belongs to which."""
