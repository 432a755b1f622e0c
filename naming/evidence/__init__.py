"""What one pass over the codes leaves: which concepts fire together, and where each is strongest."""
