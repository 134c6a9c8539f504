"""Two registries put together: the union of their facts and logs, and what to do where two people disagree."""
