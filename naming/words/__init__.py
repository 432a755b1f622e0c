"""Phrases that concepts may be called by, and where they stand in text space."""
