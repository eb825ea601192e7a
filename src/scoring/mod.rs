//! Rows -> tensors -> ONNX Runtime -> values. The scalar functions and the batch scan share all of it.
