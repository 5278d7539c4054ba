"""Run retrains on the workers of a Dask cluster, and on this host where that does not work."""
