"""The one exception that a user's mistake raises. The command line prints its message and exits with code 2."""


class UserError(Exception):
    """A mistake in the user's files, recipe or arguments. The message names the value, the rule and the remedy."""
