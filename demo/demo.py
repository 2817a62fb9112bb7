"""`make demo`: a cluster from nothing, a web app on it, and what an orchestrator is for, shown live.

Every step is a command that a user could have typed; the page is asked for through the Service's cluster address.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
TIPHYS = Path(sys.executable).with_name("tiphys")
IMAGE = "tiphys-demo-web:1"
KUBECONFIG = "/etc/tiphys/admin.kubeconfig"


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def tiphys(*words: str, show: bool = True) -> str:
    """Run one command as a user would; its output, which is shown too."""
    if show:
        print(f"$ tiphys {' '.join(words)}", flush=True)
    # The demo's own cluster, whatever the current context is.
    environment = {**os.environ, "KUBECONFIG": KUBECONFIG}
    done = subprocess.run([TIPHYS, *words], stdout=subprocess.PIPE, text=True, check=False, env=environment)  # noqa: S603
    if show and done.stdout.strip():
        print(done.stdout.rstrip(), flush=True)
    if done.returncode:
        raise SystemExit(f"tiphys {' '.join(words)} failed with exit code {done.returncode}")
    return done.stdout


def ask(address: str) -> str:
    """The page, or an exception of http.client or the socket."""
    connection = http.client.HTTPConnection(address, 80, timeout=5)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        if answer.status != 200:
            raise http.client.HTTPException(f"status {answer.status}")
        return answer.read().decode().strip()
    finally:
        connection.close()


class Load:
    """Asks for the page again and again beside what else happens; counts answers and failures."""

    def __init__(self, address: str) -> None:
        self._address, self._stop = address, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers[ask(self._address).split()[0]] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            time.sleep(0.005)


def build() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        context = Path(scratch)
        for name in ("Dockerfile", "start"):
            shutil.copy(HERE / "web" / name, context / name)
        busybox = shutil.which("busybox", path="/bin:/usr/bin")
        if busybox is None:
            raise SystemExit("busybox is not installed; `apt-get install busybox-static` does it")
        shutil.copy(busybox, context / "busybox")
        tiphys("image", "build", str(context), "-t", IMAGE, show=False)
        print(f"built {IMAGE} from this machine's busybox", flush=True)


def main() -> int:
    started = time.monotonic()
    say("1. A cluster of one node")
    tiphys("up")
    build()
    say("2. Three replicas of a web app behind a Service")
    tiphys("apply", "-f", str(HERE / "web.yaml"))
    tiphys("rollout", "status", "deployment/web", "--timeout=60s")
    address = tiphys("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}", show=False)
    answers = Counter(ask(address).split()[1] for _ in range(60))
    for pod, count in sorted(answers.items()):
        print(f"  {pod} answered {count} of 60 requests")
    say("3. A killed pod is replaced")
    victim = sorted(answers)[0]
    tiphys("delete", "pod", victim, "--grace-period=0", "--force", "--wait=false")
    tiphys("rollout", "status", "deployment/web", "--timeout=60s")
    tiphys("get", "pods", "-l", "app=web")
    say("4. Five replicas")
    tiphys("scale", "deployment/web", "--replicas=5")
    tiphys("rollout", "status", "deployment/web", "--timeout=60s")
    say("5. A rolling update, asked for the page all the while")
    with Load(address) as load:
        version = f"v{int(time.time())}"
        tiphys("set", "env", "deployment/web", f"VERSION={version}")
        tiphys("rollout", "status", "deployment/web", "--timeout=120s")
        time.sleep(1)
    for name, count in load.answers.items():
        print(f"  {name} answered {count} requests")
    print(f"  {len(load.failures)} requests failed")
    for failure in load.failures[:5]:
        print(f"    {failure}")
    tiphys("scale", "deployment/web", "--replicas=3")
    say(f"Done in {time.monotonic() - started:.0f} s. How to go on:")
    print(f"  {TIPHYS} get pods -o wide          what runs")
    print(f"  {TIPHYS} logs -f deployment/web    what it says")
    print(f"  curl http://{address}/             the page")
    print(f"  {TIPHYS} status                    the cluster on one screen")
    print(f"  sudo {TIPHYS} down --purge         remove everything")
    return 1 if load.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
