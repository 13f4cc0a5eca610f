"""What scripts ask before they choose a device: there is no GPU here."""

__all__ = ["device_count", "is_available"]


def is_available() -> bool:
    """False: tinygrad_cnn computes on the CPU."""
    return False


def device_count() -> int:
    """0"""
    return 0
