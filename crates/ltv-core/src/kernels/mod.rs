//! Building blocks of the hand-written CPU kernels of layers and losses.
//!
//! # The convention of fast paths
//!
//! A layer with a hot path is written twice, and a test holds the two equal:
//!
//! 1. **The plain definition**, by tensor operations, in the layer's own file or in `mod.rs` of its folder. It is what the
//!    layer means. The gradient comes from the tensor library, and it works on every device.
//! 2. **The fused operation**, an [`operation::Operation`] on plain slices with the gradient written by hand. Where a layer
//!    has a folder it is in `fused.rs`. It works on the CPU only, in float32 and float64.
//! 3. **The test** `assert_same`, in float64: values and all gradients of one equal those of the other, with dropout, padding and
//!    unwanted gradients among its cases.
//!
//! [`dispatch::applies`] chooses. A training that has to behave as on a GPU calls [`dispatch::keep_plain`]; any custom operation
//! is then an error, so that no layer can forget its definition.
//!
//! | module | holds |
//! |---|---|
//! | [`dispatch`] | fast or plain |
//! | [`operation`] | a custom operation of two functions over slices: values, and gradients |
//! | [`storage`] | the numbers of a CPU tensor as a slice |
//! | [`matrix`] | matrix products into given memory |
//! | [`threads`] | how rows are shared among threads |
//! | [`blocks`] | loops over blocks of rows that stay in the cache |
//! | [`functions`] | element-wise functions that the tensor library lacks |
//! | [`real`] | exp, tanh and sigmoid for float32 and float64 |
//! | `vectorised` | a function compiled for wide vector instructions too |

#[cfg(test)]
pub mod assert_same;
pub mod blocks;
pub mod dispatch;
pub mod functions;
pub mod matrix;
pub mod operation;
pub mod real;
pub mod storage;
pub mod threads;
pub(crate) mod vectorised;
