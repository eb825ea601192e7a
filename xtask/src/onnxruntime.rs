//! ONNX Runtime's shared library, taken from its Python wheel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::{python, shell};

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
    let wheels = project.home.join("wheels");
    let wheel = download(project, &wheels)?;
    let unpacked = project.home.join("wheels/unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    shell::capture(
        Command::new(python::interpreter()?)
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&unpacked),
    )?;
    let found = find_library(&unpacked.join("onnxruntime/capi"))?;
    let target = directory(project);
    fs::create_dir_all(&target)?;
    fs::rename(&found, target.join(FILE_NAME))?;
    fs::remove_dir_all(&unpacked)?;
    Ok(target.join(FILE_NAME))
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

/// First as this Python would get it; where there is no wheel for this Python, the one for another will do, because only
/// the C library in it is used.
fn download(project: &Project, wheels: &Path) -> Result<PathBuf> {
    if let Some(wheel) = find_wheel(wheels) {
        return Ok(wheel);
    }
    let requirement = format!("onnxruntime=={VERSION}");
    let platform = format!("manylinux_2_28_{}", std::env::consts::ARCH);
    let pip = |extra: &[&str]| -> Result<()> {
        shell::capture(
            python::pip(project)?
                .args(["download", "--no-deps", "--only-binary=:all:", "--quiet"])
                .args(extra)
                .arg("--dest")
                .arg(wheels)
                .arg(&requirement),
        )?;
        Ok(())
    };
    pip(&[])
        .or_else(|_| {
            pip(&[
                "--implementation=cp",
                "--python-version=3.12",
                "--abi=cp312",
                "--platform",
                &platform,
            ])
        })
        .with_context(|| {
            format!(
                "cannot download ONNX Runtime; where there is no network, put {FILE_NAME} somewhere and set ORT_DYLIB_PATH to it"
            )
        })?;
    find_wheel(wheels).context("pip downloaded no wheel")
}

fn find_wheel(wheels: &Path) -> Option<PathBuf> {
    let prefix = format!("onnxruntime-{VERSION}-");
    fs::read_dir(wheels)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&prefix) && name.ends_with(".whl")
        })
}
