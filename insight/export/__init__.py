"""Explanations and segmentations as the data of other tools."""
