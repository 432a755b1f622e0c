"""Images and regions found by concept, by text or by example."""
