"""What scripts ask and do before they choose a device: there is no GPU here."""

__all__ = ["device_count", "empty_cache", "is_available", "manual_seed", "manual_seed_all", "synchronize"]


def is_available() -> bool:
    """False: tinygrad_cnn computes on the CPU."""
    return False


def device_count() -> int:
    """0"""
    return 0


def manual_seed(seed: int) -> None:
    """Nothing, as in PyTorch where there is no GPU: the package's `manual_seed` seeds what is drawn here."""


def manual_seed_all(seed: int) -> None:
    """Nothing, as `manual_seed`."""


def empty_cache() -> None:
    """Nothing: there is no memory of a GPU."""


def synchronize(device: object = None) -> None:
    """Nothing: whatever was computed here is there when the call returns."""
