"""A client of a web service inside a pod's network: python visitor.py ADDRESS PAUSE asks until SIGTERM, then tells.

Each visit is a new connection. It prints the number of answers, then each failure on a line: time, length, what.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import urllib.request

stop = threading.Event()


def visit(address: str, pause: float) -> None:
    answers, failures = 0, []
    while not stop.wait(pause):
        begun = time.monotonic()
        try:
            with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
                answer.read()
            answers += 1
            if answers == 1:
                print("ready", flush=True)
        except OSError as error:
            failures.append(f"{begun:.3f} {time.monotonic() - begun:.3f} {error}")
    print(answers, *failures, sep="\n", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    visit(sys.argv[1], float(sys.argv[2]))
