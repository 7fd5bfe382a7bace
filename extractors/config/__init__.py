"""config: what a run is told: settings, job, prices, and the run configuration that they resolve to."""
