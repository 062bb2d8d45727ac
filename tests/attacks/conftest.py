"""The attacks' fixtures. They run under the guard alone: `cargo xtask test attacks`."""

import os
import pathlib

import pytest
from world import MARK, World, Neighbour, blackbox, test_host


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            if "world" in item.fixturenames:
                item.add_marker(pytest.mark.skip(reason="the attacks need root: their guard, and the sandbox that they are tried on"))


@pytest.fixture(scope="session")
def world():
    assert MARK in os.environ and os.getppid() == 1, "run this as `cargo xtask test attacks`: it has a guard"
    world = World(pathlib.Path(os.environ["TMPDIR"]))
    with test_host():
        world.start()
        yield world
        world.pids.update(blackbox.process_tree(world.node.process.pid))
        world.node.stop()
    blackbox.eventually(lambda: blackbox.left_behind(world.node, world.pids) == [])


@pytest.fixture(scope="session")
def neighbour(world):
    neighbour = Neighbour(world)
    neighbour.usual(30)
    return neighbour
