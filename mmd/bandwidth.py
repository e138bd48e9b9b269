"""One bandwidth for all of training: what a kernel's rule finds in the data, not in each batch by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["HORIZON", "LEAST_OF_PROBABILITIES", "DataBandwidth"]

HORIZON = 100  # batches averaged over: of some thousand pairs each, so that little of their spread is left
LEAST_OF_PROBABILITIES = 0.125  # a sixteenth of the largest squared distance of two predictions, which is 2


class DataBandwidth(nn.Module):
    r"""The bandwidth of a kernel, one for all of training: the mean over its batches, which later only grows.

    A rule that looks at each batch by itself gives a loss without a scale: the closer the rows lie together, the larger
    its gradient, without bound. So the rule's value gamma_i of each batch (source and target pooled) only enters a mean
    m_i, of all the first hundred batches, a running one from then on. After the hundredth, the bandwidth is the largest
    that the mean has been since:

    .. math:: m_i = m_{i-1} + \frac{\gamma_i - m_{i-1}}{\min(i, 100)}, \qquad
        \gamma = \max(\text{least}, \, m_j : \min(i, 100) \le j \le i)

    For data at rest that is the data's median, up to sampling. Where features grow in training, it follows; where they
    draw together, it stays (within the first hundred batches it falls to a hundredth at most), and the gradient fades
    with them. No gradient flows through it.

    The state is two buffers, saved with the method. Evaluation mode reads them and leaves them alone (before the first
    training batch, it takes the batch's own). Nothing waits for the device, and it is one graph for the compiler.

    A kernel with a number for its bandwidth keeps that.

    Args:
        least: >= 0, the smallest bandwidth, a squared distance, for layers whose scale is known.

    Source: Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML 2015, section 4.1: gamma is
    the median of the pairwise squared distances on the training data; the running form is this project's.

    >>> bandwidth = DataBandwidth()
    >>> [float(bandwidth(torch.tensor(found))) for found in (1.0, 3.0, 0.5)]
    [1.0, 2.0, 1.5]
    """

    running: Tensor
    largest: Tensor
    batches: Tensor

    def __init__(self, *, least: float = 0.0) -> None:
        super().__init__()
        self.least = least
        for name in ("running", "largest", "batches"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    def forward(self, found: float | Tensor) -> float | Tensor:
        """Gamma, given what the kernel's rule found in a batch, a scalar; a number is given back."""
        if not isinstance(found, Tensor):
            return found
        if self.running.device != found.device:  # in a loop whose author had no parameters to move
            self.to(found.device)
        dtype, found = found.dtype, found.double()
        if not self.training:
            largest = torch.where(self.batches > 0, self.largest, found)
        else:
            batches = self.batches + 1
            running = self.running + (found - self.running) / batches.clamp(max=HORIZON)
            largest = torch.where(batches > HORIZON, torch.maximum(self.largest, running), running)
            self.batches.copy_(batches)
            self.running.copy_(running)
            self.largest.copy_(largest)
        return largest.clamp(min=self.least).to(dtype)
