"""The one exception that a user is meant to read."""


class IcflowError(Exception):
    """Bad input or a missing resource, said in one sentence.

    The message names the file or the key, what is wrong with it and what to
    do. The command line prints it without a traceback and exits with status 1.
    """
