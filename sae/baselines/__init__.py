"""Dictionaries that are no autoencoders: what any learned dictionary has to beat."""
