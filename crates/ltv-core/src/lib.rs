//! LTV models.
