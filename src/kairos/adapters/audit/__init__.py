"""The audit trail: `trail` is a running kairos's, and a command's line in it; `chain` is its lines on disk."""
