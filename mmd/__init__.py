"""Maximum mean discrepancy: kernels, the statistic, and the methods that make it small."""

from .bandwidth import DataBandwidth
from .dan import DAN, DDC
from .jan import JAN, joint_mmd2
from .kernels import DistanceKernel, GaussianKernel, MultiGaussianKernel
from .mmd import mean_distance, mmd2

__all__ = [
    "DAN",
    "DDC",
    "JAN",
    "DataBandwidth",
    "DistanceKernel",
    "GaussianKernel",
    "MultiGaussianKernel",
    "joint_mmd2",
    "mean_distance",
    "mmd2",
]
