"""The attacks' fixtures. They run under the guard alone: `cargo xtask test attacks`."""

import os
import pathlib

import pytest
from cases import CASES, TIERS
from deeds import DEEDS
from world import MARK, Neighbour, World, blackbox, left_in_the_machine, nodes_in_the_host, test_host


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            if "world" in item.fixturenames:
                item.add_marker(pytest.mark.skip(reason="the attacks need root: their guard, and the sandbox that they are tried on"))


def pytest_terminal_summary(terminalreporter):
    """By tier and promise: how many attacks were tried, and what became of them."""
    for outcome in ("passed", "failed", "skipped"):
        reports = [r for r in terminalreporter.stats.get(outcome, []) if "test_attack[" in r.nodeid]
        runs = [r.nodeid.split("[")[1].rstrip("]").rsplit("-", 1) for r in reports]
        for tier in ("process", *TIERS):
            names = [name for name, on in runs if (on if on in TIERS else "process") == tier]
            if names:
                word = {"passed": "refused", "failed": "NOT REFUSED AS EXPECTED"}.get(outcome, outcome)
                by_promise = {}
                for case in CASES + DEEDS:
                    by_promise[case.promise] = by_promise.get(case.promise, 0) + (case.name in names)
                counts = ", ".join(f"{promise} {count}" for promise, count in by_promise.items() if count)
                terminalreporter.write_line(f"{tier} tier: {len(set(names))} attacks {word}, in {len(names)} runs: {counts}")


@pytest.fixture(scope="session")
def world():
    assert MARK in os.environ and os.getppid() == 1, "run this as `cargo xtask test attacks`: it has a guard"
    world = World(pathlib.Path(os.environ["TMPDIR"]))
    with test_host():
        before, machine = nodes_in_the_host(), left_in_the_machine()
        world.start()
        yield world
        world.pids.update(blackbox.process_tree(world.node.process.pid))
        world.node.stop()
        # After all of it: no process, mount, control group or file of a sandbox; no device, table or forwarding in the host's
        # network; no namespace that anybody is in, and no file of a sandbox's user or of the node's beside its data directory.
        blackbox.nothing_is_left(world.node, world.pids)
        assert nodes_in_the_host() == before
        blackbox.eventually(lambda: left_in_the_machine() == machine, seconds=10)


@pytest.fixture(scope="session")
def neighbour(world):
    neighbour = Neighbour(world)
    neighbour.usual(30)
    return neighbour
