"""A network is a feature extractor and a task head; ``wrap`` makes one of any module by its layers' names."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .checks import nearest

__all__ = ["Network", "WrappedNetwork", "wrap"]


class Network(nn.Module):
    """A feature extractor with a task head on it.

    Args:
        extractor: inputs -> features (n, d).
        head: features -> logits (n, k).
        bottleneck: features of the extractor -> features; part of ``network.extractor`` from then on, but outside
            ``network.backbone``, so that a pretrained backbone can learn more slowly.

    >>> network = Network(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    >>> features, logits = network(torch.zeros(2, 2, 2)); features.shape, logits.shape
    (torch.Size([2, 4]), torch.Size([2, 3]))
    """

    extractor: nn.Module
    head: nn.Module

    def __init__(self, extractor: nn.Module, head: nn.Module, *, bottleneck: nn.Module | None = None) -> None:
        super().__init__()
        self.extractor = extractor
        if bottleneck is not None:
            self.extractor = nn.Sequential()
            self.extractor.add_module("backbone", extractor)
            self.extractor.add_module("bottleneck", bottleneck)
        self.head = head
        self.spec: dict[str, Any] | None = None  # how create_network made it, if it did: what a saved file needs

    @property
    def backbone(self) -> nn.Module:
        """The extractor without the bottleneck."""
        inner = getattr(self.extractor, "backbone", None)
        return inner if isinstance(inner, nn.Module) else self.extractor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.extractor(x)
        return features, self.head(features)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that ``Update.trains`` speaks of: extractor, head, and norm (within both)."""
        head = list(self.head.parameters())
        in_head = {id(p) for p in head}
        norm = [p for m in self.modules() if isinstance(m, _BatchNorm) for p in m.parameters(recurse=False)]
        return {"extractor": [p for p in self.parameters() if id(p) not in in_head], "head": head, "norm": norm}


class WrappedNetwork(Network):
    """Somebody else's module as a :class:`Network`, unedited; made by :func:`wrap`."""

    def __init__(self, module: nn.Module, head: str, features: str | None) -> None:
        nn.Module.__init__(self)
        self.module = module
        self.head_name, self.features_name = head, features
        self.spec = None
        self._caught: Tensor | None = None
        if features is None:
            self._hook = module.get_submodule(head).register_forward_pre_hook(self._catch_input)
        else:
            self._hook = module.get_submodule(features).register_forward_hook(self._catch_output)

    def _catch_input(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._caught = inputs[0] if inputs else None

    def _catch_output(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._caught = output

    def unwrap(self) -> nn.Module:
        """Take the hook off and give the module back."""
        self._hook.remove()
        return self.module

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        """The layer named as the head."""
        return self.module.get_submodule(self.head_name)

    @property
    def extractor(self) -> nn.Module:  # type: ignore[override]
        """Inputs -> features, by way of the whole network: a copy of it is a copy of the network."""
        return _Features(self)

    @property
    def backbone(self) -> nn.Module:
        """The whole module; :meth:`parts` leaves the head out."""
        return self.module

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.module(x)
        caught, self._caught = self._caught, None
        layer = self.features_name or self.head_name
        if not isinstance(caught, Tensor) or not isinstance(logits, Tensor):
            came = type(caught if not isinstance(caught, Tensor) else logits).__name__
            raise TypeError(
                f"wrap needs layers that pass one tensor each; got {came} at {layer!r}. Name a layer within it: "
                + ", ".join(_layers(self.module)[:12])
            )
        return caught.flatten(1), logits


class _Features(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x)[0]
        return features


def wrap(module: nn.Module, *, head: str, features: str | None = None) -> WrappedNetwork:
    """A network of any module, by layer names and without editing it.

    Args:
        module: torchvision's, timm's or your own; its output is the logits.
        head: the name of the layer that makes logits of features, such as ``"fc"`` or ``"classifier.6"``.
        features: the name of the layer whose output (flattened) is the features; left out, they are the head's own
            input, caught on its way in.

    Raises:
        ValueError: if there is no layer of that name, with the nearest ones.
        TypeError: at the first call, if a named layer passes anything but one tensor.

    >>> module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> features, logits = wrap(module, head="2")(torch.zeros(5, 3)); features.shape
    torch.Size([5, 8])
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"wrap needs a torch.nn.Module; got {type(module).__name__}.")
    for name in (head, features):
        if name is not None and name not in _layers(module):
            raise ValueError("wrap: " + nearest("layer", name, _layers(module)))
    return WrappedNetwork(module, head, features)


def _layers(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_modules() if name]
