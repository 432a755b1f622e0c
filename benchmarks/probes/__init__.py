"""What `benchmarks.alignment` asks: sets of photos, those who answer, and how answers are counted."""
