"""The command line: parses, calls one verb, prints. A module a command."""

import os
import sys

import click

from kcolor import __version__
from kcolor.cli.colorize import colorize
from kcolor.cli.compare import compare
from kcolor.cli.evaluate import evaluate
from kcolor.cli.export import export
from kcolor.cli.fit import fit
from kcolor.cli.prepare import prepare
from kcolor.cli.recipes import recipes
from kcolor.cli.serve import serve
from kcolor.cli.tune import tune
from kcolor.cli.weights import weights
from kcolor.errors import KcolorError

# TensorFlow and Keras are imported inside the commands, so that help is quick; and TensorFlow is to keep to itself
# what is of no use to the person who reads the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kcolor")
def cli() -> None:
    """Colour black-and-white photographs: train, use and export a colorizer."""


for command in (recipes, prepare, fit, tune, colorize, export, evaluate, compare, serve, weights):
    cli.add_command(command)


def main() -> None:
    """Run the command line; a mistake the user can mend is one line, and exit status 2 as a rule."""
    try:
        status = cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = 2
    except click.Abort:  # what click makes of Ctrl-C
        click.echo("kcolor: interrupted", err=True)
        status = 130
    except KcolorError as error:
        click.echo(f"kcolor: {error}", err=True)
        status = error.status
    sys.exit(status)
