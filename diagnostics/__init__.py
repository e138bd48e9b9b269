"""How far apart two domains are: tests, distances and plots, before adaptation and after."""

from importlib import import_module

# Where each public name lives; loaded when it is first asked for.
_HOME = {
    "Distance": "results",
    "TwoSampleTest": "results",
}

__all__ = [  # noqa: F822 (loaded by __getattr__)
    "Distance",
    "TwoSampleTest",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'landbridge.diagnostics' has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
