"""What a person can get wrong, told in one line."""


class KcolorError(Exception):
    """A mistake or a mishap that the user can mend: the message says what, where and what to do.

    The command line prints it without a traceback and exits with status 2.
    """


class RecipeError(KcolorError):
    """A recipe, or a ``--set``, that cannot be used."""


class DataError(KcolorError):
    """Photos or a manifest that cannot be used."""


class RunError(KcolorError):
    """A run directory or a checkpoint that cannot be used."""
