"""The error of bad input."""

from __future__ import annotations


class InputError(Exception):
    """Input that cannot be used; the message names the place, the value and the bound."""
