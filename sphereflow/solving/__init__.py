"""From a problem and a scheme to a dataset: the loop over the output times and what observes it."""
