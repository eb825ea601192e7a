//! Where the libraries of CUDA are looked for before anywhere else: in the folder `cuda` beside this one.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some() {
        println!("cargo::rustc-link-arg-cdylib=-Wl,-rpath,$ORIGIN/cuda");
    }
}
