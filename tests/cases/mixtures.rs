//! Mixture keys that do not apply, shares that cannot sum, budgets that are too small.
