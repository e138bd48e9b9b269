"""Kill -9, resume, and the same weights: python benchmarks/speed/kill_resume.py --kills 20

A run of DANN on optdigits, with a checkpoint every few steps, is killed again and again, and each time goes on in a new
process. Half of the kills come at random moments; the others inside the writing of a checkpoint, where the process is
held until it is dead: with half of the file written, and before and after the new file is renamed over the old. The
checkpoint has to load after every kill and never go back, and every run that ends has to end in the weights of one
that was left alone, bit for bit. Takes about 5 seconds a kill, most of them to start Python again.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ANYWHERE, HALF, BEFORE, AFTER = "anywhere", "half written", "before the rename", "after the rename"
PLACES = (HALF, ANYWHERE, BEFORE, ANYWHERE, AFTER, ANYWHERE)  # in turn
REACH = 0.25  # the furthest that a kill lies from its process's first step, as a share of the whole run


class Kill(NamedTuple):
    """One kill, and what it left."""

    place: str
    seconds: float  # from the first step of its process
    step: int | None  # of the checkpoint found afterwards; None: there is none yet
    remains: int  # bytes of a temporary file beside it
    wrong: str  # what should not be; empty if all is well


class Report(NamedTuple):
    """What came of all kills."""

    kills: list[Kill]
    expected: str  # sha256 of the weights of the run left alone
    ends: list[str]  # of each killed run that ended
    remains: list[str]  # temporary files beside the last checkpoint
    seconds: float  # what the run left alone took

    @property
    def well(self) -> bool:
        same = bool(self.ends) and set(self.ends) == {self.expected}
        return same and not self.remains and not any(kill.wrong for kill in self.kills)


class Settings(NamedTuple):
    """Of the run that is killed."""

    steps: int
    every: int  # steps between checkpoints
    threads: int


def kill_and_resume(folder: Path, kills: int, settings: Settings, seed: int) -> Report:
    """Kill a run ``kills`` times, resume it each time, and compare; a run that ends early is followed by another."""
    chance = random.Random(seed)
    alone = _Process(folder / "alone.pt", settings)
    expected = alone.finish()
    seconds = time.perf_counter() - alone.started
    checkpoint = folder / "killed.pt"
    done: list[Kill] = []
    ends: list[str] = []
    step: int | None = None
    while len(done) < kills:
        place = PLACES[len(done) % len(PLACES)]
        writes = chance.randint(1, max(1, int(REACH * settings.steps / settings.every)))
        process = _Process(checkpoint, settings, place, writes)
        end = process.kill_at(place, chance.uniform(0, REACH * seconds))
        if end is not None:
            ends.append(end)
            checkpoint.unlink()
            step = None
            continue
        kill = _look(checkpoint, place, time.perf_counter() - process.started, step, settings.every)
        done.append(kill)
        step = kill.step
        if kill.wrong:  # told in the report; the kills that follow need a file that can be read
            checkpoint.unlink(missing_ok=True)
            step = None
    ends.append(_Process(checkpoint, settings).finish())
    return Report(done, expected, ends, [path.name for path in folder.glob(".*.tmp")], seconds)


def _look(checkpoint: Path, place: str, seconds: float, before: int | None, every: int) -> Kill:
    from landbridge.shared.checkpoint import CheckpointError, read_checkpoint

    remains = sum(path.stat().st_size for path in checkpoint.parent.glob(f".{checkpoint.name}.*.tmp"))
    step, wrong = None, []
    if checkpoint.exists():
        try:
            step = int(read_checkpoint(checkpoint)["step"])
        except CheckpointError as error:
            wrong.append(str(error))
    if step is not None and step % every != 0:
        wrong.append(f"step {step} is no multiple of {every}")
    if (step or 0) < (before or 0):
        wrong.append(f"the checkpoint went back from step {before} to {step}")
    if place in (HALF, BEFORE) and remains == 0:
        wrong.append("no temporary file: the kill was not inside the write")
    if place == AFTER and step == before:
        wrong.append("the file had not been renamed")
    return Kill(place, seconds, step, remains, "; ".join(wrong))


class _Process:
    """A new process that trains, going on from the checkpoint if it is there; at its first step when made."""

    def __init__(self, checkpoint: Path, settings: Settings, place: str = ANYWHERE, writes: int = 0) -> None:
        threads = str(settings.threads)
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        numbers = [str(n) for n in (settings.steps, settings.every, settings.threads, writes)]
        command = [sys.executable, __file__, "--child", str(checkpoint), place, *numbers]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._line()  # "training"
        self.started = time.perf_counter()

    def kill_at(self, place: str, seconds: float) -> str | None:
        """Kill it; or, if it ended before that, the sha256 of its weights."""
        if place == ANYWHERE:
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._kill()
                return None
        line = self._line()
        if line == "held":
            self._kill()
            return None
        return self._end(line)

    def finish(self) -> str:
        """The sha256 of the weights it ends in."""
        return self._end(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            self._close()
            raise RuntimeError(f"the training process failed with exit code {self.process.returncode}.")
        return line

    def _kill(self) -> None:
        self.process.kill()
        self._close()

    def _end(self, line: str) -> str:
        self._close()
        return line

    def _close(self) -> None:
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def train(checkpoint: Path, place: str, steps: int, every: int, threads: int, writes: int) -> None:
    """What the killed process does: train, and print the sha256 of the weights."""
    import torch

    import landbridge as lb
    from landbridge.benchmarks.datasets import load_task
    from landbridge.shared.seeds import seeded

    torch.set_num_threads(threads)
    data = load_task("optdigits", "clean->noisy", size=16, channels=1)
    with seeded("kill_resume"):
        network = lb.create_network("lenet16-slim", classes=len(data.classes))
        method = lb.DANN(features=128, hidden=[100], dropout=0.5)  # dropout: random numbers in every step
    _hold(checkpoint, place, writes)
    print("training", flush=True)
    result = lb.fit(
        network,
        method,
        (data.source_train.inputs, data.source_train.labels),
        data.target_train.inputs,
        steps=steps,
        optimizer=lb.Optimizer(name="adam", lr=1e-3, schedule="annealed"),
        batch_statistics="per_domain",
        device="cpu",
        progress_bar=False,
        checkpoint=checkpoint,
        checkpoint_every=every,
    )
    digest = hashlib.sha256()
    for module in (result.network, method):
        for name, value in module.state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
    print(digest.hexdigest(), flush=True)


def _hold(checkpoint: Path, place: str, writes: int) -> None:
    """Let the process say "held" and stand still at one place of the given write of the checkpoint."""
    from landbridge.shared import files

    passed = 0

    def at(here: str) -> None:
        nonlocal passed
        passed += here == place
        if here == place and passed == writes:
            print("held", flush=True)
            sys.stdin.read()  # until it is killed, or nobody is there any more

    class InHalves(io.FileIO):
        def write(self, content: Any) -> int:
            first = super().write(content[: len(content) // 2])
            at(HALF)
            return first + super().write(content[first:])

    rename = os.replace

    def replace(source: Path, target: Path) -> None:
        ours = target == checkpoint
        if ours:
            at(BEFORE)
        rename(source, target)
        if ours:
            at(AFTER)

    setattr(files, "open", InHalves)  # noqa: B010 (a name that the module takes from the builtins)
    setattr(os, "replace", replace)  # noqa: B010


def show(report: Report) -> None:
    """Print a line for each kill, and the verdict."""
    print(f"{'kill':>4}  {'where':18} {'after':>7}  {'checkpoint':>10}  {'temporary file':>14}")
    for number, kill in enumerate(report.kills, 1):
        found = "none yet" if kill.step is None else f"step {kill.step}"
        remains = f"{kill.remains / 1e6:.2f} MB" if kill.remains else "-"
        print(f"{number:4}  {kill.place:18} {kill.seconds:5.2f} s  {found:>10}  {remains:>14}  {kill.wrong}".rstrip())
    print(f"left alone: {report.expected[:16]} in {report.seconds:.1f} s")
    for end in report.ends:
        print(f"killed run: {end[:16]} {'the same' if end == report.expected else 'NOT THE SAME'}")
    if report.remains:
        print(f"temporary files remain: {', '.join(report.remains)}")
    inside = sum(kill.place != ANYWHERE for kill in report.kills)
    print(
        f"{len(report.kills)} kills, {inside} of them inside the write; {len(report.ends)} runs ended: "
        + ("the same weights every time, and never a broken file" if report.well else "FAILED")
    )


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        checkpoint, place, *numbers = sys.argv[2:]
        train(Path(checkpoint), place, *map(int, numbers))
        return
    parser = argparse.ArgumentParser(description="Kill a training run again and again, resume it, compare the weights.")
    parser.add_argument("--kills", type=int, default=20, help="how often (default 20)")
    parser.add_argument("--steps", type=int, default=600, help="of the run (default 600, a few seconds)")
    parser.add_argument("--every", type=int, default=5, help="steps between checkpoints (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    arguments = parser.parse_args()
    settings = Settings(arguments.steps, arguments.every, arguments.threads)
    with tempfile.TemporaryDirectory(prefix="kill-resume-") as folder:
        report = kill_and_resume(Path(folder), arguments.kills, settings, arguments.seed)
    show(report)
    sys.exit(0 if report.well else 1)


if __name__ == "__main__":
    main()
