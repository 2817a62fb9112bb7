"""Flow control: what belongs to which schema, who gets seats and who waits, and what a client sees of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tiphys.api.errors import TooManyRequests
from tiphys.api.http import User
from tiphys.server.flow_control import policy
from tiphys.server.flow_control.control import Class, FlowControl
from tiphys.server.flow_control.levels import House, Limits, deal
from tiphys.server.flow_control.schemas import Schema, in_order, schema_of
from tiphys.server.route import Target

FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
ALL = "system:authenticated"
NODE = User("system:node:n", groups=("system:nodes", ALL))


def suggested() -> list[Schema]:
    found = [obj for path, obj in policy.objects() if path.endswith("flowschemas")]
    return in_order(schema_of({**obj, "metadata": {**obj["metadata"], "uid": "u"}}) for obj in found)


@pytest.mark.parametrize(
    ("user", "target", "name"),
    [
        (User("admin", groups=("system:masters", ALL)), Target("list", "", resource="pods"), "exempt"),
        (User("x", groups=(ALL,)), Target("get", "/livez"), "probes"),
        (User("x", groups=(ALL,)), Target("get", "/version"), "global-default"),
        (User("system:kube-scheduler", groups=(ALL,)),
         Target("update", "", "coordination.k8s.io", namespace="kube-system", resource="leases"),
         "system-leader-election"),
        (User("system:kube-scheduler", groups=(ALL,)), Target("list", "", resource="pods"), "kube-scheduler"),
        (NODE, Target("patch", "", resource="nodes", subresource="status"), "system-node-high"),
        (NODE, Target("list", "", resource="pods"), "system-nodes"),
        (User("system:serviceaccount:kube-system:x", groups=("system:serviceaccounts", ALL)),
         Target("list", "", namespace="a", resource="pods"), "kube-system-service-accounts"),
        (User("system:serviceaccount:shop:x", groups=("system:serviceaccounts", ALL)),
         Target("list", "", namespace="a", resource="pods"), "service-accounts"),
        (User("jane", groups=(ALL,)), Target("list", "", namespace="a", resource="pods"), "global-default"),
    ],
)  # fmt: skip
def test_the_suggested_schemas(user: User, target: Target, name: str) -> None:
    assert next(schema.name for schema in suggested() if schema.matches(user, target)) == name


def test_rules_are_of_resources_or_urls() -> None:
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "jane"}}],
        "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"], "namespaces": ["a"]}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/x/*"]}],
    }
    schema = Schema("s", "u", "l", 1, "ByNamespace", (rule,))
    jane = User("jane")
    log = Target("get", "", namespace="a", resource="pods", subresource="log")
    assert schema.matches(jane, log)
    assert schema.flow(jane, log) == "a"
    assert schema.matches(jane, Target("get", "/x/y"))
    for target in (Target("get", "/x"), Target("get", "", namespace="a", resource="pods"),
                   Target("get", "", namespace="b", resource="pods", subresource="log"),
                   Target("get", "", resource="pods", subresource="log")):  # fmt: skip
        assert not schema.matches(jane, target)
    assert not schema.matches(User("joe"), log)


def test_a_hand_has_different_queues_and_is_always_the_same() -> None:
    hands = [deal(f"flow {number}", 16, 4) for number in range(200)]
    assert all(len(set(hand)) == 4 and set(hand) <= set(range(16)) for hand in hands)
    assert deal("flow 7", 16, 4) == hands[7]
    assert set(Counter(card for hand in hands for card in hand)) == set(range(16))
    assert sorted(deal("all", 5, 5)) == list(range(5))


def house(*limits: Limits, seats: int = 100) -> House:
    made = House(seats)
    made.configure(limits)
    return made


def test_shares_become_seats_and_what_is_lent_may_be_used() -> None:
    lends, whole = Limits("a", "", shares=30, lendable_percent=50), Limits("b", "", shares=70)
    made = house(lends, whole, Limits("e", "", exempt=True))
    a, b = made.levels["a"], made.levels["b"]
    assert (a.nominal, a.lendable, b.nominal, b.lendable) == (30, 15, 70, 0)
    b.used = 70
    assert b.has_room(15)
    assert not b.has_room(16)
    b.used = 85
    # What it keeps for itself it has; what it lent comes back when it is free.
    assert a.has_room(15)
    a.used = 15
    assert not a.has_room(1)
    b.used = 70
    assert a.has_room(15)
    assert not a.has_room(16)


def test_what_may_be_borrowed_has_an_end() -> None:
    made = house(Limits("a", "", shares=50, lendable_percent=100), Limits("b", "", shares=50, borrowing_percent=20))
    b = made.levels["b"]
    b.used = 50
    assert b.has_room(10)
    assert not b.has_room(11)


def test_the_widest_request_runs_alone() -> None:
    level = house(Limits("a", "", shares=1), seats=3).levels["a"]
    assert level.has_room(10)
    level.used = 10
    assert not level.has_room(1)


class Flow:
    """Flow control over one level of few seats."""

    def __init__(self, api: Any, limits: Limits, seats: int) -> None:
        self.control = FlowControl(api.assembled.cache, api.clock, seats)
        self.control._house.configure([limits])
        self.level = self.control._house.levels[limits.name]

    def of(self, flow: str) -> Class:
        return Class(Schema("s", "u", "a", 1, "ByUser", ()), self.level, flow, {})

    async def work(self, flow: str, done: list[str], seats: int = 1) -> None:
        found = self.of(flow)
        taken = await self.control.enter(found, seats)
        try:
            await asyncio.sleep(0)
            done.append(flow)
        finally:
            self.control.leave(found, taken)


QUEUED = Limits("a", "", shares=1, queues=64, hand=4, length=50)


async def test_a_flood_does_not_drown_a_quiet_flow(api: Any) -> None:
    flow, done = Flow(api, QUEUED, 2), []
    async with asyncio.TaskGroup() as group:
        for _ in range(150):
            group.create_task(flow.work("flood", done))
        for _ in range(5):
            group.create_task(flow.work("quiet", done))
    assert len(done) == 155
    assert max(index for index, name in enumerate(done) if name == "quiet") < 40
    assert (flow.level.used, flow.level.waiting) == (0, 0)


async def test_a_full_queue_and_a_level_without_one_turn_away(api: Any) -> None:
    flow, done = Flow(api, Limits("a", "", shares=1, queues=1, hand=1, length=2), 1), []
    tasks = [asyncio.create_task(flow.work("x", done)) for _ in range(5)]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(outcome, TooManyRequests) for outcome in outcomes) == 2
    assert len(done) == 3
    strict = Flow(api, Limits("a", "", shares=1), 1)
    outcomes = await asyncio.gather(*(strict.work("x", done) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), TooManyRequests, TooManyRequests]
    assert outcomes[1].retry_after == 1


async def test_whoever_gives_up_waiting_leaves_no_trace(api: Any) -> None:
    flow, done = Flow(api, QUEUED, 1), []
    found = flow.of("holder")
    seats = await flow.control.enter(found, 1)
    tasks = [asyncio.create_task(flow.work("x", done)) for _ in range(4)]
    await asyncio.sleep(0)
    assert flow.level.waiting == 4
    for task in tasks[:3]:
        task.cancel()
    await asyncio.wait(tasks[:3])
    assert flow.level.waiting == 1
    flow.control.leave(found, seats)
    # Cancelled in the moment in which it gets its seats.
    await asyncio.sleep(0)
    tasks[3].cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(0)
    assert (flow.level.used, flow.level.waiting) == (0, 0)
    await flow.work("after", done)
    assert done[-1] == "after"


async def test_a_level_that_goes_lets_everybody_in(api: Any) -> None:
    flow, done = Flow(api, QUEUED, 1), []
    seats = await flow.control.enter(flow.of("holder"), 1)
    tasks = [asyncio.create_task(flow.work("x", done)) for _ in range(3)]
    await asyncio.sleep(0)
    flow.control._house.configure([Limits("b", "", shares=1)])
    await asyncio.gather(*tasks)
    flow.control.leave(flow.of("holder"), seats)
    await asyncio.sleep(0)
    assert len(done) == 3
    assert flow.level.used == 0


async def test_a_client_sees_what_it_was_taken_for(api: Any) -> None:
    level = {"metadata": {"name": "slow"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"},
    }}}  # fmt: skip
    rule = {"subjects": [{"kind": "User", "user": {"name": "noxu"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}  # fmt: skip
    schema = {"metadata": {"name": "noxu"}, "spec": {
        "matchingPrecedence": 1000, "priorityLevelConfiguration": {"name": "slow"}, "rules": [rule],
    }}  # fmt: skip
    made_schema = await api.ok("POST", f"{FLOW}/flowschemas", schema)
    noxu = User("noxu", groups=(ALL,))
    before = await api.respond("GET", "/api", user=noxu)
    # A schema whose level is not there is not used.
    assert before.headers["X-Kubernetes-PF-FlowSchema-UID"] != made_schema["metadata"]["uid"]
    made_level = await api.ok("POST", f"{FLOW}/prioritylevelconfigurations", level)
    said = await api.respond("GET", "/api", user=noxu)
    assert said.headers["X-Kubernetes-PF-FlowSchema-UID"] == made_schema["metadata"]["uid"]
    assert said.headers["X-Kubernetes-PF-PriorityLevel-UID"] == made_level["metadata"]["uid"]
    # Those whom nothing is allowed are told, too.
    refused = await api.respond("GET", "/api/v1/pods", user=User("foo", groups=(ALL,)))
    assert refused.status == 403
    assert refused.headers["X-Kubernetes-PF-FlowSchema-UID"]
    metrics = (await api.respond("GET", "/metrics")).body.decode()
    assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="slow"} ' in metrics


async def test_a_long_list_is_wide(api: Any) -> None:
    control = api.assembled.server.flow_control
    prefix = "/registry/rbac.authorization.k8s.io/clusterroles/"
    count = len(api.assembled.cache.of(prefix).items)
    wide = Target("list", "", "rbac.authorization.k8s.io", "v1", resource="clusterroles")
    assert control.width(wide, prefix, "") == -(-count // 100)
    assert control.width(wide, prefix, "10") == 1
    assert control.width(Target("get", "", resource="pods", subresource="log"), "", "") == 0
    assert control.width(Target("get", "", resource="pods"), "", "") == 1


@pytest.mark.parametrize("shape", ["Table", "PartialObjectMetadataList"])
async def test_a_long_list_gives_way(api: Any, shape: str) -> None:
    for number in range(200):
        await api.ok("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": f"c{number}"}})
    accept = f"application/json;as={shape};v=v1;g=meta.k8s.io"

    async def turns(**query: str) -> int:
        """How often others could go on while it was worked on."""
        path = "/api/v1/namespaces/default/configmaps"
        task, count = asyncio.create_task(api.respond("GET", path, accept=accept, **query)), 0
        while not task.done():
            await asyncio.sleep(0)
            count += 1
        assert task.result().status == 200
        return count

    assert await turns() >= await turns(limit="10") + 3
