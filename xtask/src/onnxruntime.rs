//! ONNX Runtime's shared library, taken from its Python wheel.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::{shell, wheel};

pub const VERSION: &str = "1.31.1";
pub const FILE_NAME: &str = "libonnxruntime.so";

fn directory(project: &Project) -> PathBuf {
    project.home.join(format!("onnxruntime-{VERSION}"))
}

/// The library if it is already here: downloaded before, or named by the user in ORT_DYLIB_PATH.
pub fn present(project: &Project) -> Option<PathBuf> {
    let named = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    named
        .into_iter()
        .chain([directory(project).join(FILE_NAME)])
        .find(|path| path.is_file())
}

/// The library's path, downloading it on the first use.
pub fn library(project: &Project) -> Result<PathBuf> {
    if let Some(path) = present(project) {
        return Ok(path);
    }
    shell::step(format!("Downloading ONNX Runtime {VERSION}"));
    let unpacked = wheel::unpacked(project, "onnxruntime", VERSION).with_context(|| {
        format!("where there is no network, put {FILE_NAME} somewhere and set ORT_DYLIB_PATH to it")
    })?;
    let found = find_library(&unpacked.join("onnxruntime/capi"))?;
    let target = directory(project);
    fs::create_dir_all(&target)?;
    fs::rename(&found, target.join(FILE_NAME))?;
    fs::remove_dir_all(&unpacked)?;
    Ok(target.join(FILE_NAME))
}

/// Its licence, and the notices of what it is made with.
pub fn papers(project: &Project) -> Result<Vec<PathBuf>> {
    const NAMES: &[&str] = &["LICENSE", "ThirdPartyNotices.txt"];
    let directory = directory(project);
    if NAMES.iter().any(|name| !directory.join(name).is_file()) {
        let unpacked = wheel::unpacked(project, "onnxruntime", VERSION)?;
        fs::create_dir_all(&directory)?;
        for name in NAMES {
            fs::copy(
                unpacked.join("onnxruntime").join(name),
                directory.join(name),
            )
            .with_context(|| format!("the package of ONNX Runtime has no {name}"))?;
        }
        fs::remove_dir_all(&unpacked)?;
    }
    Ok(NAMES.iter().map(|name| directory.join(name)).collect())
}

fn find_library(directory: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("libonnxruntime.so") {
            return Ok(path);
        }
    }
    bail!("no libonnxruntime.so in {}", directory.display())
}
