"""Tests of the scripts that make what is shipped."""
