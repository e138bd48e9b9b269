"""What a method's loss adds to a training step: python benchmarks/speed/alignment_share.py

Forward and backward of each method's loss, from features of 256 and logits of 31 classes for 32 + 32 samples, and of
its own parts (a discriminator, a second head), over forward and backward of a ResNet-50 on 32 + 32 images with the
cross-entropy of the source. A block runs every loss between two steps of the network, so the ratios are of neighbours
in time; under 6 blocks the interval is from the smallest to the largest. The optimiser's step is in neither. On a CPU
one step of the network takes many seconds at 224 px; a smaller ``--side`` makes the shares larger.

With ``--plain``, instead: JAN's joint kernel and CDAN's random map against forming what they avoid.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landbridge.benchmarks.speed.paired import _rank, paired_ratios
from landbridge.dann import RandomMultilinearMap, multilinear_map
from landbridge.methods import METHODS
from landbridge.mmd import GaussianKernel, MultiGaussianKernel, joint_mmd2
from landbridge.shared.method import Method, Sizes, Source, Target

SAMPLES, FEATURES, CLASSES = 32, 256, 31  # of each domain; Office-31 with the usual bottleneck
MOST = 0.05  # of a step, that a loss may take

Run = Callable[[], object]


class Step:
    """Runs a function on a device, in a precision, and waits until its work has ended."""

    def __init__(self, device: str, precision: str) -> None:
        self.device = torch.device(device)
        self.dtype = {"float32": None, "bfloat16": torch.bfloat16}[precision]

    def __call__(self, loss: Callable[[], Tensor], to: list[Tensor]) -> Run:
        """Forward and backward of a loss, to these tensors."""

        def run() -> None:
            with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
                value = loss()
            torch.autograd.grad(value, to, allow_unused=True)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        return run


def network_step(step: Step, side: int) -> Run:
    """A ResNet-50 with a bottleneck, on both domains' images at once."""
    from torchvision.models import resnet50

    body = resnet50(weights=None)
    body.fc = nn.Sequential(nn.Linear(body.fc.in_features, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())
    network = nn.Sequential(body, nn.Linear(FEATURES, CLASSES))
    network = network.to(step.device, memory_format=torch.channels_last).train()
    images = torch.randn(2 * SAMPLES, 3, side, side, device=step.device).to(memory_format=torch.channels_last)
    labels = torch.arange(SAMPLES, device=step.device) % CLASSES
    return step(lambda: F.cross_entropy(network(images)[:SAMPLES], labels), list(network.parameters()))


def method_steps(step: Step, method: Method) -> Run:
    """All updates of one step of a method, from features and logits on."""
    method = method.to(step.device).train()
    rows = torch.arange(SAMPLES, device=step.device)
    drawn = (torch.randn(SAMPLES, size, device=step.device) for size in (FEATURES, CLASSES, FEATURES, CLASSES))
    to = f_s, z_s, f_t, z_t = [x.requires_grad_() for x in drawn]
    source, target = Source(f_s, z_s, rows % CLASSES), Target(f_t, z_t, rows)
    progress = torch.tensor(0.5, device=step.device)
    to += [p for p in method.parameters() if p.requires_grad]

    runs = []
    for update in method.updates():

        def loss(update=update) -> Tensor:
            losses = method.losses(source, target, progress, update)
            return torch.stack([value for name, value in losses.items() if name not in method.watches]).sum()

        runs += [step(loss, to)] * update.repeat

    def run() -> None:
        for each in runs:
            each()

    return run


def shares(step: Step, side: int, blocks: int, length: float, only: list[str]) -> None:
    """Each method's share of the network's step: every block runs all methods between two steps of the network."""
    made = {name: kind.create(Sizes(FEATURES, CLASSES)) for name, kind in METHODS.items() if name in only}
    losses = {name: method_steps(step, method) for name, method in made.items() if _adds_something(method)}
    calls = {name: max(1, round(length / seconds(loss, 3))) for name, loss in losses.items()}
    network = network_step(step, side)
    seconds(network)  # the first allocates and compiles
    found: dict[str, list[float]] = {name: [] for name in losses}
    taken: dict[str, list[float]] = {name: [] for name in losses}
    steps = [seconds(network)]
    for _ in range(blocks):
        now = {name: seconds(loss, calls[name]) for name, loss in losses.items()}
        steps.append(seconds(network))
        for name, value in now.items():
            taken[name].append(value)
            found[name].append(2 * value / (steps[-2] + steps[-1]))
    print(f"ResNet-50, {SAMPLES} + {SAMPLES} images at {side} px: {statistics.median(steps):.4g} s a step (median)")
    print(f"{'loss of':12} {'milliseconds':>12} {'share of the step':>18}   95% interval, {blocks} blocks")
    for name, ratios in found.items():
        ratios.sort()
        least, largest = ratios[_rank(blocks)], ratios[-1 - _rank(blocks)]
        verdict = "" if largest < MOST else f"   not under {MOST:.0%}"
        took = 1000 * statistics.median(taken[name])
        print(f"{name:12} {took:>12.3f} {statistics.median(ratios):>17.3%}   {least:.3%} to {largest:.3%}{verdict}")


def seconds(run: Run, calls: int = 1) -> float:
    """Of one call, the mean of so many."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def _adds_something(method: Method) -> bool:
    device = next((p.device for p in method.parameters()), None)
    f, z = torch.zeros(2, FEATURES, device=device), torch.zeros(2, CLASSES, device=device)
    batch = Source(f, z, torch.zeros(2, dtype=torch.long, device=device)), Target(f, z)
    return bool(method.losses(*batch, torch.tensor(0.5, device=device), method.updates()[0]))


# ---- against plain forms


def plain_joint(layers: list[Tensor], kernels: int = 5) -> Tensor:
    """JAN's biased estimate as its authors write it: an n x n x d broadcast for each layer, an exponential a kernel."""
    joint: Tensor | None = None
    for layer, count in zip(layers, (kernels, 1), strict=True):
        squared = (layer[None] - layer[:, None]).square().sum(2)
        n = layer.shape[0]
        gamma = squared.detach().sum() / (n * n - n) if count > 1 else torch.tensor(1.68, device=layer.device)
        each = [torch.exp(-squared / (gamma * 2.0 ** (u - count // 2))) for u in range(count)]
        kernel = torch.stack(each).mean(0)
        joint = kernel if joint is None else joint * kernel
    assert joint is not None
    s = layers[0].shape[0] // 2
    return joint[:s, :s].mean() + joint[s:, s:].mean() - 2 * joint[:s, s:].mean()


def against_plain(step: Step, blocks: int, length: float) -> None:
    """JAN, and CDAN's map with the discriminator's first layer."""
    print(f"{'times faster than plain':38} {'d':>6} {'median':>8}   95% interval")
    for d in (FEATURES, 2048):
        f = torch.randn(2 * SAMPLES, d, device=step.device).requires_grad_()
        g = torch.randn(2 * SAMPLES, CLASSES, device=step.device).softmax(1).requires_grad_()
        kernels = [MultiGaussianKernel("mean", kernels=5), GaussianKernel(1.68)]

        def joint(f: Tensor = f, g: Tensor = g, kernels: list = kernels) -> Tensor:
            return joint_mmd2([f[:SAMPLES], g[:SAMPLES]], [f[SAMPLES:], g[SAMPLES:]], kernels)

        torch.testing.assert_close(joint(), plain_joint([f, g]), rtol=1e-3, atol=1e-6)
        slow = step(lambda f=f, g=g: plain_joint([f, g]), [f, g])
        _print_ratio("JAN: broadcasts and six exponentials", d, step(joint, [f, g]), slow, blocks, length)

        random = RandomMultilinearMap(d, CLASSES).to(step.device)
        m = random.of_features.shape[1]
        # the same numbers by the outer product and a matrix of d k rows, whose columns have rank one
        matrix = (
            torch.einsum("im,cm->icm", random.of_features, random.of_probabilities).reshape(d * CLASSES, m) / m**0.5
        )
        torch.testing.assert_close(random(f, g), multilinear_map(f, g) @ matrix, rtol=1e-2, atol=1e-3)

        def fast(f: Tensor = f, g: Tensor = g, random: nn.Module = random) -> Tensor:
            return random(f, g).sum()

        def plain(f: Tensor = f, g: Tensor = g, matrix: Tensor = matrix) -> Tensor:
            return (multilinear_map(f, g) @ matrix).sum()

        name = f"CDAN's random map: (d k, {m}) matrix"
        _print_ratio(name, d, step(fast, [f]), step(plain, [f]), blocks, length)


def _print_ratio(name: str, d: int, fast: Run, slow: Run, blocks: int, length: float) -> None:
    median, low, high = paired_ratios(fast, slow, blocks=blocks, seconds=length)
    print(f"{name:38} {d:>6} {median:>8.1f}   {low:.1f} to {high:.1f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="torch device (cpu)")
    parser.add_argument("--side", type=int, default=224, help="of the images in pixels (224)")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--blocks", type=int, default=7, help="A B B A blocks of each comparison (7)")
    parser.add_argument("--seconds", type=float, default=0.05, help="about how long each run of a block is (0.05)")
    parser.add_argument("--methods", default=",".join(METHODS), help="which, with commas (all)")
    parser.add_argument("--plain", action="store_true", help="against plain forms instead")
    asked = parser.parse_args()
    step = Step(asked.device, asked.precision)
    print(f"forward + backward in {asked.precision} on {asked.device}, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    torch.manual_seed(0)
    if asked.plain:
        against_plain(step, asked.blocks, asked.seconds)
    else:
        shares(step, asked.side, asked.blocks, asked.seconds, asked.methods.split(","))


if __name__ == "__main__":
    main()
