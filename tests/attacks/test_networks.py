"""Networks that lead out: several nodes' beside each other, what a killed node leaves, and what its next start makes of it."""

from world import ATTACKER, INTERNET, World, blackbox, nodes_in_the_host

REACH = "return refused(reach, given['internet'], 80)"


def another(world, name):
    other = World(world.node.data_dir.parent)
    other.node = blackbox.Node(world.node.data_dir.parent / name, "--network", "internet")
    other.given = {"internet": INTERNET}
    start(other)
    other.make("f", ATTACKER, MemorySize=512, Timeout=20)
    return other


def start(world):
    world.node.start()
    world.lam = world.node.client("lambda", read_timeout=120)


def test_nodes_do_not_disturb_each_other_and_leave_nothing(world):
    before = nodes_in_the_host()
    one, two = another(world, "one"), another(world, "two")
    pids = set()
    try:
        devices, tables, forwards = nodes_in_the_host()
        assert devices == tables and len(devices) == len(before[0]) + 2 and forwards == "1"
        for node in (one, two):
            assert node.run("f", REACH) == "GOT b'reached'"
            pids.update(blackbox.process_tree(node.node.process.pid))

        one.node.kill()
        assert two.run("f", REACH) == "GOT b'reached'"
        # Its devices went with it, its table stays until it starts again.
        blackbox.eventually(lambda: len(nodes_in_the_host()[0]) == len(devices) - 1)
        assert nodes_in_the_host()[1] == tables
        start(one)
        assert nodes_in_the_host()[:2] == (devices, tables)
        for node in (one, two):
            assert node.run("f", REACH) == "GOT b'reached'"
        used = lambda: [f for f in one.node.get("/_wadi/api/usage")["Functions"] if f["Invocations"] == 2]
        assert blackbox.eventually(used)[0]["NetworkBytes"] > 400
    finally:
        for node in (one, two):
            pids.update(blackbox.process_tree(node.node.process.pid))
            node.node.stop()
    assert nodes_in_the_host() == before
    blackbox.nothing_is_left(one.node, pids)
