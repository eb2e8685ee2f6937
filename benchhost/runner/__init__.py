"""The run engine: a model attempts the tasks of a benchmark, resumably, metered, comparably."""
