"""What the benchmarks of heads and grounding share: sets of photos, dictionaries, probes, figures and claims."""
