"""Each attack is refused, and the neighbour goes on as if nothing were."""

import pytest
from cases import BEHIND, CASES, TIERS
from deeds import DEEDS
from world import tiers

HERE = tiers()
missing = {tier: pytest.mark.skip(reason=f"the tier {tier} needs {runtime}") for tier, runtime in TIERS.items() if tier not in HERE}
TRIED = [
    pytest.param(case, on, id=f"{case.name}-{on}", marks=missing.get(on, ()))
    for case in CASES + DEEDS for on in (case.tries() if case in CASES else case.on)
]


@pytest.mark.parametrize("case,on", TRIED)
def test_attack(world, neighbour, case, on):
    usual = neighbour.usual()
    with neighbour.watched(usual):
        if callable(case.program):
            said = case.program(world)
        else:
            said = world.own(case.program, **case.own) if case.own is not None else world.run(on, case.program)
    said = [said] if isinstance(said, str) else said
    assert said, "it said nothing"
    refusals = case.refusals | BEHIND.get(on, {}).get(case.name, set())
    wrong = [text for text in said if text not in refusals]
    assert not wrong, f"got through, or was refused otherwise than with {sorted(refusals)}: {wrong}"
    assert world.node.process.poll() is None
