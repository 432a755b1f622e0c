"""Caches made of finished caches: merged, converted, sampled; and what a cache is, described."""
