"""The files of a cache, in bytes: shards, manifest, tables; see docs/cache-format.md."""
