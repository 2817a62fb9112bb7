"""What simulated nodes are told, how chance is drawn, and nodes that fail and return."""

from __future__ import annotations

import pytest

from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.behaviour import Behaviours, Chance, step_at, used
from tiphys.main.simulation import behaviours


def fates(seed: int, node: str) -> list[str]:
    chance = Chance(Behaviours(seed=seed, image_missing=0.3, crash=0.3), node)
    for number in range(40):
        chance.meet(str(number))
    return [
        chance.fault(str(number), {}) or ("crash" if chance.behaviour(str(number), {}).exit_code else "")
        for number in range(40)
    ]


def test_chance_follows_the_seed_and_the_node() -> None:
    first = fates(1, "a")
    assert first == fates(1, "a")
    assert first != fates(2, "a")
    assert first != fates(1, "b")
    assert {"image", "crash", ""} == set(first)


def test_a_lot_is_drawn_once() -> None:
    chance = Chance(Behaviours(start_fails=0.5), "n")
    for number in range(20):
        chance.meet(str(number))
    first = [chance.fault(str(number), {}) for number in range(20)]
    for number in range(20):
        chance.meet(str(number)) if first[number] else None
    assert [chance.fault(str(number), {}) for number in range(20)] == first


def test_use_in_steps_and_by_a_function() -> None:
    assert [step_at("100m 800m@60 50m@120", age) for age in (0, 59, 60, 119, 500)] == [0.1, 0.1, 0.8, 0.8, 0.05]
    pod = Pod()
    assert used(Behaviours(usage_cpu="2", usage_memory="1Ki"), pod, 0) == (2.0, 1024.0)
    assert used(Behaviours(use=lambda _, age: (age, 7)), pod, 3) == (3, 7)
    pod.metadata.annotations["tiphys.io/usage-cpu"] = "1"
    assert used(Behaviours(usage_cpu="2", usage_memory="1Ki"), pod, 0) == (1.0, 1024.0)
    # What cannot be read says nothing.
    pod.metadata.annotations["tiphys.io/usage-cpu"] = "much"
    assert used(Behaviours(usage_cpu="2"), pod, 0)[0] == 2.0


def test_a_file_says_what_a_test_says() -> None:
    assert behaviours({"seed": 3, "start_delay": [1, 2], "crash": 0.5}) == Behaviours(3, (1.0, 2.0), crash=0.5)
    for wrong in ({"speed": 1}, {"crash": 2}, {"start_delay": "soon"}, {"usage_cpu": "lots"}, {"use": "x"}):
        with pytest.raises(ValueError, match=r"."):
            behaviours(wrong)


@pytest.mark.parametrize("shares", [{"crash": 1.5}, {"crash": -0.1}, {"crash": 0.6, "image_missing": 0.6}])
def test_shares_are_shares(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"share|all pods"):
        Behaviours(**shares)  # type: ignore[arg-type]
