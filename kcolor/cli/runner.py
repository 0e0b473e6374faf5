"""`--runner`, where it is understood: a command's work on Apache Beam."""

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from kcolor.errors import KcolorError

if TYPE_CHECKING:
    from kcolor.beam.running import Running


def runner(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options ``--runner NAME`` and ``--runner-option KEY=VALUE``, as `runner` and `runner_options`."""
    options = click.option(
        "--runner-option",
        "runner_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="One of Beam's own options, such as direct_num_workers=4; repeatable.",
    )
    name = click.option(
        "--runner", metavar="NAME", help="On Apache Beam: direct (here), flink, spark, dataflow, or Beam's own name."
    )
    return name(options(command))


def running(name: str, options: tuple[str, ...]) -> "Running":
    """Where to run.

    Raises:
        KcolorError: Beam is not installed, or knows no such runner or option.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise KcolorError("--runner: needs Apache Beam; pip install 'kcolor[beam]'")
    import logging

    # Beam tells of its own doings at length; where work is elsewhere, that says where to look at it.
    logging.basicConfig(format="%(message)s", level=logging.ERROR)
    from kcolor.beam.running import Running

    where = Running(name, options)
    if where.is_direct:
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # what goes wrong is raised as well
    else:
        logging.getLogger().setLevel(logging.INFO)
    return where
