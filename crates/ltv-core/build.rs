//! A name for these sources: a library that was built from others must not be handed a job.

use fnv::FnvHasher;
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=src");
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files);
    files.sort();
    let mut hash = FnvHasher::default();
    for file in files {
        let text = fs::read(&file).unwrap_or_default();
        hash.write(file.to_string_lossy().as_bytes());
        hash.write(&text);
    }
    println!("cargo::rustc-env=LTV_CORE_SOURCES={:016x}", hash.finish());
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}
