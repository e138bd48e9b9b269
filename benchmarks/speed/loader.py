"""Training from a prepared array against a DataLoader that decodes with PIL, around the same network.

    python benchmarks/speed/loader.py --data FOLDER          # SqueezeNet to its fifth block, 128 px, CPU, one thread
    python benchmarks/speed/loader.py --data FOLDER --backbone resnet50 --side 224 --precision bfloat16 \\
        --channels-last --workers 8 --steps 100              # on a GPU

FOLDER holds ``domain/class/image.jpg`` (or ``domain/images/class/image.jpg``). Both train a network with DeepCORAL on
32 source and 32 target images a step: ``landbridge.fit`` from uint8 arrays of 256x256 pixels with
``RandomResizedCrop``; and a loop by hand, in float32, over two ``torch.utils.data.DataLoader``s whose samples are
decoded by PIL, resized to 256x256, cropped, flipped and normalised by torchvision. Prints the steps per second of both
and their ratio: the median of paired blocks (A B B A) with the smallest and the largest; and what share of ``fit``'s
step is not the network: 1 minus the time of a step on images that need no cropping, over the time of a step.

``squeezenet-fifth`` is SqueezeNet 1.0 up to and with its fifth fire module (torchvision's ``features[:9]``), averaged
over the image to 384 features; all of it is trained. Weights are random: they make no difference to the time.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms
from torchvision.transforms import v2

import landbridge as lb
from landbridge.shared.augment import RandomResizedCrop
from landbridge.shared.backbones import IMAGENET
from landbridge.shared.normalise import Normalise

BATCH, STORED = 32, 256


class Domain(NamedTuple):
    """The files of a domain, and what they become once."""

    files: list[Path]
    labels: Tensor
    array: Tensor


class Photos(Dataset):
    """One image a call, decoded when it is asked for."""

    def __init__(self, domain: Domain, transform) -> None:
        self.files, self.labels, self.transform = domain.files, domain.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int):
        with Image.open(self.files[row]) as image:
            return self.transform(image.convert("RGB")), self.labels[row]


def read(folder: Path, limit: int) -> tuple[Domain, int]:
    """Up to ``limit`` images of a domain, evenly spread over its files, and how many classes there are."""
    folder = folder / "images" if (folder / "images").is_dir() else folder
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    every = [(file, k) for k, name in enumerate(classes) for file in sorted((folder / name).iterdir())]
    chosen = every[:: -(-len(every) // limit)]
    array = np.empty((len(chosen), 3, STORED, STORED), dtype=np.uint8)
    for row, (file, _) in enumerate(chosen):
        with Image.open(file) as image:
            squashed = image.convert("RGB").resize((STORED, STORED), Image.Resampling.BILINEAR)
            array[row] = np.asarray(squashed).transpose(2, 0, 1)
    labels = torch.tensor([k for _, k in chosen])
    return Domain([file for file, _ in chosen], labels, torch.from_numpy(array)), len(classes)


def create(backbone: str, classes: int) -> lb.Network:
    """The network, which takes raw images."""
    torch.manual_seed(0)
    if backbone != "squeezenet-fifth":
        return lb.create_network(backbone, classes=classes)
    layers = models.squeezenet1_0(weights=None).features[:9]
    return lb.Network(
        nn.Sequential(Normalise(*IMAGENET), layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(384, classes)
    )


def without_normalise(network: lb.Network) -> lb.Network:
    """The network for what a DataLoader has normalised already."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Normalise):
                setattr(parent, name, nn.Identity())
    return network


class ByHand:
    """A loop as anybody would write it, over two DataLoaders."""

    def __init__(self, domains: list[Domain], classes: int, asked: argparse.Namespace, device: torch.device) -> None:
        mean, std = IMAGENET
        side, size = asked.side, (STORED, STORED)
        transform = {
            "v1": transforms.Compose([
                transforms.Resize(size), transforms.RandomResizedCrop(side), transforms.RandomHorizontalFlip(),
                transforms.ToTensor(), transforms.Normalize(mean, std),
            ]),
            "v2": v2.Compose([
                v2.PILToTensor(), v2.Resize(size, antialias=True), v2.RandomResizedCrop(side, antialias=True),
                v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std),
            ]),
        }[asked.transforms]  # fmt: skip
        self.device, self.network = device, without_normalise(create(asked.backbone, classes)).to(device).train()
        self.method = lb.DeepCORAL()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-3, momentum=0.9)
        self.ahead = 2 * asked.workers  # batches that the workers may have ready before time is taken
        loaders = [
            DataLoader(
                Photos(domain, transform), BATCH, shuffle=True, drop_last=True, num_workers=asked.workers,
                persistent_workers=asked.workers > 0, pin_memory=device.type == "cuda",
            )
            for domain in domains
        ]  # fmt: skip
        self.source, self.target = (self._endless(loader) for loader in loaders)

    @staticmethod
    def _endless(loader: DataLoader) -> Iterator[list[Tensor]]:
        return itertools.chain.from_iterable(itertools.repeat(loader))

    def seconds(self, steps: int) -> float:
        """Seconds a step, with the workers' store used up first."""
        for _ in range(self.ahead):
            self._step()
        self._wait()
        started = time.perf_counter()
        for _ in range(steps):
            self._step()
        self._wait()
        return (time.perf_counter() - started) / steps

    def _step(self) -> None:
        x_s, y_s = (value.to(self.device, non_blocking=True) for value in next(self.source))
        x_t = next(self.target)[0].to(self.device, non_blocking=True)
        features, logits = self.network(torch.cat([x_s, x_t]))
        source = lb.Source(features[:BATCH], logits[:BATCH], y_s)
        loss = F.cross_entropy(logits[:BATCH], y_s) + self.method(source, lb.Target(features[BATCH:], logits[BATCH:]))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class ByFit:
    """``landbridge.fit`` on arrays."""

    def __init__(self, domains: list[Domain], classes: int, asked: argparse.Namespace, device: torch.device) -> None:
        self.source, self.target = domains
        self.arrays = [domain.array.to(device) for domain in domains]
        self.classes, self.asked, self.device = classes, asked, device

    def seconds(self, steps: int, *, plain: bool = False, cropped: bool = False) -> float:
        """Seconds a step of the loop alone.

        Args:
            steps: how many.
            plain: in float32 and the usual memory format, as the loop by hand, whatever was asked for.
            cropped: of images that were cut beforehand, so that nothing is augmented.
        """
        side = self.asked.side
        source, target = [x[..., :side, :side].contiguous() for x in self.arrays] if cropped else self.arrays
        result = lb.fit(
            create(self.asked.backbone, self.classes), lb.DeepCORAL(), (source, self.source.labels), target,
            steps=steps, batch_size=BATCH, optimizer=lb.Optimizer(lr=1e-3), device=self.device, progress_bar=False,
            augment=None if cropped else RandomResizedCrop(side), channels_last=self.asked.channels_last and not plain,
            precision="float32" if plain else self.asked.precision,
        )  # fmt: skip
        return result.seconds / steps


def measure(asked: argparse.Namespace) -> None:
    """Paired blocks, and what they say."""
    device = torch.device(asked.device)
    names = asked.domains or sorted(path.name for path in asked.data.iterdir() if path.is_dir())[:2]
    (source, classes), (target, _) = (read(asked.data / name, asked.images) for name in names)
    by_fit = ByFit([source, target], classes, asked, device)
    by_hand = ByHand([source, target], classes, asked, device)
    runs: dict[str, Callable[[], float]] = {
        "fit": lambda: by_fit.seconds(asked.steps),
        "network": lambda: by_fit.seconds(asked.steps, cropped=True),
        "loader": lambda: by_hand.seconds(asked.steps),
    }
    switched = asked.precision != "float32" or asked.channels_last
    if switched:
        runs["plain fit"] = lambda: by_fit.seconds(asked.steps, plain=True)
    seconds = blocks_of(runs, asked.blocks)
    images = f"{len(source.files)} and {len(target.files)} images"
    print(f"{asked.backbone}, {asked.side} px, {BATCH}+{BATCH}, {' and '.join(names)} ({images}), {device.type}, "
          f"{torch.get_num_threads()} thread(s)")  # fmt: skip
    layout = ", channels_last" if asked.channels_last else ""
    show(f"fit, array, {asked.precision}{layout}", seconds["fit"])
    show("  the same without augmenting", seconds["network"])
    if switched:
        show("fit, array, float32", seconds["plain fit"])
    show(f"DataLoader, PIL, {asked.transforms}, {asked.workers} workers, float32", seconds["loader"])
    compare("fit / DataLoader", seconds["loader"], seconds["fit"])
    if switched:
        compare("fit in float32 / DataLoader", seconds["loader"], seconds["plain fit"])
    share = [1 - network / whole for network, whole in zip(seconds["network"], seconds["fit"], strict=True)]
    print(f"share of fit's step that is not the network: {statistics.median(share):.1%}  "
          f"[{min(share):.1%}, {max(share):.1%}]")  # fmt: skip


def blocks_of(runs: dict[str, Callable[[], float]], blocks: int) -> dict[str, list[float]]:
    """Seconds of each run in each block: all in order, and again backwards; a first block warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for block in range(blocks + 1):
        spent = dict.fromkeys(runs, 0.0)
        for name in (*runs, *reversed(runs)):
            spent[name] += runs[name]() / 2
        if block > 0:
            for name in runs:
                seconds[name].append(spent[name])
    return seconds


def show(what: str, seconds: list[float]) -> None:
    """Steps and images per second."""
    middle = statistics.median(seconds)
    print(f"{what:<50} {1 / middle:8.3f} steps/s  {2 * BATCH / middle:9.1f} images/s")


def compare(what: str, slow: list[float], fast: list[float]) -> None:
    """The ratio of speeds: median, smallest and largest of the blocks."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    print(f"{what} = {statistics.median(ratios):.2f}  [{min(ratios):.2f}, {max(ratios):.2f}]")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--domains", nargs=2, help="source and target; the first two folders if left out")
    parser.add_argument("--images", type=int, default=200, help="of each domain at most")
    parser.add_argument("--backbone", default="squeezenet-fifth")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--precision", default="float32", help="of fit; the loop by hand is in float32")
    parser.add_argument("--channels-last", action="store_true", help="in fit")
    parser.add_argument("--transforms", choices=["v1", "v2"], default="v1", help="torchvision's, of the DataLoader")
    parser.add_argument("--workers", type=int, default=0, help="processes of each DataLoader")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=2, help="in each of a block's four runs")
    parser.add_argument("--blocks", type=int, default=5)
    asked = parser.parse_args()
    if asked.device == "cpu":
        torch.set_num_threads(1)
    measure(asked)


if __name__ == "__main__":
    main()
