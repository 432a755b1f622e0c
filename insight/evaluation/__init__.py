"""Measures of what concepts and heads on them are worth: streamed, on codes and masks alone."""
