"""The slowest tests of a run of the suite: pytest --junitxml=FILE, and then --junit FILE."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

TEN = 10


def measure(*, junit: Path) -> dict[str, Any]:
    """The ten slowest, and how much of the whole they are."""
    suite = next(ElementTree.parse(junit).iter("testsuite"))
    cases = [(float(case.get("time", 0)), case) for case in suite.iter("testcase")]
    cases.sort(key=lambda each: each[0], reverse=True)
    total = sum(seconds for seconds, _ in cases)
    return {
        "tests": len(cases),
        "suite_s": float(suite.get("time", total)),
        "slowest": [
            {"test": f"{case.get('classname')}::{case.get('name')}", "seconds": seconds}
            for seconds, case in cases[:TEN]
        ],
        "share_of_the_ten": sum(seconds for seconds, _ in cases[:TEN]) / total if total else 0.0,
    }
