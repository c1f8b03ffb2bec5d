"""Sweeps: task x method-or-floor x backbone x seed, each job a run of its own, resumable anywhere."""
