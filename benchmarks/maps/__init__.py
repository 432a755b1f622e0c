"""Parts of `benchmarks.attribution`."""
