"""Looking at folders that we may not be allowed to look into."""

from pathlib import Path


def is_there(path: Path) -> bool:
    """Whether there is something, as far as we may see."""
    try:
        return path.exists()
    except OSError:  # a folder above it is closed to us, or the name is too long
        return False


def nearest(path: Path) -> Path:
    """The path itself, or the nearest one above it that is there."""
    return next(place for place in (path, *path.parents) if is_there(place))
