"""The one error that bad input raises: a single line a person can act on."""


class InsightError(ValueError):
    """Input, artefact or environment is not as expected.

    The message is one line and says which file or value, what was expected, what was found, and what to do. The
    command line prints it and exits with code 2; nothing that was finished before is lost.
    """
