//! Which recurrent layer, and the order of its gates.

use serde::{Deserialize, Serialize};

/// Which recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Long short-term memory (Hochreiter and Schmidhuber 1997), with a forget gate.
    Lstm,
    /// Gated recurrent unit (Cho et al. 2014), the reset gate after the product.
    Gru,
}

impl Cell {
    pub(super) fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    /// Our gates (PyTorch's order: LSTM i f g o, GRU r z n) in ONNX's order (i o f g, z r n).
    pub(super) fn onnx_order(self) -> &'static [usize] {
        match self {
            Self::Lstm => &[0, 3, 1, 2],
            Self::Gru => &[1, 0, 2],
        }
    }
}
