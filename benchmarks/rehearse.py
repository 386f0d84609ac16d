"""How long a rehearsal takes: one case played straight, and all three passes.

    python -m benchmarks.rehearse [--example never_pays] [--times 5] [--policy FILE]

The straight pass is measured twice: the first of the process, which also compiles every statement and template, and the
median of the later ones; processor time is what tells on a machine that is busy with other things. Starting Python and
importing the product is not in it, and is printed by itself.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

BEGAN = time.perf_counter()

from config.settings import OnlyWritten  # noqa: E402
from worker import logs  # noqa: E402 - the imports are measured
from worker.rehearsal.play import play  # noqa: E402
from worker.rehearsal.rehearse import rehearse, without_collector  # noqa: E402
from worker.rehearsal.stage import Floor  # noqa: E402
from worker.rehearsal.story import EXAMPLES  # noqa: E402

IMPORTED = time.perf_counter() - BEGAN


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--example", choices=list(EXAMPLES), default="never_pays")
    asked.add_argument("--times", type=int, default=5)
    asked.add_argument("--policy", type=Path)
    options = asked.parse_args()
    logs.configure(OnlyWritten(log_level="error"))
    story = EXAMPLES[options.example]
    seconds, busy = [], []
    with tempfile.TemporaryDirectory(prefix="reprieve-benchmark-") as folder, without_collector():
        began = time.perf_counter()
        floor = Floor(Path(folder))
        tables = time.perf_counter() - began
        for _ in range(options.times + 1):
            before = time.process_time()
            played = play(story, options.policy, floor, seed=1)
            seconds.append(played.seconds)
            busy.append(time.process_time() - before)
    days = (played.ended - played.began) / timedelta(days=1)
    whole = [sum(rehearse(story, options.policy, seed).seconds.values()) for seed in range(1, options.times + 1)]
    print(f"{options.example}: {days:.0f} days, {played.webhooks} webhooks, {played.retries} attempts")
    print(f"imports {IMPORTED:.2f} s, an empty database {1000 * tables:.0f} ms")
    print(
        f"straight: first {seconds[0]:.2f} s, then {statistics.median(seconds[1:]):.2f} s (median of {options.times})"
    )
    print(f"of it processor time: first {busy[0]:.2f} s, then {statistics.median(busy[1:]):.2f} s (median)")
    print(f"three passes: {statistics.median(whole):.2f} s (median of {options.times})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
