"""Each attack is refused, and the neighbour goes on as if nothing were."""

import pytest
from cases import CASES
from deeds import DEEDS

TRIED = [pytest.param(case, on, id=f"{case.name}-{on}") for case in CASES + DEEDS for on in case.on]


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
    wrong = [text for text in said if text not in case.refusals]
    assert not wrong, f"got through, or was refused otherwise than with {sorted(case.refusals)}: {wrong}"
    assert world.node.process.poll() is None
