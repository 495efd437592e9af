"""Email analytics for Amazon SES that you own."""

from importlib.metadata import version

__version__ = version("sesight")
