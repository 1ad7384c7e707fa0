"""One call, from request to ledger row: cache, budget, limiter, attempts, retries, time limits."""
