"""`python -m insight`: the command line without the console script."""

from .cli import main

main()
