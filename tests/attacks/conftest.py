"""The attacks' fixtures. They run under the guard alone: `cargo xtask test attacks`."""

import os
import pathlib

import pytest
from cases import CASES
from deeds import DEEDS
from world import MARK, Neighbour, World, blackbox, nodes_in_the_host, test_host


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            if "world" in item.fixturenames:
                item.add_marker(pytest.mark.skip(reason="the attacks need root: their guard, and the sandbox that they are tried on"))


def pytest_terminal_summary(terminalreporter):
    """By tier and promise: how many attacks were tried, and what became of them."""
    for outcome in ("passed", "failed", "skipped"):
        reports = [r for r in terminalreporter.stats.get(outcome, []) if "test_attack[" in r.nodeid]
        names = {r.nodeid.split("[")[1].rstrip("]").rsplit("-", 1)[0] for r in reports}
        if names:
            word = {"passed": "refused", "failed": "NOT REFUSED AS EXPECTED"}.get(outcome, outcome)
            by_promise = {}
            for case in CASES + DEEDS:
                by_promise[case.promise] = by_promise.get(case.promise, 0) + (case.name in names)
            counts = ", ".join(f"{promise} {count}" for promise, count in by_promise.items() if count)
            terminalreporter.write_line(f"process tier: {len(names)} attacks {word}, in {len(reports)} runs: {counts}")


@pytest.fixture(scope="session")
def world():
    assert MARK in os.environ and os.getppid() == 1, "run this as `cargo xtask test attacks`: it has a guard"
    world = World(pathlib.Path(os.environ["TMPDIR"]))
    with test_host():
        before = nodes_in_the_host()
        world.start()
        yield world
        world.pids.update(blackbox.process_tree(world.node.process.pid))
        world.node.stop()
        assert nodes_in_the_host() == before
    blackbox.nothing_is_left(world.node, world.pids)


@pytest.fixture(scope="session")
def neighbour(world):
    neighbour = Neighbour(world)
    neighbour.usual(30)
    return neighbour
