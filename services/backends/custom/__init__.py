"""Any other CLI, by configuration alone: what it is given, and how its output is read.

``words`` turns the configured words into a process to start, ``output`` holds the two conversations (text, JSON
lines), ``check`` finds what is wrong with a configuration, ``backend`` puts them together.
"""

from services.backends.custom.backend import CustomBackend
from services.backends.custom.check import problems

__all__ = ["CustomBackend", "problems"]
