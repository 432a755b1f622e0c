"""Parts of `benchmarks.methods`."""
