"""Which samples, when: orders that are computed, and samplers that are replayed."""
