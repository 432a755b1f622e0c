"""Classification and segmentation on concepts: linear heads whose every output is a sum over named concepts."""
