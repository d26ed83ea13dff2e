"""Pure numbers: e-processes, intervals, histograms, power; no word of models."""
