"""Runners and their options; see test_beam_colorize.py."""

import pytest

pytest.importorskip("apache_beam")

import apache_beam
from apache_beam.options.pipeline_options import DebugOptions, DirectOptions, GoogleCloudOptions

from kcolor.beam.running import Running, count, counters
from kcolor.errors import RunError


def test_options_are_beam_s():
    options = Running("dataflow", ("project=mine", "experiments=a", "experiments=b", "--no_auth")).pipeline_options()
    assert options.view_as(GoogleCloudOptions).project == "mine"
    assert options.view_as(GoogleCloudOptions).no_auth is True
    assert options.view_as(DebugOptions).experiments == ["a", "b"]


def test_several_workers_are_processes_unless_said_otherwise():
    assert Running("direct").workers == 1
    assert Running("direct", ("direct_num_workers=0",)).workers >= 1
    assert Running("flink").workers is None
    for mode, options in (("multi_processing", ()), ("multi_threading", ("direct_running_mode=multi_threading",))):
        made = Running("direct", ("direct_num_workers=3", *options)).pipeline_options().view_as(DirectOptions)
        assert (made.direct_num_workers, made.direct_running_mode) == (3, mode)


@pytest.mark.parametrize(
    ("name", "option", "line"),
    [
        ("direct", "direct_num_worker=2", "no such option; did you mean direct_num_workers?"),
        ("direct", "direct_num_workers=two", "invalid int value: 'two'"),
        ("flink", "direct_running_mode=fast", "invalid choice: 'fast'"),
        ("flnik", "streaming", "--runner flnik: Unexpected pipeline runner: flnik"),
        ("no.such.Runner", "streaming", "--runner no.such.Runner: No module named 'no'"),
    ],
)
def test_mistakes(name, option, line):
    with pytest.raises(RunError) as error:
        Running(name, (option,))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_what_only_a_job_server_knows_is_passed_on():
    made = Running("flink", ("something_of_its_own=4",)).pipeline_options()
    assert made.get_all_options(retain_unknown_options=True)["something_of_its_own"] == "4"


def test_a_runner_that_is_not_there():
    options = ("job_endpoint=localhost:1", "environment_type=LOOPBACK", "job_server_timeout=1")
    with pytest.raises(RunError, match=r"^--runner PortableRunner: [^\n]+$"):
        Running("PortableRunner", options).run(lambda pipeline: pipeline | apache_beam.Create([1]))


def test_a_fault_of_ours_is_not_told_as_a_mistake():
    with pytest.raises(ZeroDivisionError):
        Running("direct").run(lambda pipeline: pipeline | apache_beam.Create([0]) | apache_beam.Map(lambda i: 1 / i))


def test_counters_of_all_workers():
    def tell(number):
        count("seen")
        count("sum", number)

    result = Running("direct").run(lambda pipeline: pipeline | apache_beam.Create([1, 2, 3]) | apache_beam.Map(tell))
    assert counters(result) == {"seen": 3, "sum": 6}
