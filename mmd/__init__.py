"""Maximum mean discrepancy: kernels, the statistic, and the methods that make it small."""

from .dan import DAN, DDC
from .kernels import DistanceKernel, GaussianKernel, MultiGaussianKernel
from .mmd import mean_distance, mmd2

__all__ = ["DAN", "DDC", "DistanceKernel", "GaussianKernel", "MultiGaussianKernel", "mean_distance", "mmd2"]
