"""Parts of `scripts/draw_documents.py`: the pictures of docs/explained.md, and the credits of their photographs."""
