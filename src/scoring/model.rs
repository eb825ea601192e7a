//! One version of a model, ready to score.

/// One version of a model, ready to score. Immutable; kept alive by `Rc` while a statement uses it.
pub struct Model {
    pub name: String,
    pub version: i32,
}
