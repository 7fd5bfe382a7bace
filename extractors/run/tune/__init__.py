"""tune: labelled images read at every rung, compared with the truth, and what these comparisons show."""
