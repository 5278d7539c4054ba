"""Raise the client's own error where a copied module raises `BadFrame`."""

from hyperdrift.errors import BadInput

__all__ = ["BadFrame"]

BadFrame = BadInput
