"""The parts of `benchmarks.naming`: the photographs, the dictionaries, the modes of naming, and what is counted."""
