"""Which runner, with which options; and a pipeline on it, whose mishaps are one line."""

import contextlib
import difflib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam
import grpc
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, _BeamArgumentParser
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from kcolor.errors import KcolorError, RunError

DIRECT = "direct"
_PROCESSES = "multi_processing"
_NAMESPACE = "kcolor"
# What Beam calls them; any other name is taken as Beam's own.
_BEAM = {"flink": "FlinkRunner", "spark": "SparkRunner", "dataflow": "DataflowRunner"}
# A mistake as it is told inside of what a worker's process says of its end.
_MISTAKE = re.compile(r"kcolor\.errors\.\w+: ([^\n]*)")
# What Beam adds to it.
_WHERE = re.compile(r" \[while running [^\n]*")


@dataclass(frozen=True)
class Running:
    """Where pipelines run.

    Args:
        name: "direct", "flink", "spark", "dataflow", or a runner as Beam calls it.
        options: Beam's own, as ``key=value``, or ``key`` of what is on or off.

    Raises:
        RunError: There is no such runner or option here.
    """

    name: str
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._runner(self.pipeline_options(), "")

    @property
    def is_direct(self) -> bool:
        """Whether it is this machine alone."""
        return self.name == DIRECT

    @property
    def workers(self) -> int | None:
        """Processes on this machine; None if they are elsewhere."""
        if not self.is_direct:
            return None
        wanted = self.pipeline_options().view_as(DirectOptions).direct_num_workers
        return wanted if wanted > 0 else os.cpu_count() or 1

    def pipeline_options(self) -> PipelineOptions:
        """Beam's options."""
        flags = [f"--{option.strip().lstrip('-')}" for option in self.options]
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                made = PipelineOptions(flags)
                made.get_all_options()
        except SystemExit as error:  # which is how argparse complains
            told = said.getvalue().strip().splitlines() or ["not understood"]
            raise RunError(f"--runner-option: {told[-1].partition('error: ')[2] or told[-1]}") from error
        if self.is_direct:
            _check_known(flags)
            direct = made.view_as(DirectOptions)
            if direct.direct_num_workers != 1 and not any(flag.startswith("--direct_running_mode=") for flag in flags):
                # In one process, which is what Beam would do, several are no faster than one.
                direct.direct_running_mode = _PROCESSES
        return made

    def run(self, build: Callable[[apache_beam.Pipeline], None]) -> Any:
        """Run a pipeline to its end.

        Args:
            build: Puts into it what is to be done.

        Returns:
            Beam's result, which has the counters.

        Raises:
            KcolorError: A worker met with a mistake, or the runner, elsewhere, has not come to the end.
        """
        options = self.pipeline_options()
        with tempfile.NamedTemporaryFile(prefix="kcolor-") as lifeline:
            try:
                pipeline = apache_beam.Pipeline(self._runner(options, lifeline.name), options)
                build(pipeline)
                result = pipeline.run()
                state = result.wait_until_finish()
            except KcolorError as error:
                raise RunError(_WHERE.sub("", str(error))) from error
            except Exception as error:
                if found := _MISTAKE.findall(str(error)):
                    raise RunError(_WHERE.sub("", found[-1])) from error
                if self.is_direct and "KeyboardInterrupt" in str(error):
                    raise KeyboardInterrupt from error  # which Beam makes an error of, where it works in this process
                if self.is_direct:
                    raise
                # It was not reached, lacks an option, or tells of a fault that its own log has at length.
                raise RunError(f"--runner {self.name}: {_line(error)}") from error
        if state not in (None, "DONE"):
            raise RunError(f"--runner {self.name}: the pipeline ended as {state}; run it again to go on")
        return result

    def _runner(self, options: PipelineOptions, lifeline: str) -> PipelineRunner:
        """Beam's runner.

        Args:
            options: Beam's; in place of its own processes here, those of `kcolor.beam.worker` are started.
            lifeline: A file which those end with.
        """
        if not self.is_direct:
            try:
                return create_runner(_BEAM.get(self.name, self.name))
            except (ValueError, ImportError, AttributeError) as error:
                raise RunError(f"--runner {self.name}: {_line(error)}") from error
        # Not by Beam's name for it: under that it first tries to download another one.
        encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
        told = ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded))
        direct = options.view_as(DirectOptions)
        if direct.direct_running_mode != _PROCESSES:
            return FnApiRunner(provision_info=told)
        direct.direct_running_mode = "in_memory"  # which leaves the choice of processes alone
        command = shlex.join([sys.executable, "-m", "kcolor.beam.worker", lifeline])
        return FnApiRunner(SubprocessSDKEnvironment.from_command_string(f"exec {command}"), provision_info=told)


def count(name: str, more: int = 1) -> None:
    """Count something, in a worker."""
    Metrics.counter(_NAMESPACE, name).inc(more)


def measure(name: str, value: int) -> None:
    """Add a value to a distribution, in a worker."""
    Metrics.distribution(_NAMESPACE, name).update(value)


def counters(result: Any) -> dict[str, int]:
    """What all workers counted, by name."""
    counted: dict[str, int] = {}
    for metric in result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))["counters"]:
        value = metric.committed if metric.committed is not None else metric.attempted
        counted[metric.key.metric.name] = counted.get(metric.key.metric.name, 0) + (value or 0)
    return counted


def _check_known(flags: Sequence[str]) -> None:
    """Make sure that Beam has an option of each name; only of the runner here are all of them known.

    Raises:
        RunError: It has not.
    """
    known = {name for each in PipelineOptions.__subclasses__() for name in _names(each)}
    for flag in flags:
        name = flag.partition("=")[0]
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            nearest = f"; did you mean {close[0].lstrip('-')}?" if close else ""
            raise RunError(f"--runner-option {name.lstrip('-')}: Beam has no such option{nearest}")


def _names(options: type[PipelineOptions]) -> list[str]:
    parser = _BeamArgumentParser(add_help=False, allow_abbrev=False)
    options._add_argparse_args(parser)
    return [name for action in parser._actions for name in action.option_strings]


def _line(error: BaseException) -> str:
    said = error.details() if isinstance(error, grpc.RpcError) and hasattr(error, "details") else str(error)
    return " ".join(str(said or type(error).__name__).split())
