"""Door one: the benchmarks over HTTP."""
