"""What a person can get wrong, told in one line."""


class KcolorError(Exception):
    """A mistake or a mishap that the user can mend: the message says what, where and what to do.

    The command line prints it without a traceback and exits with its status.
    """

    status = 2


class RecipeError(KcolorError):
    """A recipe, or a ``--set``, that cannot be used."""


class DataError(KcolorError):
    """Photos or a manifest that cannot be used."""


class RunError(KcolorError):
    """A run directory or a checkpoint that cannot be used."""


class ClusterError(KcolorError):
    """Machines that are to train together and cannot."""


class WorkerLostError(ClusterError):
    """Another machine stopped while they trained together: begun again with ``--resume``, all goes on."""

    status = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong with what was asked
