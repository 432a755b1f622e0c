"""Whether names and relations are right, beside what chance would give."""
