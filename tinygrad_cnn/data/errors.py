"""What is wrong with a file of data."""

__all__ = ["DatasetError"]


class DatasetError(ValueError):
    """A file of a dataset is not what its format asks for; the text names the file."""
