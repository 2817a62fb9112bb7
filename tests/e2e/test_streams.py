"""exec, attach, cp and port-forward as streams: input that ends, terminals, megabytes, every protocol of clients."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from real_cluster import IMAGE, TIPHYS, RealCluster

pytestmark = pytest.mark.root
_SIZE = 8 * 1024 * 1024
Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(params=["tiphys", "kubectl", "kubectl-spdy"])
def client(request, cluster: RealCluster, namespace: str) -> Run:
    """Our command line, kubectl as it comes (WebSocket), and kubectl as it was (SPDY)."""
    program = TIPHYS if request.param == "tiphys" else "kubectl"
    choice = "false" if request.param == "kubectl-spdy" else "true"
    names = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS")
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), **dict.fromkeys(names, choice)}

    def run(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [program, "-n", namespace, *words]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=60, env=environment, check=False)

    return run


@pytest.fixture
def pod(cluster: RealCluster, namespace: str) -> str:
    cluster.kubectl("-n", namespace, "run", "box", f"--image={IMAGE}", "--env=VERSION=v1")
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/box", "--timeout=30s")
    return "box"


def test_piped_input_ends(client, pod):
    done = client("exec", "-i", pod, "--", "cat", stdin=b"hi\n")
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    done = client("exec", "-i", pod, "--", "sh", "-c", "cat >&2; exit 4", stdin=b"complaint")
    assert done.returncode == 4
    assert b"complaint" in done.stderr


def test_megabytes_go_in_and_out_whole(client, pod):
    content = os.urandom(_SIZE)
    assert client("exec", "-i", pod, "--", "cat", stdin=content).stdout == content
    digest = client("exec", "-i", pod, "--", "busybox", "sha256sum", stdin=content).stdout.split()[0]
    assert digest.decode() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("client", ["tiphys", "kubectl"], indirect=True)
def test_a_command_that_leaves_its_input_unread_ends(client, pod):
    assert client("exec", "-i", pod, "--", "head", "-c", "3", stdin=b"abc" * _SIZE).stdout == b"abc"


def test_attach_feeds_the_main_process(cluster, namespace, client):
    body = f'{{"spec":{{"containers":[{{"name":"eater","image":"{IMAGE}","stdin":true,"stdinOnce":true}}]}}}}'
    words = ["run", "eater", f"--image={IMAGE}", "--restart=Never", f"--overrides={body}", "--override-type=strategic"]
    cluster.kubectl("-n", namespace, *words, "--command", "--", "cat")
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/eater", "--timeout=30s")
    assert client("attach", "-i", "eater", stdin=b"fed").stdout.startswith(b"fed")
    ended = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("-n", namespace, "wait", ended, "pod/eater", "--timeout=30s")
    assert cluster.kubectl("-n", namespace, "logs", "eater") == "fed"


@pytest.mark.parametrize("client", ["tiphys"], indirect=True)
def test_debug_of_a_container_that_ends_at_once_is_no_failure(cluster, namespace, client, pod):
    for name in ("one", "two", "three"):
        done = client("debug", pod, "-i", f"--image={IMAGE}", f"--container={name}", "--target=box", "--", "hostname")
        assert done.returncode == 0, done.stderr
        assert cluster.kubectl("-n", namespace, "logs", pod, "-c", name) == "box\n"


def test_cp_of_megabytes_and_of_trees(client, pod, tmp_path):
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "big").write_bytes(os.urandom(_SIZE))
    (tree / "inner" / "small").write_text("small")
    (tree / "empty").touch()
    assert client("cp", str(tree), f"{pod}:/tmp/tree").returncode == 0
    back = tmp_path / "back"
    assert client("cp", f"{pod}:/tmp/tree", str(back)).returncode == 0
    assert (back / "big").read_bytes() == (tree / "big").read_bytes()
    assert sorted(path.name for path in back.rglob("*")) == ["big", "empty", "inner", "small"]
    refused = client("cp", str(tree / "inner"), f"{pod}:/nowhere/deep/tree")
    assert refused.returncode != 0
    assert b"/nowhere/deep" in refused.stderr


def test_kubectl_gets_version_5_at_its_first_asking(cluster, namespace, pod):
    words = ["-n", namespace, "exec", "-i", pod, "-v=8", "--", "cat"]
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "true"}
    done = subprocess.run(
        ["kubectl", *words], input="hi", capture_output=True, text=True, timeout=30, env=environment, check=True
    )
    assert done.stdout == "hi"
    assert "The subprotocol is v5.channel.k8s.io" in done.stderr
    assert "SPDY" not in done.stderr.upper()


def test_the_official_python_client_talks_with_a_process(cluster, namespace, pod):
    from kubernetes import client, config
    from kubernetes.stream import stream

    config.load_kube_config(str(cluster.kubeconfig))
    talk = stream(
        client.CoreV1Api().connect_get_namespaced_pod_exec, pod, namespace, command=["sh"],
        stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )  # fmt: skip
    try:
        talk.write_stdin("echo one; echo two >&2; exit 3\n")
        talk.run_forever(timeout=20)
        assert (talk.read_stdout(), talk.read_stderr(), talk.returncode) == ("one\n", "two\n", 3)
    finally:
        talk.close()


@contextmanager
def forwarded(command: list[str], cluster: RealCluster) -> Iterator[tuple[str, Path]]:
    """The local address, and the file of what the command logs."""
    log = cluster.kubeconfig.with_suffix(".forward-log")
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield "127.0.0.1:" + process.stdout.readline().split(" ->")[0].rpartition(":")[2], log
    finally:
        process.terminate()
        process.wait()
        log.unlink()


@pytest.mark.parametrize("client", ["tiphys"], indirect=True)
@pytest.mark.parametrize("program", ["kubectl", "tiphys"])
def test_port_forward_carries_megabytes_over_a_websocket(cluster, namespace, pod, client, program):
    content = os.urandom(_SIZE)
    # The runtime ends the input of a command whose output has ended, so `sh` has something to say at the end.
    assert client("exec", "-i", pod, "--", "sh", "-c", "cat > /www/big; echo done", stdin=content).returncode == 0
    verbose = ["-v=8"] if program == "kubectl" else []
    words = [TIPHYS if program == "tiphys" else program, "-n", namespace, "port-forward", *verbose, f"pod/{pod}", ":80"]
    with forwarded(list(map(str, words)), cluster) as (address, log):
        for _ in range(3):
            with urllib.request.urlopen(f"http://{address}/big", timeout=20) as answer:
                assert answer.read() == content
        if program == "kubectl":
            assert "Sec-Websocket-Protocol: SPDY/3.1+portforward.k8s.io" in log.read_text()
            assert "fallback" not in log.read_text()


class Terminal:
    """A program on a pseudo-terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.main, child = pty.openpty()
        self.resize(40, 100)
        self.process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True
        )
        os.close(child)
        self._seen = b""

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.main, keys)

    def expect(self, text: bytes, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while text not in self._seen:
            assert time.monotonic() < deadline, f"{text!r} is not in {self._seen!r}"
            if select.select([self.main], [], [], 0.2)[0]:
                self._seen += os.read(self.main, 4096)
        self._seen = self._seen.partition(text)[2]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.main)


def _until(size: str) -> bytes:
    """Typed into a shell: wait until the terminal has the size, which it gets soon after its start, and say so."""
    said = "printf 'size-%s-%s\\n' $(stty size)"
    return f"while test \"$(stty size)\" != '{size}'; do sleep 0.05; done; {said}\r".encode()


@pytest.mark.parametrize("program", ["tiphys", "kubectl"])
def test_a_terminal_is_raw_has_our_size_and_passes_the_exit_code(cluster, namespace, pod, program):
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "TERM": "dumb"}
    path = str(TIPHYS) if program == "tiphys" else program
    terminal = Terminal([path, "-n", namespace, "exec", "-it", pod, "--", "sh"], environment)
    try:
        terminal.type(b"echo begun-$((6 * 7)); " + _until("40 100"))
        terminal.expect(b"begun-42\r\n")
        terminal.expect(b"size-40-100\r\n")
        terminal.resize(50, 120)
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.type(_until("50 120"))
        terminal.expect(b"size-50-120\r\n")
        # In raw mode Ctrl-C is the container's: it ends `sleep` there, and not our program.
        terminal.type(b"echo $((40 + 2))-asleep; sleep 100\r")
        terminal.expect(b"42-asleep\r\n")
        terminal.type(b"\x03")
        terminal.type(b"echo $((84 / 2))-alive\r")
        terminal.expect(b"42-alive\r\n")
        terminal.type(b"exit 5\r")
        assert terminal.process.wait(10) == 5
    finally:
        terminal.close()
