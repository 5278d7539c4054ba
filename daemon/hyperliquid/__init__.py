"""Hyperliquid's public market data: the only package that knows the venue."""
