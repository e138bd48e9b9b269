"""A network is a feature extractor and a task head; ``wrap`` makes one of any module by its layers' names."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from .batchnorm import join_batchnorm

__all__ = ["Network", "WrappedNetwork", "wrap"]

SHOWN = 6  # of the layer names in a message: a ResNet-152 has some 500

W = TypeVar("W", bound="WrappedNetwork")


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
    wide: bool = False  # floating-point inputs go in as they come, as the first layer subtracts in float64

    def __init__(self, extractor: nn.Module, head: nn.Module, *, bottleneck: nn.Module | None = None) -> None:
        super().__init__()
        self.extractor = extractor
        if bottleneck is not None:
            self.extractor = nn.Sequential()
            self.extractor.add_module("backbone", extractor)
            self.extractor.add_module("bottleneck", bottleneck)
        self.head = head
        self.spec: dict[str, Any] | None = None  # how it was made, if by name: what a saved file needs

    @property
    def input_dtype(self) -> torch.dtype | None:
        """What floating-point inputs become before they go in: the dtype of the parameters; None: they stay."""
        return None if self.wide else next((p.dtype for p in self.parameters()), None)

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
    """Somebody else's module as a :class:`Network`, unedited; made by :func:`wrap`.

    It is called as the module is, ``network(x)`` or ``network(tokens, mask=mask)``, and gives ``(features, logits)``.

    Args:
        module: whose output is the logits.
        head: the name of the layer that makes logits of features.
        features: the name of the layer whose output is the features; None: the head's own input.
    """

    def __init__(self, module: nn.Module, head: str, features: str | None) -> None:
        nn.Module.__init__(self)
        self.module = module
        self.head_name, self.features_name = head, features
        self.spec = None
        self._catcher = _Catcher()
        self._hooked = False  # beside the hook itself, which torch.compile cannot look at
        self._attach()

    def _attach(self) -> None:
        self._hook: RemovableHandle
        if self.features_name is None:
            self._hook = self.head.register_forward_pre_hook(self._catcher.catch_input, with_kwargs=True)
        else:
            layer = self.module.get_submodule(self.features_name)
            self._hook = layer.register_forward_hook(self._catcher.catch_output)
        self._hooked = True

    def unwrap(self) -> nn.Module:
        """Take the hook off and give the module back, with its own layers.

        Where training kept both domains' batch statistics, the module's BatchNorm layers return with the target's
        (:func:`~landbridge.shared.batchnorm.join_batchnorm`): it predicts as before, and its state is that of a module
        never wrapped. The network itself can go on being called: from then on the hook is there for the length of
        each call alone.
        """
        self._detach()
        join_batchnorm(self)
        return self.module

    def _detach(self) -> None:
        self._hook.remove()
        self._hooked = False

    def __enter__(self: W) -> W:
        if not self._hooked:
            self._attach()
        return self

    def __exit__(self, *error: object) -> None:
        self.unwrap()

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

    def forward(self, *inputs: Any, **keywords: Any) -> tuple[Tensor, Tensor]:
        """Features (n, d) and logits of whatever the module itself takes."""
        if self._hooked:
            return self._forward(inputs, keywords)
        self._attach()
        try:
            return self._forward(inputs, keywords)
        finally:
            self._detach()

    def _forward(self, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Tensor, Tensor]:
        catcher = self._catcher
        catcher.start()
        logits = self.module(*inputs, **keywords)
        caught = catcher.stop()
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"wrap needs a module whose output is one tensor, the logits; {type(self.module).__name__} gives "
                f"{_describe(logits)}. Wrap a module whose forward returns the logits alone."
            )
        if not isinstance(caught, Tensor) or (catcher.calls > 1 and self.features_name is None):
            raise self._not_caught(caught, catcher.calls)
        if caught.ndim < 2 or caught.shape[0] != logits.shape[0]:
            raise ValueError(
                f"wrap needs features of shape ({logits.shape[0]}, ...), one row for each row of logits; got "
                f"{tuple(caught.shape)} at {self._caught_at!r} and logits {tuple(logits.shape)}. Name a layer whose "
                "output has the samples first: features='...'."
            )
        if catcher.version is not None and caught._version != catcher.version:
            raise ValueError(
                f"wrap caught the features at {self._caught_at!r}, and a later layer changed them in place. Name "
                "that layer instead, such as the ReLU(inplace=True) that follows, or switch inplace off."
            )
        return caught.flatten(1), logits

    @property
    def _caught_at(self) -> str:
        return self.features_name or self.head_name

    def _not_caught(self, caught: Any, calls: int) -> Exception:
        """The sentence for a layer that passed no single tensor once."""
        name = self._caught_at
        within = [f"{name}.{child}" for child in _layers(self.module.get_submodule(name))]
        if calls > 1:
            return ValueError(
                f"wrap: the head {name!r} is called {calls} times in one forward, so that its input is not one tensor "
                "of features. Name the layer whose output is the features: features='...'; of a layer that is called "
                "several times the last output counts."
            )
        if calls == 1:
            verb, also = ("is given", "") if self.features_name is None else ("gives", " or leave features out")
            hint = _listed("Name a layer within it", within) or "Name another layer"
            return TypeError(
                f"wrap needs a layer that passes one tensor; {name!r} {verb} {_describe(caught)}. {hint}{also}."
            )
        hint = _listed("If it only holds others, name one of them", within)
        return ValueError(
            f"wrap: the forward of {type(self.module).__name__} never calls the layer {name!r}, so there is nothing to "
            f"catch. {hint + '. ' if hint else ''}If the layer was replaced after wrapping, wrap again."
        )


class _Catcher:
    """Keeps what a hooked layer is given, or gives, while its network forwards; a plain object, so cheap to write to.

    No ``try`` surrounds a forward, because ``torch.compile`` cannot break a graph inside one: what a failed forward
    has left is dropped when the next one starts.
    """

    def __init__(self) -> None:
        self.listening = False  # the module may also be called by itself, and then nothing is to be kept
        self.calls = 0
        self.caught: Any = None
        self.version: int | None = None  # of what was caught, by which a later change in place is seen

    def start(self) -> None:
        self.listening, self.calls, self.caught, self.version = True, 0, None, None

    def stop(self) -> Any:
        caught = self.caught
        self.listening, self.caught = False, None
        return caught

    def catch_input(self, layer: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if self.listening:
            self.keep(inputs[0] if inputs else next(iter(keywords.values()), None))

    def catch_output(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self.listening:
            self.keep(output)

    def keep(self, value: Any) -> None:
        self.calls += 1
        self.caught = value
        if not torch.compiler.is_compiling() and isinstance(value, Tensor) and not value.is_inference():
            self.version = value._version


class _Features(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Any, **keywords: Any) -> Tensor:
        features: Tensor = self.network(*inputs, **keywords)[0]
        return features


def wrap(module: nn.Module, *, head: str, features: str | None = None) -> WrappedNetwork:
    """A network of any module, by layer names and without editing it.

    The features are caught by a hook on the named layer. It is taken off by ``network.unwrap()``, or at the end of a
    ``with wrap(...) as network:`` block; both also give the module its own BatchNorm layers back, with the target's
    statistics, where ``batch_statistics="per_domain"`` or AdaBN put others in their places. Copies and pickles of the
    network catch for themselves. Under ``torch.compile`` the whole is one graph; a batch of another size, such as a
    smaller last one, compiles once more.

    Args:
        module: torchvision's, timm's or your own; it is called with whatever the network is called with, and its
            output is the logits.
        head: the name of the layer that makes logits of features, such as ``"fc"`` or ``"classifier.6"``. One that is
            called several times in a forward needs ``features``; so does a convolution, whose input are feature maps.
        features: the name of the layer whose output (flattened) is the features; left out, they are the head's own
            (first) input. Of a layer that is called several times, the last output counts.

    Raises:
        ValueError: if there is no layer of that name, with the nearest ones. At a call: if the layer is never called,
            or what is caught has other rows than the logits or is changed in place by a later layer.
        TypeError: for what is no plain module. At a call: if a named layer or the module itself passes anything but
            one tensor.

    >>> module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> with wrap(module, head="2") as network:
    ...     features, logits = network(torch.zeros(5, 3))
    >>> features.shape, len(module[2]._forward_pre_hooks)
    (torch.Size([5, 8]), 0)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"wrap needs a torch.nn.Module; got {type(module).__name__}.")
    if isinstance(module, Network):
        raise TypeError(f"wrap got a {type(module).__name__}, which gives (features, logits) already. Use it as it is.")
    if isinstance(getattr(module, "_orig_mod", None), nn.Module):
        raise TypeError(
            "wrap needs the module itself; got one that torch.compile has made. Wrap first, then compile: "
            "torch.compile(wrap(module, head='...')), or fit(..., compile=True)."
        )
    for argument, name in (("head", head), ("features", features)):
        if name is not None and not _has_layer(module, name):
            raise ValueError("wrap: " + _unknown(module, argument, name))
    return WrappedNetwork(module, head, features)


def _layers(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_modules(remove_duplicate=False) if name]


def _has_layer(module: nn.Module, name: object) -> bool:
    try:
        return isinstance(name, str) and name != "" and isinstance(module.get_submodule(name), nn.Module)
    except AttributeError:
        return False


def _unknown(module: nn.Module, argument: str, name: object) -> str:
    """The sentence for a name that no layer has: those nearest to it, and where the last linear layer is."""
    layers, given = _layers(module), str(name)
    if not layers:
        return (
            f"{type(module).__name__} has no layers to name as {argument}. Put it into a Sequential; its name is '0'."
        )
    same_end = [layer for layer in layers if layer.split(".")[-1] == given.split(".")[-1]]
    near = list(dict.fromkeys([*difflib.get_close_matches(given, layers, n=SHOWN, cutoff=0.5), *same_end]))
    linear = [name for name, layer in module.named_modules() if name and isinstance(layer, nn.Linear)]
    hint = f"did you mean {near[0]!r}? " if near else ""
    last = f" Its last Linear is {linear[-1]!r}." if linear and argument == "head" else ""
    others = _listed("Near it", near[1:]) or _listed("At the top", [layer for layer in layers if "." not in layer])
    return f"unknown layer {given!r} as {argument} of {type(module).__name__}; {hint}{others}.{last}"


def _listed(what: str, names: list[str]) -> str:
    """Some names after a colon, at most SHOWN; nothing if there are none."""
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what}: {', '.join(names[:SHOWN])}{rest}" if names else ""


def _describe(value: Any) -> str:
    if isinstance(value, dict):  # among them the outputs of transformers
        return f"a {type(value).__name__} of {', '.join(map(repr, list(value)[:SHOWN]))}"
    kind = type(value).__name__
    return f"a {kind} of {len(value)}" if isinstance(value, (tuple, list)) else kind
