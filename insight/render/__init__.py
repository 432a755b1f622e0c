"""How explanations and dictionaries are shown: pictures by matplotlib, and one self-contained HTML page."""
