"""Orders of samples: those that are computed, and samplers that are replayed."""
