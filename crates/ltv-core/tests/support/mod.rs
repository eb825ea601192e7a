//! ONNX Runtime for tests. `ORT_DYLIB_PATH` names the library (`cargo xtask test` sets it).

use ort::environment::Environment;
use ort::session::Session;
use std::sync::OnceLock;

fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| ort::init().with_telemetry(false).build().unwrap())
}

pub fn session(onnx: &[u8]) -> Session {
    Session::builder(environment())
        .unwrap()
        .commit_from_memory(onnx)
        .unwrap()
}
