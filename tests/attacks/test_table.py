"""docs/security.md names each attack beside the promise that it tries to break, and no other. Needs no root."""

import re

from cases import CASES
from deeds import DEEDS
from world import ROOT


def test_every_promise_has_its_attacks_and_every_attack_its_promise():
    rows = re.findall(r"^\| `([a-z-]+)` \| .+ \| ([^|]+) \|$", (ROOT / "docs/security.md").read_text(), re.M)
    documented = {promise: set(re.findall(r"`([a-z0-9-]+)`", names)) for promise, names in rows}
    tried = {}
    for case in CASES + DEEDS:
        assert case.name not in tried.setdefault(case.promise, set()), case.name
        tried[case.promise].add(case.name)
    assert documented == tried
    assert sum(map(len, tried.values())) >= 60
