"""Backups of a real cluster: taken while it runs, and everything that can be made of them once it is gone."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from real_cluster import IMAGE, TIPHYS, RealCluster, build_image, leftovers, until
from second_machine import second_machine

pytestmark = pytest.mark.root


def refused(*words: str) -> str:
    done = subprocess.run([TIPHYS, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def named(name: str) -> RealCluster:
    return RealCluster(name, Path(f"/etc/tiphys/{name}.kubeconfig"))


def purge(name: str) -> None:
    subprocess.run([TIPHYS, "down", name, "--purge"], check=False, timeout=120)
    assert leftovers(name) == []


def destroy(cluster: RealCluster) -> None:
    """What a machine's end looks like to the cluster: nobody gets to say a last word."""
    for role in ("server", "agent"):
        os.kill(cluster.pid(role), signal.SIGKILL)
    purge(cluster.name)


@contextmanager
def places_held() -> Iterator[None]:
    """The last cluster of a machine takes its places away, and with them what a second machine mounted on them."""
    places = [Path(parent, ".held") for parent in ("/var/lib/tiphys", "/run/tiphys", "/etc/tiphys")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for place in places:
            place.rmdir()


def running(cluster: RealCluster, count: int) -> None:
    """Wait until that many pods of the app serve with containers of this machine."""

    def ready() -> bool:
        pods = cluster.get("pods", "-l", "app=web")["items"]
        logs = [cluster.kubectl("logs", pod["metadata"]["name"], check=False) for pod in pods]
        return len(logs) == count and all("ready" in log for log in logs)

    until(ready, f"{count} pods", 60)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def later_second() -> str:
    """The present second, once it is past: what happened before it is told from what happens after it."""
    now = time.time()
    until(lambda: int(time.time()) > int(now) + 1, "the next second")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 1))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("image")


@pytest.fixture
def cluster(images: Path) -> Iterator[RealCluster]:
    """A cluster with an app of two pods, a pod that nobody made but us, and a Service."""
    made = named(f"backup-{secrets.token_hex(3)}")
    try:
        made.tiphys("up", made.name)
        build_image(made, images)
        made.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--replicas=2")
        made.kubectl("expose", "deployment", "web", "--port=80")
        made.kubectl("run", "bare", f"--image={IMAGE}")
        made.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        yield made
    finally:
        purge(made.name)
        for path in Path("/var/backups/tiphys").glob(f"{made.name}-*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        with suppress(OSError):
            Path("/var/backups/tiphys").rmdir()


def test_a_backup_of_a_running_cluster_brings_back_all_of_it(cluster: RealCluster, images: Path, tmp_path: Path):
    written = json.loads(cluster.tiphys("backup", "create", cluster.name, "--to", str(tmp_path), "-o", "json"))
    assert (written["cluster"], written["encrypted"]) == (cluster.name, False)
    assert {"cluster.json", "pki/ca.key", "pki/sa.key"} <= set(written["files"])
    assert "verified" in cluster.tiphys("backup", "verify", written["file"])
    credentials = tmp_path / "kubeconfig"
    shutil.copy(cluster.kubeconfig, credentials)
    before = cluster.get("deployment", "web")["metadata"]
    destroy(cluster)

    cluster.tiphys("restore", written["file"])
    build_image(cluster, images)
    running(cluster, 2)
    until(lambda: cluster.get("pod", "bare")["status"]["phase"] == "Running", "the pod of its own")
    after = cluster.get("deployment", "web")["metadata"]
    assert after["uid"] == before["uid"]
    assert int(after["resourceVersion"]) > int(before["resourceVersion"]) + 1_000_000_000
    # Whoever had a kubeconfig still gets in, and nobody is fooled by what he remembers.
    held = RealCluster(cluster.name, credentials)
    assert held.get("deployment", "web")["metadata"]["uid"] == before["uid"]
    old = held.kubectl(
        "get", "--raw", f"/apis/apps/v1/deployments?watch=true&resourceVersion={before['resourceVersion']}", check=False
    )
    assert '"code":410' in old or "Expired" in old


def test_over_a_live_cluster_only_by_force_and_after_it_is_saved(cluster: RealCluster, tmp_path: Path):
    file = tmp_path / "one.tiphys-backup"
    cluster.tiphys("backup", "create", cluster.name, "--to", str(file))
    cluster.kubectl("create", "configmap", "written-later", "--from-literal=a=b")
    server = cluster.pid("server")
    said = refused("restore", str(file))
    assert "--force" in said
    assert "/var/backups/tiphys" in said
    assert cluster.pid("server") == server
    cluster.tiphys("restore", str(file), "--force")
    assert "NotFound" in cluster.kubectl("get", "configmap", "written-later", check=False)
    running(cluster, 2)
    (saved,) = Path("/var/backups/tiphys").glob(f"{cluster.name}-*")
    cluster.tiphys("restore", str(saved), "--force")
    assert cluster.get("configmap", "written-later")["data"] == {"a": "b"}
    running(cluster, 2)


def test_a_copy_runs_beside_the_original_on_networks_of_its_own(cluster: RealCluster, images: Path, tmp_path: Path):
    file = tmp_path / "one.tiphys-backup"
    cluster.tiphys("backup", "create", cluster.name, "--to", str(file))
    copy = named(f"copy-{secrets.token_hex(3)}")
    try:
        copy.tiphys("restore", str(file), "--name", copy.name)
        build_image(copy, images)
        running(copy, 2)
        there, here = (each.get("service", "web")["spec"]["clusterIP"].split(".") for each in (cluster, copy))
        assert there[1] != here[1]
        assert there[2:] == here[2:]
        pod = copy.get("pods", "-l", "app=web")["items"][0]["metadata"]["name"]
        assert pod.split("-")[0] in copy.kubectl("exec", pod, "--", "wget", "-qO-", "http://web")
        running(cluster, 2)
    finally:
        purge(copy.name)


def test_bad_backups_are_refused_with_the_reason_and_change_nothing(cluster: RealCluster, tmp_path: Path):
    secret, wrong = tmp_path / "secret", tmp_path / "wrong"
    for path in (secret, wrong):
        path.write_text(f"{path.name} passphrase\n")
        path.chmod(0o600)
    file = tmp_path / "one.tiphys-backup"
    cluster.tiphys("backup", "create", cluster.name, "--to", str(file), "--passphrase-file", str(secret))
    whole = file.read_bytes()
    name = f"never-{secrets.token_hex(3)}"
    cases = {
        "is truncated": (whole[:-1000], secret),
        "was altered or damaged": (whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:], secret),
        "does not open with this passphrase": (whole, wrong),
        "is no backup of Tiphys": (b"something else", secret),
    }
    for reason, (data, passphrase) in cases.items():
        file.write_bytes(data)
        said = refused("restore", str(file), "--name", name, "--passphrase-file", str(passphrase))
        assert reason in said
    file.write_bytes(whole)
    assert "is encrypted: give its passphrase" in refused("restore", str(file), "--name", name)
    assert leftovers(name) == []
    assert not named(name).kubeconfig.exists()


def test_what_is_shipped_all_the_time_brings_back_the_last_second_and_any_before(
    cluster: RealCluster, images: Path, tmp_path: Path
):
    place = tmp_path / "place"
    cluster.tiphys("backup", "configure", cluster.name, "--to", str(place), "--every", "6h", "--keep", "7d")
    until(lambda: json.loads(cluster.tiphys("backup", "list", cluster.name, "-o", "json"))["backups"], "a full backup")

    def shipped(revision: str) -> bool:
        found = json.loads(cluster.tiphys("backup", "list", cluster.name, "-o", "json"))
        return bool(found["history"]) and found["history"]["last"] >= int(revision)

    def make(name: str) -> str:
        cluster.kubectl("create", "configmap", name, "--from-literal=a=b")
        revision: str = cluster.get("configmap", name)["metadata"]["resourceVersion"]
        until(lambda: shipped(revision), f"{name} at the destination")
        return revision

    revision = make("kept")
    moment = later_second()
    cluster.kubectl("delete", "configmap", "kept")
    make("last")
    destroy(cluster)

    cluster.tiphys("restore", str(place))
    assert "NotFound" in cluster.kubectl("get", "configmap", "kept", check=False)
    assert cluster.get("configmap", "last")["data"] == {"a": "b"}
    build_image(cluster, images)
    running(cluster, 2)
    for point in (("--at", moment), ("--revision", revision)):
        cluster.tiphys("restore", str(place), *point, "--force")
        assert cluster.get("configmap", "kept")["data"] == {"a": "b"}
        assert "NotFound" in cluster.kubectl("get", "configmap", "last", check=False)
    running(cluster, 2)
    assert "is before it" in refused("restore", str(place), "--at", "2020-01-01T00:00:00Z", "--force")


def test_from_sqlite_to_etcd_without_losing_an_object_or_a_container(cluster: RealCluster, tmp_path: Path):
    def containers() -> dict[str, str]:
        pods = cluster.get("pods")["items"]
        return {
            pod["metadata"]["uid"]: state["containerID"]
            for pod in pods
            for state in pod["status"].get("containerStatuses", ())
            # One that is still starting has none.
            if "containerID" in state
        }

    until(lambda: len(containers()) == 3, "three containers")
    before = containers()
    count = len(cluster.get("configmaps,secrets,services,deployments,replicasets,serviceaccounts", "-A")["items"])
    cluster.tiphys("store", "migrate", cluster.name, "--to", "etcd")
    assert containers() == before
    kinds = "configmaps,secrets,services,deployments,replicasets,serviceaccounts"
    assert len(cluster.get(kinds, "-A")["items"]) == count
    cluster.kubectl("scale", "deployment", "web", "--replicas=3")
    running(cluster, 3)
    assert "in etcd already" in refused("store", "migrate", cluster.name, "--to", "etcd")
    # And back, by way of a backup.
    file = tmp_path / "etcd.tiphys-backup"
    cluster.tiphys("backup", "create", cluster.name, "--to", str(file))
    assert "verified" in cluster.tiphys("backup", "verify", str(file))
    cluster.tiphys("restore", str(file), "--store", "sqlite", "--force")
    running(cluster, 3)
    assert json.loads(Path(f"/var/lib/tiphys/{cluster.name}/cluster.json").read_text())["store"] == "sqlite"


def test_a_damaged_store_is_replaced_from_what_was_shipped_beside_it(cluster: RealCluster):
    cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    revision = int(cluster.get("configmap", "kept")["metadata"]["resourceVersion"])

    def shipped() -> bool:
        found = json.loads(cluster.tiphys("backup", "list", cluster.name, "-o", "json"))["history"]
        return bool(found) and found["last"] >= revision

    until(shipped, "the change beside the store")
    os.kill(cluster.pid("server"), signal.SIGKILL)
    state = Path(f"/var/lib/tiphys/{cluster.name}")
    for path in state.glob("store.db-*"):
        path.unlink()
    (state / "store.db").write_bytes(os.urandom(100_000))
    assert "is damaged" in refused("up", cluster.name)
    cluster.tiphys("restore", str(state / "backup"), "--force")
    assert cluster.get("configmap", "kept")["data"] == {"a": "b"}
    running(cluster, 2)
    (kept,) = Path("/var/backups/tiphys").glob(f"{cluster.name}-*")
    assert (kept / "store.db").stat().st_size == 100_000


def test_a_migration_that_fails_leads_back(cluster: RealCluster):
    in_the_way = Path(f"/var/lib/tiphys/{cluster.name}/etcd")
    in_the_way.write_bytes(b"")
    assert "could not be moved to etcd" in refused("store", "migrate", cluster.name, "--to", "etcd")
    running(cluster, 2)
    cluster.kubectl("create", "configmap", "after", "--from-literal=a=b")
    in_the_way.unlink()
    cluster.tiphys("store", "migrate", cluster.name, "--to", "etcd")
    assert cluster.get("configmap", "after")["data"] == {"a": "b"}
    running(cluster, 2)


def test_three_control_planes_come_back_after_all_were_lost(images: Path, tmp_path: Path):
    name, place = f"lost-{secrets.token_hex(3)}", tmp_path / "place"
    cluster = named(name)
    try:
        cluster.tiphys("up", name, "--nodes", "3", "--control-planes", "3")
        build_image(cluster, images)
        cluster.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--replicas=3")
        cluster.tiphys("backup", "configure", name, "--to", str(place))
        leases = ("-n", "kube-system", "lease", "kube-controller-manager")
        leader = until(lambda: cluster.get(*leases)["spec"].get("holderIdentity"), "a leader")
        until(lambda: list(place.rglob("base-*")), "a base")
        # Who ships dies; another one goes on.
        below = next((f"nodes/{n}/" for n in (2, 3) if leader == f"{name}-{n}"), "")
        os.kill(cluster.pid(f"{below}server"), signal.SIGKILL)
        until(
            lambda: "created" in cluster.kubectl("create", "configmap", "late", check=False, timeout=10), "a write", 60
        )
        revision = int(until(lambda: cluster.get("configmap", "late"), "it")["metadata"]["resourceVersion"])

        def shipped() -> bool:
            found = json.loads(cluster.tiphys("backup", "list", name, "-o", "json"))["history"]
            return bool(found) and found["last"] >= revision

        until(shipped, "the change at the destination", 60)
        purge(name)
        cluster.tiphys("restore", str(place))
        assert cluster.get("configmap", "late")["metadata"]["name"] == "late"
        assert len(cluster.get("nodes")["items"]) == 3
        build_image(cluster, images)
        running(cluster, 3)
    finally:
        purge(name)


def test_a_worker_that_lived_on_serves_the_restored_cluster(cluster: RealCluster, images: Path, tmp_path: Path):
    place = tmp_path / "place"
    cluster.tiphys("backup", "configure", cluster.name, "--to", str(place))
    words = cluster.tiphys("token", "create", cluster.name, "--print-join-command").split()[2:]
    base = tmp_path / "machine"
    base.mkdir()

    def ready() -> bool:
        nodes = {node["metadata"]["name"]: node for node in cluster.get("nodes")["items"]}
        conditions = nodes.get(machine.name, {}).get("status", {}).get("conditions", ())
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    with places_held(), second_machine(base) as machine, machine.process("agent", *words):
        until(ready, "the worker is Ready", 60)
        revision = int(cluster.get("node", machine.name)["metadata"]["resourceVersion"])

        def shipped() -> bool:
            found = json.loads(cluster.tiphys("backup", "list", cluster.name, "-o", "json"))["history"]
            return bool(found) and found["last"] >= revision

        until(shipped, "the worker at the destination")
        destroy(cluster)
        cluster.tiphys("restore", str(place))
        build_image(cluster, images)
        # Nobody told it: it finds the cluster where it was, and its own certificate is still one of it.
        until(ready, "the worker is back", 60)
        running(cluster, 2)
        # Told that it lives, the cluster keeps it as it was.
        uid = cluster.get("node", machine.name)["metadata"]["uid"]
        revision = int(cluster.get("node", machine.name)["metadata"]["resourceVersion"])
        until(shipped, "the worker at the destination")
        cluster.tiphys("restore", str(place), "--force", "--keep-nodes")
        assert cluster.get("node", machine.name)["metadata"]["uid"] == uid
        until(ready, "the worker is still there", 60)
